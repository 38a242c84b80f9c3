"""The alert rules ask for metrics and labels that there are; each replica is scraped by itself."""

import re
from typing import Any

import pytest
import yaml

from control_plane.devserver.monitoring import read_monitoring_file
from tests.docker.dockerfile import DOCKER, ROOT

ALERTS = yaml.safe_load((DOCKER / "prometheus" / "alerts.yml").read_text())
SCRAPES = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
PROMETHEUS_OWN = {"up": {"job", "instance"}}
ADDED_BY_PROMETHEUS = {"job", "instance"}
ROW = re.compile(r"^\| `(tfsctl_\w+)` \| (\w+) \| (.*?) \|", re.MULTILINE)
DURATION = re.compile(r"\d+[smhd]")


def documented() -> dict[str, set[str]]:
    """Every series of the metrics page with its labels."""
    found = dict(PROMETHEUS_OWN)
    for name, kind, labels in ROW.findall((ROOT / "docs" / "metrics.md").read_text()):
        own = set(re.findall(r"`(\w+)`", labels)) | ADDED_BY_PROMETHEUS
        if kind == "histogram":
            found |= {f"{name}_bucket": own | {"le"}, f"{name}_sum": own, f"{name}_count": own}
        else:
            found[name] = own
    return found


def selected(expression: str) -> list[tuple[str, set[str]]]:
    """The metrics that an expression asks for, and the labels that it matches them by."""
    found = re.findall(r"\b(tfsctl_\w+|up)\b(?:\{([^}]*)\})?", expression)
    return [(name, set(re.findall(r"(\w+)\s*[=!]", labels))) for name, labels in found]


def grouped(expression: str) -> set[str]:
    """The labels that an expression groups by."""
    lists = re.findall(r"\bby \(([^)]*)\)", expression)
    return {word.strip() for words in lists for word in words.split(",")}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_alerts_ask_for_what_is_counted(rule: dict[str, Any]) -> None:
    known, asked = documented(), selected(rule["expr"])
    assert asked
    for name, labels in asked:
        assert name in known
        assert labels <= known[name]
    assert grouped(rule["expr"]) <= set.intersection(*(known[name] for name, _ in asked))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_alerts_say_how_bad_it_is_and_what_it_is_about(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"].keys() == {"summary", "description"}
    assert DURATION.fullmatch(rule.get("for", "1m"))
    told = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    grouping = grouped(rule["expr"])
    assert told <= (grouping or documented()[selected(rule["expr"])[0][0]])
    assert rule["expr"].count("(") == rule["expr"].count(")")


def test_alerts_have_names_of_their_own() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names)) > 5


def test_what_is_scraped_is_in_the_stack_and_shares_a_network() -> None:
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    ours = set(services["prometheus"]["networks"])
    jobs = {one["job_name"]: one for one in SCRAPES["scrape_configs"]}
    for job in jobs.values():
        hosts = [
            target.split(":")[0] for each in job["static_configs"] for target in each["targets"]
        ]
        assert len(hosts) == 2
        assert all(ours & set(services[host]["networks"]) for host in hosts)
    assert set(SCRAPES["rule_files"]) == {"alerts.yml"}
    path = read_monitoring_file(str(DOCKER / "monitoring.config"))
    assert jobs["tensorflow-serving"]["metrics_path"] == path


def test_alerts_name_the_jobs_that_are_scraped() -> None:
    jobs = {one["job_name"] for one in SCRAPES["scrape_configs"]}
    named = {job for rule in RULES for job in re.findall(r'job="([^"]*)"', rule["expr"])}
    assert named <= jobs
