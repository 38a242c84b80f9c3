"""What the fleet should have served, and when, by the control plane's own journal."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tests.chaos.history import Record, events

Key = tuple[str, str]  # a model and one of its labels
Labels = dict[Key, int]
_NEVER = float("inf")


def posix(event: Record) -> float:
    """When an event says that it happened, in POSIX seconds."""
    return datetime.fromisoformat(event["at"]).timestamp()


@dataclass(slots=True)
class Desired:
    """Where every label should point after each change, in the order of time."""

    labels: list[tuple[float, Labels]] = field(default_factory=lambda: [(0.0, {})])
    versions: dict[str, set[int]] = field(default_factory=dict)  # at the end
    true: Labels = field(default_factory=dict)  # after the last rollout that succeeded
    before: dict[str, list[float]] = field(default_factory=dict)  # by rollout: from when to when
    left: dict[str, Labels] = field(default_factory=dict)  # by rollout: where labels were before it

    def wanted(self, key: Key, since: float, until: float) -> set[int]:
        """Where a label was to point at any time in between.

        That is where a revision says, or where it was before a rollout that does not move it yet;
        a rollback moves at once.
        """
        found = [*_during(self.labels, since, until)]
        found += [self.left[r] for r, (a, b) in self.before.items() if a <= until and since <= b]
        return {labels[key] for labels in found if key in labels}

    @property
    def last(self) -> Labels:
        """Where every label should point at the end."""
        return self.labels[-1][1]

    def took(self, event: Record) -> None:
        """Follow the journal by one event."""
        match event["kind"]:
            case "revision.created":
                self._revised(event)
            case "rollout.started" if event["data"]["kind"] != "rollback":
                self.before[event["rollout"]] = [posix(event), _NEVER]
                self.left[event["rollout"]] = dict(self.true)
            case "rollout.ended":
                self._ended(event)
            case _:
                pass

    def _revised(self, event: Record) -> None:
        labels = dict(self.last)
        for model, one in event["data"]["changes"].items():
            labels = {key: v for key, v in labels.items() if key[0] != model}
            labels |= {(model, label): v for label, v in (one or {}).get("labels", {}).items()}
            self.versions[model] = set((one or {}).get("versions", ()))
        self.labels.append((posix(event), labels))

    def _ended(self, event: Record) -> None:
        if (spans := self.before.get(event["rollout"])) is not None:
            spans[1] = posix(event)
        if event["data"]["phase"] == "succeeded":
            models = event["data"]["models"]
            self.true |= {key: v for key, v in self.last.items() if key[0] in models}


def _during(line: Sequence[tuple[float, Labels]], since: float, until: float) -> Iterator[Labels]:
    times = [at for at, _ in line]
    first = max(bisect_right(times, since) - 1, 0)
    return (labels for _, labels in line[first : bisect_right(times, until)])


def desired(history: Sequence[Record]) -> Desired:
    """Follow the journal."""
    told = Desired()
    for event in events(history):
        told.took(event)
    return told
