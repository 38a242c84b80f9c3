"""What the fleet should have served, and when, by the control plane's own journal."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tests.chaos.history import Record, events

Key = tuple[str, str]  # a model and one of its labels


def posix(event: Record) -> float:
    """When an event says that it happened, in POSIX seconds."""
    return datetime.fromisoformat(event["at"]).timestamp()


@dataclass(slots=True)
class Desired:
    """Where every label should point after each change, in the order of time."""

    labels: list[tuple[float, dict[Key, int]]] = field(default_factory=lambda: [(0.0, {})])
    versions: dict[str, set[int]] = field(default_factory=dict)  # at the end

    def wanted(self, key: Key, since: float, until: float) -> set[int]:
        """Where a label was to point at any time in between."""
        found = _during(self.labels, since, until)
        return {labels[key] for labels in found if key in labels}

    @property
    def last(self) -> dict[Key, int]:
        """Where every label should point at the end."""
        return self.labels[-1][1]


def _during(
    line: Sequence[tuple[float, dict[Key, int]]], since: float, until: float
) -> Iterator[dict[Key, int]]:
    times = [at for at, _ in line]
    first = max(bisect_right(times, since) - 1, 0)
    return (labels for _, labels in line[first : bisect_right(times, until)])


def desired(history: Sequence[Record]) -> Desired:
    """Follow the journal's revisions."""
    told = Desired()
    for event in events(history):
        if event["kind"] == "revision.created":
            labels = dict(told.last)
            for model, one in event["data"]["changes"].items():
                labels = {key: v for key, v in labels.items() if key[0] != model}
                labels |= {(model, label): v for label, v in (one or {}).get("labels", {}).items()}
                told.versions[model] = set((one or {}).get("versions", ()))
            told.labels.append((posix(event), labels))
    return told
