"""Import over HTTP; there are no servers here, so a file is taken at its word."""

from tests.api.conftest import MODELS, Api

PATH = "/fleets/default:import"


def config(base_path: str = f"{MODELS}/half_plus_two", policy: str = "") -> str:
    named = 'versions: 1 versions: 2 } } version_labels { key: "stable" value: 1 }'
    policy = policy or f"model_version_policy {{ specific {{ {named}"
    entry = f'name: "half_plus_two" base_path: "{base_path}" {policy}'
    return f"model_config_list {{ config {{ {entry} }} }}"


async def test_a_file_becomes_models_versions_and_a_revision(api: Api) -> None:
    done = await api.ok("POST", PATH, json={"config": config(), "reason": "it runs"})
    assert done["changed"]
    assert done["registered"] == {
        "models": ["half_plus_two"],
        "versions": {"half_plus_two": [1, 2]},
    }
    (deployed,) = (await api.ok("GET", "/fleets/default/deployments"))["items"]
    assert (deployed["versions"], deployed["labels"]) == ([1, 2], {"stable": 1})
    assert (deployed["rollout"], deployed["revision"]) == (None, done["revision"])
    revision = await api.ok("GET", f"/fleets/default/revisions/{done['revision']}")
    assert (revision["kind"], revision["reason"]) == ("import", "it runs")
    resolved = await api.ok("GET", "/fleets/default/models/half_plus_two/labels/stable")
    assert resolved["version"] == 1
    again = await api.ok("POST", PATH, json={"config": config()})
    assert (again["changed"], again["registered"]) == (False, {"models": [], "versions": {}})


async def test_a_dry_run_says_all_of_it_and_registers_nothing(api: Api) -> None:
    told = await api.ok("POST", PATH, json={"config": config()}, params={"dry_run": "true"})
    assert told["would"]["deployments"][0]["versions"] == [1, 2]
    assert (await api.ok("GET", "/models"))["items"] == []
    assert (await api.ok("GET", "/fleets/default"))["revision"] == 0


async def test_a_key_gives_the_same_answer_again(api: Api) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = await api.ok("POST", PATH, json={"config": config()}, headers=headers)
    assert await api.ok("POST", PATH, json={"config": config()}, headers=headers) == first


async def test_what_cannot_be_imported_is_refused_with_the_field(api: Api) -> None:
    for bad in ("model_config_list {", "", config("relative"), config(policy=" ")):
        problem = await api.refused("POST", PATH, json={"config": bad})
        assert (problem["status"], problem["errors"][0]["field"]) == (422, "config"), bad
    problem = await api.refused("POST", PATH, json={"config": config(), "labels": ["_cp_x"]})
    assert problem["errors"][0]["field"].startswith("labels")
    assert (await api.refused("POST", "/fleets/eu:import", json={"config": config()}))[
        "code"
    ] == "not-found"
    body = {"config": config(), "server": "a"}
    assert (await api.refused("POST", PATH, json=body))["code"] == "not-found"


async def test_files_that_we_do_not_see_are_imported_only_by_force(api: Api) -> None:
    unseen = {"config": config("/not/there")}
    assert (await api.refused("POST", PATH, json=unseen))["code"] == "artifact-missing"
    assert (await api.ok("GET", "/models"))["items"] == []
    await api.ok("POST", PATH, json={**unseen, "force": True})
    model = await api.ok("GET", "/models/half_plus_two")
    assert model["base_path"] == "/not/there"


async def test_a_model_with_another_base_path_stays_as_it_is(api: Api) -> None:
    await api.ok("POST", PATH, json={"config": config()})
    other = {"config": config(f"{MODELS}/scaled"), "force": True}
    assert (await api.refused("POST", PATH, json=other))["code"] == "already-exists"
