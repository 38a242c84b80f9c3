"""Which strategies there can be, and which steps a rollout takes by them."""

from typing import Any

import pytest

from control_plane.domain.errors import FieldInvalid
from control_plane.domain.revision import Deployment, Kind
from control_plane.domain.rollout import StepName
from control_plane.domain.share import ALL, Share, parse_share
from control_plane.domain.steps import State, steps_for
from control_plane.domain.strategy import (
    BUILT_IN,
    CANARY,
    DIRECT,
    Approve,
    Bake,
    Canary,
    Drain,
    GateSpec,
    Load,
    Promote,
    Retire,
    itinerary,
    to_json,
)
from control_plane.domain.strategy_document import parse

BEFORE: State = {"m": Deployment("m", frozenset({1}), {"stable": 1})}
AFTER: State = {"m": Deployment("m", frozenset({1, 2}), {"stable": 2, "canary": 2})}
WHOLE: dict[str, Any] = {
    "description": "carefully",
    "steps": [
        {"gate": {"kind": "schedule", "at": "2030-01-31T02:00:00Z"}},
        {"load": {}},
        {"canary": {"label": "try", "servers": "50%"}},
        {"bake": {"seconds": 60.0}},
        {"gate": {"kind": "replay", "name": "replay", "records": 10}},
        {"approve": {"count": 2, "exclude_author": False}},
        {"promote": {"waves": [1, "50%"]}},
        {"bake": {"seconds": 5.0}},
        {"promote": {"waves": ["all"]}},
        {"drain": {"seconds": 0.5}},
        {"retire": {}},
    ],
}


def steps(*listed: Any) -> dict[str, Any]:
    return {"steps": list(listed)}


def test_every_kind_of_step_is_read() -> None:
    read = parse(WHOLE)
    assert read.description == "carefully"
    assert read.steps == (
        GateSpec("schedule", "schedule", {"at": "2030-01-31T02:00:00Z"}),
        Load(),
        Canary("try", Share(percent=50)),
        Bake(60.0),
        GateSpec("replay", "replay", {"records": 10}),
        Approve(2, exclude_author=False),
        Promote((Share(count=1), Share(percent=50))),
        Bake(5.0),
        Promote((ALL,)),
        Drain(0.5),
        Retire(),
    )


def test_a_document_that_was_written_is_read_as_the_same() -> None:
    for named in BUILT_IN.values():
        assert parse(to_json(named.strategy)) == named.strategy
    read = parse(steps("load", {"gate": {"kind": "probe"}}, "promote"))
    assert parse(to_json(read)) == read


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ([], "strategy"),
        ({}, "steps"),
        ({"steps": []}, "steps"),
        ({"steps": "load"}, "steps"),
        ({"steps": ["load"] * 51}, "steps"),
        ({"steps": ["load", "promote"], "gates": []}, "gates"),
        ({"steps": ["load", "promote"], "description": 1}, "description"),
        (steps("load", "jump", "promote"), "steps[1]"),
        (steps("load", 3, "promote"), "steps[1]"),
        (steps("load", {"bake": {}, "gate": {}}, "promote"), "steps[1]"),
        (steps("load", {"bake": 60}, "promote"), "steps[1].bake"),
        (steps({"load": {"servers": 1}}, "promote"), "steps[0].servers"),
        (steps("load", {"canary": {"servers": 0}}, "promote"), "steps[1].servers"),
        (steps("load", {"canary": {"servers": "0%"}}, "promote"), "steps[1].servers"),
        (steps("load", {"canary": {"servers": True}}, "promote"), "steps[1].servers"),
        (steps("load", {"canary": {"label": "_cp_x"}}, "promote"), "steps[1].label"),
        (steps("load", {"canary": {"label": 7}}, "promote"), "steps[1].label"),
        (steps("load", {"canary": {"lable": "x"}}, "promote"), "steps[1].lable"),
        (steps("load", {"bake": {}}, "promote"), "steps[1].seconds"),
        (steps("load", {"bake": {"seconds": 0}}, "promote"), "steps[1].seconds"),
        (steps("load", {"bake": {"seconds": 10**400}}, "promote"), "steps[1].seconds"),
        (steps("load", {"bake": {"seconds": float("nan")}}, "promote"), "steps[1].seconds"),
        (steps("load", {"bake": {"seconds": "60"}}, "promote"), "steps[1].seconds"),
        (steps("load", {"gate": {}}, "promote"), "steps[1].kind"),
        (steps("load", {"gate": {"kind": "hope"}}, "promote"), "steps[1].kind"),
        (steps("load", {"gate": {"kind": "probe", "name": "."}}, "promote"), "steps[1].name"),
        (steps("load", {"gate": {"kind": "probe", "x": 1}}, "promote"), "steps[1].x"),
        (steps("load", {"approve": {"count": 0}}, "promote"), "steps[1].count"),
        (steps("load", {"approve": {"exclude_author": 1}}, "promote"), "steps[1].exclude_author"),
        (steps("load", {"promote": {"waves": []}}), "steps[1].waves"),
        (steps("load", {"promote": {"waves": [0, "all"]}}), "steps[1].waves[0]"),
        (steps("load", {"promote": {"waves": ["50%"]}}), "steps[1].waves[0]"),
        (steps("load", {"promote": {"waves": [2, 1, "all"]}}), "steps[1].waves[1]"),
        (steps("load", {"promote": {"waves": ["50%", 9, "all"]}}), "steps[1].waves[1]"),
        (steps("load", {"promote": {"waves": ["50%", "50%", "all"]}}), "steps[1].waves[1]"),
        (steps("load", "promote", "promote"), "steps[2].waves[0]"),
        (steps("promote"), "steps[0]"),
        (steps("canary", "load", "promote"), "steps[0]"),
        (steps("retire", "load", "promote"), "steps[0]"),
        (steps("load", "load", "promote"), "steps[1]"),
        (steps("load"), "steps"),
        (steps("load", {"bake": {"seconds": 1}}), "steps"),
        (steps("load", "retire", "promote"), "steps[1]"),
        (steps("load", {"drain": {"seconds": 1}}, "promote"), "steps[1]"),
        (steps("load", "promote", "canary"), "steps[2]"),
        (steps("load", "promote", "retire", "retire"), "steps[3]"),
        (steps("load", "promote", "retire", {"bake": {"seconds": 1}}), "steps[3]"),
        (
            steps(
                "load",
                {"promote": {"waves": [1]}},
                {"drain": {"seconds": 1}},
                {"promote": {"waves": ["all"]}},
            ),
            "steps[1].waves[0]",
        ),
    ],
)
def test_what_cannot_be_carried_out_is_refused_by_path(document: Any, path: str) -> None:
    with pytest.raises(FieldInvalid) as refused:
        parse(document)
    assert refused.value.field == path, refused.value.message


@pytest.mark.parametrize(
    ("value", "servers", "covered"),
    [
        ("all", 5, 5),
        ("100%", 5, 5),
        (1, 5, 1),
        (9, 5, 5),
        ("50%", 5, 3),
        ("1%", 5, 1),
        ("50%", 1, 1),
        ("50%", 0, 0),
    ],
)
def test_a_share_is_at_least_one_server_and_at_most_all(
    value: str | int, servers: int, covered: int
) -> None:
    assert parse_share("servers", value).of(servers) == covered


def names(strategy: Any, kind: Kind, before: State = BEFORE, after: State = AFTER) -> list[str]:
    return [str(one.name) for one in itinerary(strategy, kind, before, after)]


def test_the_direct_strategy_takes_the_steps_that_a_change_needs() -> None:
    assert itinerary(DIRECT.strategy, Kind.PROMOTE, BEFORE, AFTER) == steps_for(
        Kind.PROMOTE, BEFORE, AFTER
    )


def test_the_canary_strategy_tries_out_before_it_promotes() -> None:
    made = itinerary(CANARY.strategy, Kind.PROMOTE, BEFORE, AFTER)
    told = [str(one.name) for one in made]
    assert told == ["load", "canary", "bake", "gate", "promote", "retire"]
    assert made[3].spec["kind"] == "replay"
    assert made[3].spec["required"] is False


def test_each_wave_is_a_step_of_its_own() -> None:
    waved = parse(steps("load", {"promote": {"waves": [1, "50%", "100%"]}}))
    made = itinerary(waved, Kind.PROMOTE, BEFORE, AFTER)
    shares = [one.spec["servers"] for one in made if one.name is StepName.PROMOTE]
    assert shares == [1, "50%", "all"]


def test_what_is_not_kept_is_dropped_even_if_the_strategy_does_not_say_so() -> None:
    assert names(parse(steps("load", "promote")), Kind.PROMOTE)[-1] == "retire"


def test_a_canary_label_that_is_there_already_is_no_step() -> None:
    before: State = {"m": Deployment("m", frozenset({1, 2}), {"stable": 1, "canary": 2})}
    assert "canary" not in names(CANARY.strategy, Kind.PROMOTE, before)


@pytest.mark.parametrize("kind", [Kind.ROLLBACK, Kind.RESTORE, Kind.UNDEPLOY, Kind.POLICY])
def test_only_what_goes_forward_follows_a_strategy(kind: Kind) -> None:
    assert itinerary(CANARY.strategy, kind, BEFORE, AFTER) == steps_for(kind, BEFORE, AFTER)
