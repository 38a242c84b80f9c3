"""The Kubernetes manifests hold together, and ask the control plane what it answers."""

from copy import deepcopy
from typing import Any

import pytest

from control_plane.devserver.flags import parse_flags
from control_plane.devserver.monitoring import read_monitoring_file
from control_plane.devserver.wire import read_config_file
from control_plane.settings import PREFIX, Settings
from tests.docker import kubernetes
from tests.docker.dockerfile import stages
from tests.docker.kubernetes import FOLDER, chosen, of_kind, pods, ports_of, workloads
from tests.docker.routes import answers_get

CONTROL_PLANE, MODEL_SERVER = "control-plane", "model-server"


def container(name: str) -> dict[str, Any]:
    found = [one for pod in pods() for one in pod["spec"]["containers"] if one["name"] == name]
    assert len(found) == 1
    return dict(found[0])


def test_every_manifest_is_listed() -> None:
    there = {file.name for file in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kubernetes.kustomization()["resources"]) == there


@pytest.mark.parametrize(
    "one", kubernetes.objects(), ids=lambda one: f"{one['kind']} {one['metadata']['name']}"
)
def test_objects_are_what_the_published_schemas_say(one: dict[str, Any]) -> None:
    assert kubernetes.faults(one) == []


def test_a_field_that_does_not_exist_is_noticed() -> None:
    wrong = deepcopy(of_kind("Deployment")[CONTROL_PLANE])
    pod = wrong["spec"]["template"]["spec"]
    pod["containers"][0]["securityContext"]["readOnlyRootFileSystem"] = True
    pod["terminationGracePeriodSeconds"] = "20s"
    assert len(kubernetes.faults(wrong)) == 2


def test_names_are_unique_within_their_kind() -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in kubernetes.objects()]
    assert len(names) == len(set(names))


def test_workloads_select_their_own_pods_alone() -> None:
    for one in workloads():
        assert chosen(one["spec"]["selector"]) == [one["spec"]["template"]]
        spread = one["spec"]["template"]["spec"].get("topologySpreadConstraints", [])
        assert all(chosen(each["labelSelector"]) == [one["spec"]["template"]] for each in spread)


def test_services_lead_to_ports_that_one_kind_of_pod_has() -> None:
    assert len(of_kind("Service")) == 3
    for service in of_kind("Service").values():
        (pod,) = chosen({"matchLabels": service["spec"]["selector"]})
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports_of(pod).keys()


def test_disruption_budgets_leave_some_pod_of_each_kind() -> None:
    budgets = of_kind("PodDisruptionBudget").values()
    assert [chosen(one["spec"]["selector"]) for one in budgets] == [[pod] for pod in pods()]
    for one, workload in zip(budgets, workloads(), strict=True):
        replicas, spec = workload["spec"]["replicas"], one["spec"]
        assert 0 < spec.get("minAvailable", 1) < replicas
        assert 0 < spec.get("maxUnavailable", 1) < replicas


def test_model_servers_are_found_by_dns_ready_or_not() -> None:
    (workload,) = of_kind("StatefulSet").values()
    headless = of_kind("Service")[workload["spec"]["serviceName"]]["spec"]
    assert headless["clusterIP"] == "None"
    assert headless["publishNotReadyAddresses"] is True
    assert [port["name"] for port in headless["ports"]] == ["grpc"]


def test_nobody_but_the_control_plane_reaches_the_port_that_takes_reloads() -> None:
    (workload,) = of_kind("StatefulSet").values()
    policy = of_kind("NetworkPolicy")[MODEL_SERVER]["spec"]
    assert chosen(policy["podSelector"]) == [workload["spec"]["template"]]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    allowed = [
        peer
        for rule in policy["ingress"]
        if "grpc" in {port["port"] for port in rule.get("ports", [{"port": "grpc"}])}
        for peer in rule["from"]
    ]
    assert [list(peer) for peer in allowed] == [["podSelector"]]  # of this namespace
    (ours,) = chosen(allowed[0]["podSelector"])
    assert ours["metadata"]["labels"]["app.kubernetes.io/name"] == CONTROL_PLANE
    services = [one["spec"] for one in of_kind("Service").values()]
    open_to_callers = [one for one in services if one.get("clusterIP") != "None"]
    assert all(port["targetPort"] != "grpc" for one in open_to_callers for port in one["ports"])


def test_policies_name_ports_that_their_pods_have() -> None:
    for policy in of_kind("NetworkPolicy").values():
        (pod,) = chosen(policy["spec"]["podSelector"])
        for rule in policy["spec"]["ingress"]:
            assert {port["port"] for port in rule["ports"]} <= ports_of(pod).keys()


def test_probes_ask_for_what_the_control_plane_answers() -> None:
    ours = container(CONTROL_PLANE)
    probes = {name: probe["httpGet"] for name, probe in ours.items() if name.endswith("Probe")}
    assert {name: one["path"] for name, one in probes.items()} == {
        "startupProbe": "/livez",
        "livenessProbe": "/livez",
        "readinessProbe": "/readyz",
    }
    assert all(answers_get(one["path"]) for one in probes.values())
    assert {one["port"] for one in probes.values()} == {"http"}


def test_the_control_plane_listens_where_the_image_says_and_has_what_settings_need() -> None:
    ours, image = container(CONTROL_PLANE), stages()[-1].environment
    assert ours["ports"][0]["containerPort"] == int(image[f"{PREFIX}PORT"])
    data = next(one for one in ours["volumeMounts"] if one["name"] == "data")
    assert data["mountPath"] == image[f"{PREFIX}DATA_DIR"]
    settings = of_kind("ConfigMap")["tf-serving-control-plane"]["data"]
    given = [*settings, *(one["name"] for one in ours["env"])]
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    assert {name for name in given if name.startswith(PREFIX)} <= known


def test_what_pods_refer_to_is_there_or_told_beside_the_manifests() -> None:
    note = (FOLDER / "kustomization.yaml").read_text()
    for pod in pods():
        spec = pod["spec"]
        assert spec["serviceAccountName"] in of_kind("ServiceAccount")
        volumes = {one["name"]: one for one in spec["volumes"]}
        mounted = {one["name"] for each in spec["containers"] for one in each["volumeMounts"]}
        assert mounted == volumes.keys()
        maps = [one["configMap"]["name"] for one in volumes.values() if "configMap" in one]
        claims = [one.get("persistentVolumeClaim", {}).get("claimName") for one in spec["volumes"]]
        assert set(maps) <= of_kind("ConfigMap").keys()
        assert all(f"PersistentVolumeClaim `{one}`" in note for one in claims if one)
    secrets = [one["valueFrom"]["secretKeyRef"] for one in container(CONTROL_PLANE)["env"]]
    for one in secrets:
        made = next(line for line in note.splitlines() if f"secret generic {one['name']} " in line)
        assert f" --from-file={one['key']}=" in made


def test_secrets_are_not_written_down() -> None:
    assert not of_kind("Secret")
    assert "postgresql" not in str(kubernetes.objects())


def test_pods_have_no_rights_they_do_not_need() -> None:
    for pod in pods():
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for one in pod["spec"]["containers"]:
            context = one["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
    account = str(pods()[0]["spec"]["securityContext"]["runAsUser"])
    assert account == stages()[-1].user


def test_a_pod_is_given_the_time_that_it_needs_to_end() -> None:
    spec = of_kind("Deployment")[CONTROL_PLANE]["spec"]["template"]["spec"]
    waits_s = int(container(CONTROL_PLANE)["lifecycle"]["preStop"]["exec"]["command"][1])
    grace_s = Settings.model_fields["shutdown_grace_s"].default
    assert spec["terminationGracePeriodSeconds"] >= waits_s + grace_s + 2


def test_model_servers_start_with_an_empty_list_and_flags_that_exist(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    server = container(MODEL_SERVER)
    options = parse_flags(server["args"])
    assert "unknown argument" not in capsys.readouterr().out
    assert options.flags.allow_version_labels_for_unavailable_models
    ports = {one["name"]: one["containerPort"] for one in server["ports"]}
    assert ports == {"grpc": options.port, "rest": options.rest_api_port}
    files = of_kind("ConfigMap")[MODEL_SERVER]["data"]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    config = options.model_config_file.removeprefix("/config/")
    monitoring = options.monitoring_config_file.removeprefix("/config/")
    assert read_config_file(str(tmp_path / config)) == []
    assert read_monitoring_file(str(tmp_path / monitoring)) == "/monitoring/prometheus/metrics"
