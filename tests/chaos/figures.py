"""What a run measured, each figure a line `goal=… value=… seed=…`, and the machine it ran on."""

import os
import platform
from collections import Counter
from collections.abc import Iterator, Sequence

from tests.chaos.check_journal import WRITES
from tests.chaos.ground import Setup
from tests.chaos.ground_truth import AVAILABLE, OUR_FAULT, labels_of
from tests.chaos.history import Record, events, run_of
from tests.chaos.violation import Violation

CONVERGED_S, FIRST_RELOAD_S, LABEL_S = 60.0, 1.5, 1.0


def figures(setup: Setup, history: Sequence[Record], found: Sequence[Violation]) -> Iterator[str]:
    """Yield the lines to print."""
    kinds = Counter(one["kind"] for one in history)
    lost = sum(one.invariant in ("S2", "S15") for one in found)
    promised = sum(one.invariant == "S21" for one in found)
    writes = sum(one["kind"] == "api.ok" and one["verb"] in WRITES for one in history)
    yield _line(setup, "invariant-violations=0", f"{len(found)} lines={len(history)}")
    yield _line(setup, "lost-acknowledgements=0", f"{lost} acknowledged={writes}")
    asked = kinds["predict.ok"] + kinds["predict.err"]
    refused = sum(one["kind"] == "predict.err" and one["code"] in OUR_FAULT for one in history)
    away = kinds["predict.err"] - refused
    told = f"{promised} asked={asked} config-lost-or-foreign={refused - promised} away={away}"
    yield _line(setup, "failed-predictions-that-were-promised=0", told)
    yield _line(setup, f"converged-after-healing<{CONVERGED_S:g}s", _converged(history))
    first, labelled = _restarts(history)
    yield _line(setup, f"first-reload-after-restart-p99<{FIRST_RELOAD_S:g}s", spread(first))
    yield _line(setup, f"label-after-available-p99<{LABEL_S:g}s", spread(labelled))
    faults = Counter(one["fault"] for one in history if one["kind"] == "fault.on")
    told = " ".join(f"{name}:{count}" for name, count in sorted(faults.items()))
    yield _line(setup, "faults", f"{sum(faults.values())} {told}")
    yield _line(setup, "rollouts", _rollouts(history))


def machine() -> str:
    """Say where this ran."""
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    system = f"{platform.system()} {platform.machine()} Python {platform.python_version()}"
    return f"machine: {os.cpu_count()} CPUs, {system}, load {load}"


def _line(setup: Setup, goal: str, value: str) -> str:
    where = f"store={setup.store} servers={setup.servers} replicas={setup.replicas}"
    return f"goal={goal} value={value} seed={setup.seed} seconds={setup.seconds:g} {where}"


def _rollouts(history: Sequence[Record]) -> str:
    told = events(history)
    kinds = {
        one["rollout"]: one["data"]["kind"] for one in told if one["kind"] == "rollout.started"
    }
    ended = Counter(
        f"{kinds[one['rollout']]}-{one['data']['phase']}"
        for one in told
        if one["kind"] == "rollout.ended"
    )
    each = " ".join(f"{name}:{count}" for name, count in sorted(ended.items()))
    return f"{sum(ended.values())} {each}"


def _converged(history: Sequence[Record]) -> str:
    took = [one["took_s"] for one in history if one["kind"] == "converged"]
    return f"{took[0]:.2f}s" if took else "never"


def _restarts(history: Sequence[Record]) -> tuple[list[float], list[float]]:
    """How long the first config of a new process took, and each label once it could be set.

    Other faults go on meanwhile, of the replica and of the link too: this is seen under chaos.
    """
    began: dict[str, float] = {}
    ready: dict[str, dict[tuple[str, int], float]] = {}
    first: list[float] = []
    labelled: list[float] = []
    servers = set(run_of(history)["servers"].values())
    done = next(one["t"] for one in history if one["kind"] == "setup.done")
    for one in (one for one in history if one["by"] in servers and one["t"] > done):
        by = one["by"]
        if one["kind"] == "server.began":
            began[by], ready[by] = one["t"], {}
        elif one["kind"] == "reload.began" and by in began:
            first.append(one["t"] - began.pop(by))
        elif one["kind"] == "version.state" and one["state"] == AVAILABLE and by in ready:
            ready[by][one["model"], one["version"]] = one["t"]
        elif one["kind"] == "config.applied" and by in ready and (labels := labels_of(one)):
            at = ready.pop(by)
            since = [at[m, v] for (m, _), v in labels.items() if (m, v) in at]
            labelled += [one["t"] - max(since)] if since else []
    return first, labelled


def spread(took: Sequence[float]) -> str:
    """Describe times: what 99 of 100 do not exceed, the middle one, and how many there are."""
    if not took:
        return "none"
    ordered = sorted(took)
    at = min(int(len(ordered) * 0.99), len(ordered) - 1)
    return f"{ordered[at]:.2f}s median={ordered[len(ordered) // 2]:.2f}s n={len(ordered)}"
