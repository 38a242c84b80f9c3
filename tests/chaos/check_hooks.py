"""What hooks owe: one run for each moment, tried at least once under one id, ended at last.

Besides the journal it needs what the runner reads at the end, of hooks whose target always agrees:
hook.run (`hook` and `run`, as the API shows them) and hook.asked (`id`, `rollout`, of a request).
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from tests.chaos.history import Record, events
from tests.chaos.violation import Violation

_MOMENTS = ("before_promote", "after_promote")


def check_hooks(history: Sequence[Record]) -> Iterator[Violation]:
    """S16 and L7."""
    told = [one for one in history if one["kind"] == "hook.run"]
    runs = {one["run"]["request_id"]: one for one in told}
    asked = {one["id"] for one in history if one["kind"] == "hook.asked"}
    for unknown in sorted(asked - runs.keys()):
        yield Violation("S16", 0.0, f"hook run {unknown} was tried and never written down")
    for id_, one in runs.items():
        state = one["run"]["state"]
        if state != "succeeded":
            yield Violation("L7", 0.0, f"hook run {id_} of {one['hook']['name']} is {state}")
        elif id_ not in asked:
            yield Violation("S16", 0.0, f"hook run {id_} succeeded and was never tried")
    yield from _each_once(history, [one["run"] for one in runs.values()])
    yield from _on_events(history, runs)


def _each_once(history: Sequence[Record], runs: Sequence[Record]) -> Iterator[Violation]:
    """Each rollout that succeeded has had one run of each of its hooks."""
    count = Counter((one["name"], one["rollout"]) for one in runs)
    for hook in _created(history, *_MOMENTS):
        for rollout in _succeeded(history, hook):
            if (found := count[hook["data"]["hook"], rollout]) != 1:
                text = f"rollout {rollout} had {found} runs of {hook['data']['hook']}"
                yield Violation("S16", 0.0, text)
    ended = Counter(
        one["data"]["request_id"] for one in events(history) if one["kind"] == "hook.ended"
    )
    for id_, times in ended.items():
        if times > 1:
            yield Violation("S16", 0.0, f"hook run {id_} ended {times} times")
    told = {hook["data"]["hook"] for hook in _created(history, *_MOMENTS)}
    for one in runs:
        id_ = one["request_id"]
        if one["name"] in told and one["state"] == "succeeded" and not ended[id_]:
            yield Violation("S16", 0.0, f"hook run {id_} succeeded, and the journal does not tell")


def _on_events(history: Sequence[Record], runs: dict[str, Record]) -> Iterator[Violation]:
    """Each rollout that ended has had one run of the hooks that wait for that."""
    asked = {
        (runs[one["id"]]["run"]["name"], one["rollout"], one["id"])
        for one in history
        if one["kind"] == "hook.asked" and one["id"] in runs
    }
    count = Counter((name, rollout) for name, rollout, _ in asked)
    for hook in _created(history, "on_event"):
        for one in events(history):
            ours = one["kind"] == "rollout.ended" and one.get("model") == hook.get("model")
            found = count[hook["data"]["hook"], one.get("rollout", "")]
            if ours and one["seq"] > hook["seq"] and found != 1:
                text = f"the end of rollout {one['rollout']} had {found} runs"
                yield Violation("S16", 0.0, f"{text} of {hook['data']['hook']}")


def _created(history: Sequence[Record], *moments: str) -> list[Record]:
    made = [one for one in events(history) if one["kind"] == "hook.created"]
    return [one for one in made if one["data"]["moment"] in moments]


def _succeeded(history: Sequence[Record], hook: Record) -> list[str]:
    """The promotions of a hook's model that began after it was there, and succeeded."""
    told = events(history)
    began = {
        one["rollout"]
        for one in told
        if one["kind"] == "rollout.started"
        and one["seq"] > hook["seq"]
        and hook.get("model", "") in ("", *one["data"]["models"])
        and one["data"]["kind"] == "promote"
    }
    ended = (one for one in told if one["kind"] == "rollout.ended")
    return [
        one["rollout"]
        for one in ended
        if one["rollout"] in began and one["data"]["phase"] == "succeeded"
    ]
