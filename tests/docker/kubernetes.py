"""Reads the Kubernetes manifests, and what the published schemas say of them."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import yaml

from tests.docker.dockerfile import DOCKER

FOLDER = DOCKER / "kubernetes"
Object = dict[str, Any]
_SCHEMA = Path(__file__).with_name("kubernetes.schema.json")


@cache
def kustomization() -> Object:
    """What says which manifests there are."""
    return dict(yaml.safe_load((FOLDER / "kustomization.yaml").read_text()))


@cache
def objects() -> tuple[Object, ...]:
    """Every object of the manifests that the kustomization lists, in order."""
    texts = [(FOLDER / name).read_text() for name in kustomization()["resources"]]
    return tuple(one for text in texts for one in yaml.safe_load_all(text))


def of_kind(kind: str) -> dict[str, Object]:
    """The objects of a kind by name."""
    return {one["metadata"]["name"]: one for one in objects() if one["kind"] == kind}


def workloads() -> list[Object]:
    """What runs pods."""
    return [*of_kind("Deployment").values(), *of_kind("StatefulSet").values()]


def pods() -> list[Object]:
    """The template of each kind of pod: its labels and its spec."""
    return [one["spec"]["template"] for one in workloads()]


def chosen(selector: Object) -> list[Object]:
    """The kinds of pods that `matchLabels` selects."""
    wanted = selector["matchLabels"].items()
    return [pod for pod in pods() if wanted <= pod["metadata"]["labels"].items()]


def ports_of(pod: Object) -> dict[str, int]:
    """The named ports of a pod's containers."""
    found = [port for one in pod["spec"]["containers"] for port in one["ports"]]
    return {port["name"]: port["containerPort"] for port in found}


def faults(one: Object) -> list[str]:
    """What the schema of an object's kind says against it."""
    told = json.loads(_SCHEMA.read_text())
    root = told["roots"][f"{one['apiVersion']} {one['kind']}"]
    schema = {"definitions": told["definitions"], "$ref": f"#/definitions/{root}"}
    found = jsonschema_rs.validator_for(schema).iter_errors(one)
    return [f"{'/'.join(map(str, fault.instance_path))}: {fault.message}" for fault in found]
