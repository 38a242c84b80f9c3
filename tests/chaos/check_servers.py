"""Invariants that the servers themselves witness: what they were sent, served and answered."""

from collections.abc import Iterator, Mapping, Sequence

from tests.chaos.desired import Desired, Key, desired, posix
from tests.chaos.ground_truth import AVAILABLE, FOREIGN, OURS, Truth, labels_of, source_of
from tests.chaos.history import Record, events, run_of
from tests.chaos.violation import Violation

IN_FLIGHT_S = 6.0  # a push was right when its intent was committed, and may land so much later
MOVED = ("rollout.step_started", "promote")


def check_servers(history: Sequence[Record]) -> Iterator[Violation]:
    """S1, S9-S13, S21 and L2."""
    names = {by: name for name, by in run_of(history)["servers"].items()}
    flagged = run_of(history)["flagged"]
    truths = {by: Truth(name, name in flagged) for by, name in names.items()}
    by_name = {one.name: one for one in truths.values()}
    told = desired(history)
    for one in history:
        if one["by"] in truths:
            truth = truths[one["by"]]
            if one["kind"] == "config.applied":
                yield from _moves(truth, one, told)
            yield from _followed(truth, one)
        elif one["kind"] == "predict.ok":
            yield from by_name[one["server"]].predicted(one)
        elif one["kind"] == "predict.err":
            yield from by_name[one["server"]].failed(one)
    yield from _gates(history, by_name)
    if any(one["kind"] == "end" for one in history):
        for truth in truths.values():
            yield from _at_the_end(truth, told)


def _followed(truth: Truth, one: Record) -> Iterator[Violation]:
    if one["kind"] == "server.began":
        truth.began(one)
    elif one["kind"] == "config.applied":
        yield from truth.applied(one)
    elif one["kind"] == "version.state":
        yield from truth.changed(one)


def _moves(truth: Truth, one: Record, told: Desired) -> Iterator[Violation]:
    """S13: a label of ours moves only to where it was to point when the push was made."""
    if source_of(one) != OURS or truth.source != OURS:
        return
    for key, version in labels_of(one).items():
        before = truth.labels.get(key, version)
        if before == version:
            continue
        wanted = told.wanted(key, one["at"] - IN_FLIGHT_S, one["at"])
        if version not in wanted:
            text = f"server {truth.name}: {key[1]} of {key[0]} moves from {before} to {version}"
            yield Violation("S13", one["t"], f"{text}; wanted {sorted(wanted)}")


def _gates(history: Sequence[Record], servers: Mapping[str, Truth]) -> Iterator[Violation]:
    """S13: before a promotion moves its label, all servers of the step have had the version."""
    began: dict[str, float] = {}
    targets: dict[int, dict[Key, int]] = {}
    for event in events(history):
        data, rollout = event.get("data", {}), event.get("rollout", "")
        if event["kind"] == "revision.created":
            targets[event["revision"]] = {
                (model, label): version
                for model, one in data["changes"].items()
                for label, version in (one or {}).get("labels", {}).items()
            }
        elif event["kind"] == "rollout.started" and data["kind"] == "promote":
            began[rollout] = posix(event)
        elif rollout in began and (event["kind"], data.get("step")) == MOVED:
            wanted = targets.get(event["revision"], {})
            yield from _unready(event, wanted, began[rollout], servers)


def _unready(
    event: Record, wanted: Mapping[Key, int], since: float, servers: Mapping[str, Truth]
) -> Iterator[Violation]:
    for (model, label), version in wanted.items():
        for name in event["data"]["servers"]:
            if not servers[name].was_available((model, version), since, posix(event)):
                text = f"rollout {event['rollout']} moves {label} of {model} to {version}"
                yield Violation("S13", 0.0, f"{text}, never AVAILABLE on {name}")


def _at_the_end(truth: Truth, told: Desired) -> Iterator[Violation]:
    """L2, S9: the faults are over, and every server is as the last revision says."""
    if truth.source == FOREIGN:
        yield Violation("S9", 0.0, f"server {truth.name} runs somebody else's config at the end")
        return
    if truth.labels != told.last:
        text = f"server {truth.name} ends with {_named(truth.labels)}, not {_named(told.last)}"
        yield Violation("L2", 0.0, text)
    for model, versions in told.versions.items():
        states = {v: state for (m, v), state in truth.states.items() if m == model}
        loaded = {v for v, state in states.items() if state == AVAILABLE}
        if loaded != versions:
            text = f"{model} {sorted(loaded)} loaded, not {sorted(versions)}"
            yield Violation("L2", 0.0, f"server {truth.name} ends with {text}")


def _named(labels: Mapping[Key, int]) -> dict[str, int]:
    return {f"{model}:{label}": version for (model, label), version in sorted(labels.items())}
