"""What one dev server really did, followed line by line; finds what should never have happened."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.chaos.desired import Key
from tests.chaos.history import Record
from tests.chaos.violation import Violation

AVAILABLE = "AVAILABLE"
MARKER = "_cp_"
OURS, FOREIGN, START = "ours", "foreign", "start"
OUR_FAULT = frozenset({"NOT_FOUND", "INVALID_ARGUMENT", "FAILED_PRECONDITION"})
Version = tuple[str, int]
ACTS_S = 2.0  # a server has begun to unload what a config left out after so long
_ALWAYS = float("inf")


@dataclass(slots=True)
class Truth:
    """One server: the config in force, whose it is, and the state of every version."""

    name: str
    flagged: bool = False  # lets labels be new or stay on versions that are not AVAILABLE
    source: str = START
    config: dict[str, set[int]] = field(default_factory=dict)
    labels: dict[Key, int] = field(default_factory=dict)  # without markers
    states: dict[Version, str] = field(default_factory=dict)
    taken: dict[Version, float] = field(default_factory=dict)  # by somebody else's config, when
    held: dict[Key, float] = field(default_factory=dict)  # labels that we keep up, since when
    past: dict[Key, list[tuple[float, int]]] = field(default_factory=dict)
    available: dict[Version, list[list[float]]] = field(default_factory=dict)  # POSIX, from and to

    def was_available(self, version: Version, since: float, until: float) -> bool:
        """Whether a version was AVAILABLE at any moment in between."""
        return any(a <= until and since <= b for a, b in self.available.get(version, ()))

    def began(self, one: Record) -> None:
        """Forget everything: it is a new process."""
        for spans in self.available.values():
            spans[-1][1] = min(spans[-1][1], one["at"])
        fresh = Truth(self.name, self.flagged, available=self.available)
        for slot in self.__slots__:
            setattr(self, slot, getattr(fresh, slot))

    def changed(self, one: Record) -> Iterator[Violation]:
        """Follow a version to its next state."""
        version, state = (one["model"], one["version"]), one["state"]
        before = self.states.get(version)
        self.states[version] = state
        if state == AVAILABLE:
            self.available.setdefault(version, []).append([one["at"], _ALWAYS])
            self.taken.pop(version, None)
            up = [key for key, v in self.labels.items() if (key[0], v) == version]
            self.held |= {key: one["t"] for key in up if self.source == OURS}
        elif before == AVAILABLE:
            self.available[version][-1][1] = one["at"]
            yield from self._unloaded(version, one["t"])

    def _unloaded(self, version: Version, t: float) -> Iterator[Violation]:
        if self.source != OURS or t < self.taken.get(version, -_ALWAYS) + ACTS_S:
            return
        for (model, label), target in self.labels.items():
            if (model, target) == version:
                yield self._broken("S1", t, f"{label} of {model} points at {target}, unloaded")

    def applied(self, one: Record) -> Iterator[Violation]:
        """Take a config that came into force."""
        source = source_of(one)
        config = {entry["name"]: set(entry["versions"]) for entry in one["config"]}
        labels = labels_of(one)
        if source == OURS:
            yield from self._sound(config, labels, one["t"])
        if source == OURS and self.source == OURS:
            yield from self._following(config, labels, one["t"])
        if source == FOREIGN:
            gone = [v for v in self.states if v[1] not in config.get(v[0], set())]
            self.taken |= dict.fromkeys(gone, float(one["t"]))
        since, now = self.held, float(one["t"])
        up = [k for k, v in labels.items() if self.states.get((k[0], v)) == AVAILABLE]
        self.held = {k: since.get(k, now) for k in up} if source == OURS else {}
        for key, version in labels.items():
            self.past.setdefault(key, []).append((one["t"], version))
        self.source, self.config, self.labels = source, config, labels

    def _sound(
        self, config: Mapping[str, set[int]], labels: Mapping[Key, int], t: float
    ) -> Iterator[Violation]:
        for (model, label), version in labels.items():
            if version not in config[model]:
                yield self._broken("S1", t, f"{label} of {model} names {version}, not in the push")
            restored = self.flagged and self.labels.get((model, label), version) == version
            if self.states.get((model, version)) != AVAILABLE and not restored:
                yield self._broken("S1", t, f"{label} of {model} names {version}, not AVAILABLE")

    def _following(
        self, config: Mapping[str, set[int]], labels: Mapping[Key, int], t: float
    ) -> Iterator[Violation]:
        """What one config of ours may not do to the one before."""
        for model in self.config.keys() - config.keys():
            if any(state == AVAILABLE for (m, _), state in self.states.items() if m == model):
                yield self._broken("S10", t, f"a push leaves out {model}, which serves")
        for (model, label), version in self.labels.items():
            if model in config and version not in config[model]:
                yield self._broken("S11", t, f"a push drops {model} {version}, which {label} names")
            alive = self.states.get((model, version)) == AVAILABLE
            if model in config and (model, label) not in labels and alive:
                yield self._broken("S12", t, f"a push leaves {label} of {model} without a version")

    def predicted(self, one: Record) -> Iterator[Violation]:
        """Compare an answer with where its label pointed meanwhile."""
        key = (one["model"], one["label"])
        line = self.past.get(key, [])
        ends = [*(t for t, _ in line[1:]), _ALWAYS]
        meant = {v for (t, v), end in zip(line, ends, strict=True) if end >= one["began"]}
        if one["version"] not in meant:
            text = f"{key[1]} of {key[0]} answered {one['version']}, pointed at {sorted(meant)}"
            yield self._broken("S1", one["t"], text)

    def failed(self, one: Record) -> Iterator[Violation]:
        """Find whether a prediction failed that we had promised."""
        key = (one["model"], one["label"])
        promised = self.held.get(key, _ALWAYS) <= one["began"]
        meant = (key[0], self.labels.get(key, 0))
        theirs = meant in self.taken and self.states.get(meant) != AVAILABLE
        if one["code"] in OUR_FAULT and promised and not theirs:
            yield self._broken("S21", one["t"], f"{key[1]} of {key[0]} failed: {one['code']}")

    def _broken(self, invariant: str, t: float, text: str) -> Violation:
        return Violation(invariant, t, f"server {self.name}: {text}")


def source_of(one: Record) -> str:
    """Whose config it is: ours carry a marker, and our first push to an empty server no label.

    So who plays a foreign writer pushes a label of its own, or an empty list.
    """
    labels = {label for entry in one["config"] for label in entry["labels"]}
    if one["reload"] == 0:
        return START
    marked = any(label.startswith(MARKER) for label in labels)
    return OURS if marked or (one["config"] and not labels) else FOREIGN


def labels_of(one: Record) -> dict[Key, int]:
    """Return the labels of a config, without our markers."""
    return {
        (entry["name"], label): version
        for entry in one["config"]
        for label, version in entry["labels"].items()
        if not label.startswith(MARKER)
    }
