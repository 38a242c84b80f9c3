"""Invariants that clients, watchers and the journal decide: what was promised and what is kept."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from tests.chaos.ground_truth import OURS, source_of
from tests.chaos.history import Record, events
from tests.chaos.violation import Violation

WRITES = frozenset({"promote", "rollback", "deploy"})
LANDED_S = 3.0  # a push whose intent was committed has arrived after so long
_NEVER = float("inf")
_ENDINGS = frozenset({"api.ok", "api.refused", "api.unknown"})


def check_writes(history: Sequence[Record]) -> Iterator[Violation]:
    """S2, S15: what was acknowledged is there, once; what was refused is not.

    A try to which nobody heard an answer may still be under way when the next one is refused.
    """
    told = events(history)
    effects = [one for one in told if one["kind"] == "rollout.started"]
    started = Counter(one["reason"] for one in effects)
    seen_at = _seen_at(history, {one["seq"]: one["reason"] for one in effects})
    rollouts = {one["rollout"] for one in told if one["kind"] == "rollout.started"}
    revisions = {one["revision"] for one in told if one["kind"] == "revision.created"}
    for op, tries in _tries(history).items():
        ends = [one for one in tries if one["kind"] in _ENDINGS]
        done = [one for one in ends if one["kind"] == "api.ok"]
        last = max(one["t"] for one in tries)
        if started[op] > 1:
            yield Violation("S15", last, f"{op} had {started[op]} effects")
        if len({(one["rollout"], one["revision"]) for one in done}) > 1:
            yield Violation("S15", last, f"{op} was answered in different ways")
        if started[op] and _refused(tries, seen_at.get(op, _NEVER)):
            yield Violation("S2", last, f"{op} was refused and had an effect all the same")
        for one in done:
            if one["rollout"] and one["rollout"] not in rollouts:
                yield Violation("S2", one["t"], f"{op}: rollout {one['rollout']} is lost")
            if one["revision"] and one["revision"] not in revisions:
                yield Violation("S2", one["t"], f"{op}: revision {one['revision']} is lost")


def _seen_at(history: Sequence[Record], effects: Mapping[int, str]) -> dict[str, float]:
    """When a watcher first saw what an operation did."""
    found: dict[str, float] = {}
    for one in history:
        if one["kind"] == "events.read":
            for seq in effects.keys() & set(one["seqs"]):
                found.setdefault(effects[seq], one["t"])
    return found


def _refused(tries: Sequence[Record], seen_at: float) -> bool:
    """Whether a try was refused with no earlier one left that could have an effect later."""
    called_at, left = 0.0, False
    for one in tries:
        if one["kind"] == "api.call":
            called_at = one["t"]
        elif one["kind"] == "api.unknown":
            left = True
        elif one["kind"] == "api.refused" and not (left and seen_at >= called_at):
            return True
    return False


def _tries(history: Sequence[Record]) -> dict[str, list[Record]]:
    """Return the tries of every write, by operation."""
    found: dict[str, list[Record]] = defaultdict(list)
    for one in history:
        if one["kind"].startswith("api.") and one["verb"] in WRITES:
            found[one["op"]].append(one)
    return found


def check_reads(history: Sequence[Record]) -> Iterator[Violation]:
    """S4: a read that began after a write was acknowledged sees it."""
    acknowledged: dict[str, int] = defaultdict(int)
    floors: dict[str, int] = {}
    for one in history:
        if one["kind"] == "api.call" and one["verb"] == "read":
            floors[one["op"]] = acknowledged[one["model"]]
        elif one["kind"] == "api.ok" and one["verb"] == "read":
            if one["revision"] < floors[one["op"]]:
                text = f"{one['op']} read revision {one['revision']} after {floors[one['op']]}"
                yield Violation("S4", one["t"], f"{text} was acknowledged")
        elif one["kind"] == "api.ok" and one["verb"] in WRITES:
            known = acknowledged[one["model"]]
            acknowledged[one["model"]] = max(known, one["revision"] or 0)


def check_revisions(history: Sequence[Record]) -> Iterator[Violation]:
    """S3: a fleet's revisions are one line without gaps, and it only grows."""
    told = [one["revision"] for one in events(history) if one["kind"] == "revision.created"]
    if told != list(range(1, len(told) + 1)):
        yield Violation("S3", 0.0, f"the revisions are {told}")
    longest = 0
    for one in history:
        if one["kind"] != "revisions.read":
            continue
        numbers = one["numbers"]
        if numbers != list(range(1, len(numbers) + 1)):
            yield Violation("S3", one["t"], f"{one['through']} told of revisions {numbers}")
        if len(numbers) < longest and one["began"] > _read_at(history, longest):
            yield Violation("S3", one["t"], f"{longest} revisions became {len(numbers)}")
        longest = max(longest, len(numbers))


def _read_at(history: Sequence[Record], count: int) -> float:
    """When so many revisions had been read for the first time."""
    reads = (one for one in history if one["kind"] == "revisions.read")
    return float(next(one["t"] for one in reads if len(one["numbers"]) >= count))


def check_journal(history: Sequence[Record]) -> Iterator[Violation]:
    """S17, S18: the journal has no gaps, and each watcher sees a slice without any."""
    seqs = [one["seq"] for one in events(history)]
    if seqs != list(range(1, len(seqs) + 1)):
        gaps = [b for a, b in pairwise([0, *seqs]) if b != a + 1]
        yield Violation("S17", 0.0, f"the journal has gaps or doubles before {gaps}")
    last: dict[str, int] = {}
    for one in history:
        if one["kind"] != "events.read":
            continue
        for seq in one["seqs"]:
            before = last.get(one["by"], seq - 1)
            if seq != before + 1:
                yield Violation("S18", one["t"], f"{one['by']} saw {seq} after {before}")
            last[one["by"]] = seq


def check_rollouts(history: Sequence[Record]) -> Iterator[Violation]:
    """S5, S6, L1: one live rollout for a model, its end is final, and it comes."""
    live: dict[str, str] = {}
    over: set[str] = set()
    for one in events(history):
        rollout = one.get("rollout", "")
        if rollout in over and one["kind"].startswith("rollout."):
            yield Violation("S6", 0.0, f"rollout {rollout}: {one['kind']} after its end")
        elif one["kind"] == "rollout.started":
            models = one["data"]["models"]
            for model in live.keys() & set(models):
                text = f"rollout {rollout} of {model} began while {live[model]} was live"
                yield Violation("S5", 0.0, text)
            live |= dict.fromkeys(models, rollout)
        elif one["kind"] == "rollout.ended":
            over.add(rollout)
            live = {model: other for model, other in live.items() if other != rollout}
    if any(one["kind"] == "end" for one in history):
        for model, rollout in live.items():
            yield Violation("L1", 0.0, f"rollout {rollout} of {model} never ended")


def check_leases(history: Sequence[Record]) -> Iterator[Violation]:
    """S7: epochs only grow, each has one holder, and pushes follow in their order."""
    pushes = [one for one in events(history) if one["kind"] == "server.reloaded"]
    pushes.sort(key=lambda one: float(one["data"]["sent_at"]))
    for before, after in pairwise(pushes):
        a, b = before["data"]["epoch"], after["data"]["epoch"]
        if b < a:
            text = f"a push to {after['server']} under epoch {b} was sent after one under {a}"
            yield Violation("S7", 0.0, text)
    holders: dict[int, str] = {}
    finished: list[tuple[float, int]] = []
    for one in history:
        if one["kind"] != "leader.read" or not one["epoch"]:
            continue
        if holders.setdefault(one["epoch"], one["holder"]) != one["holder"]:
            who = f"{holders[one['epoch']]} and {one['holder']}"
            yield Violation("S7", one["t"], f"epoch {one['epoch']} was of {who}")
        highest = max((e for t, e in finished if t < one["began"]), default=0)
        if one["epoch"] < highest:
            yield Violation("S7", one["t"], f"epoch {one['epoch']} was read after {highest}")
        finished = [*finished[-20:], (one["t"], max(highest, one["epoch"]))]


def check_outages(history: Sequence[Record]) -> Iterator[Violation]:
    """S22: without a database nothing is acknowledged, and nothing is sent to a server."""
    down = _NEVER
    began: dict[str, float] = {}
    for one in history:
        if one.get("fault") == "database-down":
            down = one["t"] if one["kind"] == "fault.on" else _NEVER
        elif one["kind"] == "api.call":
            began[one["op"]] = one["t"]
        elif one["kind"] == "api.ok" and one["verb"] in WRITES and began[one["op"]] > down:
            yield Violation("S22", one["t"], f"{one['op']} was acknowledged")
        elif (
            one["kind"] == "reload.began" and source_of(one) == OURS and one["t"] > down + LANDED_S
        ):
            yield Violation("S22", one["t"], f"{one['by']} got a push")


def check_rollbacks(history: Sequence[Record]) -> Iterator[Violation]:
    """S14: a rollback without a target goes where the label was verified last before."""
    asked = {
        one["op"]: one
        for one in history
        if one["kind"] == "api.call" and one["verb"] == "rollback" and not one.get("version")
    }
    labels: dict[tuple[str, str], int] = {}
    true: dict[tuple[str, str], int] = {}
    verified: dict[tuple[str, str], list[list[int | bool]]] = defaultdict(list)
    for one in events(history):
        if one["kind"] == "label.verified":
            key = (one["model"], one["data"]["label"])
            verified[key].insert(0, [one["data"]["version"], False])
            true[key] = one["data"]["version"]
        elif one["kind"] == "revision.created":
            for model, change in one["data"]["changes"].items():
                for label, version in ((change or {}).get("labels", {})).items():
                    key = (model, label)
                    leaves = {labels.get(key), true.get(key, version)} - {version}
                    if one["data"]["kind"] == "rollback" and leaves:
                        target = _target(verified[key], labels.get(key))
                        if one["reason"] in asked and version != target:
                            text = f"{one['reason']} takes {label} of {model} to {version}"
                            yield Violation("S14", 0.0, f"{text}, not to {target}")
                        _leave(verified[key], leaves)
                    labels[key] = version


def _target(verified: Sequence[Sequence[int | bool]], current: int | None) -> int | None:
    newest: dict[int | bool, bool] = {}
    for version, left in verified:
        newest.setdefault(version, bool(left))
    return next((int(v) for v, left in newest.items() if v != current and not left), None)


def _leave(verified: Sequence[list[int | bool]], versions: set[int | None]) -> None:
    for one in verified:
        if one[0] in versions:
            one[1] = True
