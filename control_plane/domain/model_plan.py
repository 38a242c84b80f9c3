"""The next step of one model on one server, decided from what is seen and nothing else.

    load beside ─► AVAILABLE ─► able to answer ─► move labels ─► verify ─► drop

Each arrow is a reload of its own. The rules are in docs/concepts.md; TensorFlow Serving's behaviour
that forces each of them is named where it is not obvious.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from control_plane.domain.action import Blocked, Cause, Change, Converged, ModelAction, Rank, Wait
from control_plane.domain.assignment import Traits, Want
from control_plane.domain.observed import Failure, Instant, Presence, Suspect, VersionSeen
from control_plane.domain.quarantine import pick
from control_plane.domain.state import Ability, ModelConfig, State

RETRIES = 5
RETRY_FIRST_S, RETRY_MOST_S = 5.0, 300.0
ACTIVE = (State.START, State.LOADING, State.AVAILABLE, State.UNLOADING)
COMING = (State.START, State.LOADING)
FRESH_ABLE = (Ability.PROVEN, Ability.UNPROVEN)


@dataclass(frozen=True, slots=True)
class Ground:
    """What all models on the server share."""

    now: Instant
    traits: Traits
    loading: bool = False  # some version on the server is LOADING
    missing: str = ""  # a base path of the running config that is gone: discovery stands still
    reserved: str = ""  # a model whose rollout stands between load and verify
    sent_at: Instant = 0.0  # when the running config was verified
    claimed: bool = True  # the running config is ours


@dataclass(frozen=True, slots=True)
class View:
    """One model on one server."""

    name: str
    want: Want | None  # None: nothing of it should be served
    held: ModelConfig | None  # its entry in the running config, or as seen where that is unknown
    labels: Mapping[str, int]  # in force on the server
    proven: Mapping[str, int]  # last verified target per label
    seen: Mapping[int, VersionSeen]
    ground: Ground
    presence: Presence | None = None  # None: storage was not looked at in this pass
    marked: bool = False  # `held` is verified and its marker stands
    added: Mapping[int, Instant] = field(default_factory=dict)
    dropped: Mapping[int, Instant] = field(default_factory=dict)
    failures: Mapping[int, Failure] = field(default_factory=dict)
    suspects: Mapping[int, Suspect] = field(default_factory=dict)

    def available(self, version: int) -> bool:
        """Whether the version was last seen AVAILABLE."""
        return version in self.seen and self.seen[version].state is State.AVAILABLE

    def may_hold(self, label: str, version: int) -> bool:
        """Whether a config with this label on this version is accepted as far as we can see.

        With `allow_version_labels_for_unavailable_models` a label may be new, or stay, on a
        version that is not AVAILABLE; moving it there is refused.
        """
        if self.available(version):
            return True
        stays = self.labels.get(label, version) == version
        return self.ground.traits.labels_flag and stays and self.proven.get(label) == version

    def holding(self) -> ModelConfig | None:
        """The model as it is, with those of its labels that cannot be refused."""
        if self.held is None:
            return None
        held = {
            label: version
            for label, version in self.labels.items()
            if version in self.held.versions and self.may_hold(label, version)
        }
        return ModelConfig(self.held.base_path, self.held.versions, held)


def next_action(view: View) -> ModelAction:
    """Bring one model one step closer to what is wanted; the same view gives the same step."""
    if view.want is None:
        return _leave(view)
    if view.held is None:
        return _enter(view, view.want)
    steps = (_move, _load, _retry, _await, _drop, _finish)
    for step in steps:
        action = step(view, view.want, view.held)
        if action is not None:
            return action
    return Converged()


def ended(view: View, version: int) -> bool:
    """Whether nothing of the version is left: END, absent, or a START that will never move.

    Taking a name out while a version is in START leaves it START for the life of the process.
    """
    one = view.seen.get(version)
    if one is None or one.state is State.END:
        return True
    since = max(one.since, view.dropped.get(version, one.since))
    return one.state is State.START and view.ground.now >= since + view.ground.traits.settle_s


def _leave(view: View) -> ModelAction:
    settle_s = view.ground.traits.settle_s
    if view.held is None:
        if not view.ground.claimed:
            return Converged()  # our first config here takes it out
        left = [version for version in sorted(view.seen) if not ended(view, version)]
        return unloading(view, left) if left else Converged()
    if view.labels:
        return Change(
            Rank.MOVE, replace(view.held, labels={}), "labels off before it is undeployed"
        )
    if any(view.seen[v].state in COMING for v in view.held.versions if v in view.seen):
        until = view.ground.now + view.ground.traits.load_budget_s
        return Wait(
            "a version is loading; the name goes out after that", until, look_again_s=settle_s
        )
    return Change(Rank.DROP, None, "undeployed")


def _enter(view: View, want: Want) -> ModelAction:
    """Add a name that the server does not hold; the versions that labels need come first."""
    presence = view.presence
    if presence is not None and presence.base_path is False:
        return Blocked(Cause.BASE_PATH_MISSING, f"the base path {want.base_path} does not exist")
    first = frozenset(want.labels.values()) or want.versions
    choices = (_complete(view, first), _complete(view, want.versions))
    if not any(choices):
        return _files(view, want.versions)
    picked = pick(view.name, view.suspects, *choices)
    if isinstance(picked, Blocked):
        return picked
    ready, alone = picked
    if wait := _settling(view, frozenset(view.seen) | ready):
        return wait
    labels = {
        label: version
        for label, version in want.labels.items()
        if version in ready and view.may_hold(label, version) and label in view.proven
    }
    entry = ModelConfig(want.base_path, ready, labels)
    return Change(Rank.ADD, entry, f"add {view.name} {_list(ready)}", alone)


def _move(view: View, want: Want, held: ModelConfig) -> ModelAction | None:
    """Move labels whose target is AVAILABLE and has answered; hold the others where they are."""
    if view.labels == want.labels:
        return None
    after, waiting = dict[str, int](), dict[int, ModelAction]()
    for label, target in want.labels.items():
        current = view.labels.get(label)
        if target in held.versions and view.available(target):
            doubt = None if target == current else _doubt(view, label, target)
            if doubt is None:
                after[label] = target
                continue
            waiting[target] = doubt
        if current is not None and current in held.versions:
            after[label] = current
    if after == {k: v for k, v in view.labels.items() if k in after or k not in want.labels}:
        return next(iter(waiting.values()), None)
    moves = sorted(k for k in {*after, *view.labels} if after.get(k) != view.labels.get(k))
    restores = all(k not in view.labels and view.proven.get(k) == after.get(k) for k in moves)
    allowed = {k: v for k, v in after.items() if view.may_hold(k, v)}
    entry = ModelConfig(held.base_path, held.versions, allowed)
    rank = Rank.RESTORE if restores else Rank.URGENT if want.urgent else Rank.MOVE
    words = ", ".join(f"{k} → {after.get(k, 'none')}" for k in moves)
    return Change(rank, entry, f"{view.name}: {words}")


def _doubt(view: View, label: str, target: int) -> ModelAction | None:
    """What still speaks against a label on an AVAILABLE version; None: nothing.

    A version without its variables becomes AVAILABLE and fails every Predict.
    """
    if label not in view.labels and view.proven.get(label) == target:
        return None
    one, ask, now = view.seen[target], (target,), view.ground.now
    until = one.since + view.ground.traits.load_budget_s
    if one.able is None:
        return Wait(f"{view.name} {target} has to answer one request", max(until, now), ask=ask)
    if one.able.ability is Ability.RETRY and now > until:
        why = f"{view.name} {target} gave no answer: {one.able.text}"
        return Blocked(Cause.UNABLE, why, ask=ask)
    if one.able.ability is Ability.RETRY:
        return Wait(f"{view.name} {target} has not answered: {one.able.text}", until, ask=ask)
    if one.able.ability in FRESH_ABLE:
        return None
    return Blocked(Cause.UNABLE, f"{view.name} {target} cannot answer: {one.able.text}")


def _load(view: View, want: Want, held: ModelConfig) -> ModelAction | None:
    """Load beside what is loaded: add first, drop last."""
    missing = want.versions - held.versions
    if not missing:
        return None
    if view.ground.missing:
        why = f"the base path {view.ground.missing} is gone, so the server finds no new version"
        return Blocked(Cause.BASE_PATH_MISSING, why)
    ready = _complete(view, missing)
    tired = {v for v in ready if _tired(view, v)}
    if not ready - tired:
        return _failed(view, min(tired)) if tired else _files(view, missing)
    picked = pick(view.name, view.suspects, ready - tired)
    if isinstance(picked, Blocked):
        return picked
    more, alone = picked
    if wait := _settling(view, more):
        return wait
    labels = (view.holding() or held).labels
    entry = ModelConfig(held.base_path, held.versions | more, labels)
    return Change(Rank.LOAD, entry, f"load {view.name} {_list(more)}", alone)


def _complete(view: View, versions: frozenset[int]) -> frozenset[int]:
    """Those that may go out; all where storage was not looked at or cannot be seen."""
    if view.presence is None or view.presence.base_path is None:
        return versions
    return versions & view.presence.complete


def _files(view: View, versions: frozenset[int]) -> Blocked:
    presence = view.presence or Presence()
    for version in sorted(versions, reverse=True):
        if version in presence.faults:
            broken = version in presence.broken
            cause = Cause.FILES_BROKEN if broken else Cause.FILES_MISSING
            return Blocked(cause, f"{view.name} {version}: {presence.faults[version]}")
    return Blocked(Cause.FILES_MISSING, f"{view.name} {_list(versions)}: not found in storage")


def _settling(view: View, versions: frozenset[int]) -> ModelAction | None:
    """Re-adding before the server has processed the drop can hang its reloads for good."""
    traits, now = view.ground.traits, view.ground.now
    for version in sorted(versions & (set(view.seen) | set(view.dropped))):
        if not ended(view, version):
            one = view.seen[version]
            if view.held is None and version not in view.dropped:
                continue
            until = one.since + traits.load_budget_s
            if now > until:
                return Blocked(Cause.UNLOAD_OVERDUE, _stuck(view, version))
            why = f"{view.name} {version} is {one.state.name} since its drop"
            return Wait(why, until, settles=True)
        since = view.dropped.get(version, view.seen[version].since if version in view.seen else 0.0)
        if now < since + traits.settle_s:
            left_s = since + traits.settle_s - now
            until = now + left_s + traits.load_budget_s
            why = f"{view.name} {version} was dropped just now"
            return Wait(why, until, look_again_s=left_s, settles=True)
        if traits.inline_loads and view.ground.loading:
            until = now + traits.load_budget_s
            return Wait(f"{view.name} {version} is added again after the load under way", until)
    return None


def _trusted_end(view: View, version: int) -> bool:
    """An END from before the push says nothing until it changed or `settle_s` has passed."""
    added = view.added.get(version, 0.0)
    fresh = view.seen[version].since > added
    return fresh or view.ground.now >= added + view.ground.traits.settle_s


def _tired(view: View, version: int) -> bool:
    one, failure = view.seen.get(version), view.failures.get(version)
    return bool(one and one.failed and failure and failure.count > RETRIES)


def _failed(view: View, version: int) -> Blocked:
    return Blocked(
        Cause.LOAD_FAILED, f"{view.name} {version} failed to load: {view.seen[version].error}"
    )


def _retry(view: View, want: Want, held: ModelConfig) -> ModelAction | None:
    """Drop a failed version that is worth another try; the server never tries again by itself."""
    failed = [
        version
        for version in sorted(want.versions & held.versions)
        if version in view.seen and view.seen[version].failed and _trusted_end(view, version)
    ]
    if not failed:
        return None
    version = failed[0]
    hopeful = view.seen[version].served or version in want.elsewhere
    failure = view.failures.get(version, Failure(1, view.seen[version].since))
    if not hopeful or failure.count > RETRIES:
        return _failed(view, version)
    pause_s = min(RETRY_FIRST_S * 2 ** (failure.count - 1), RETRY_MOST_S)
    due = failure.at + pause_s
    error = view.seen[version].error
    if view.ground.now < due:
        why = f"{view.name} {version} failed to load ({error}); try {failure.count} of {RETRIES}"
        return Wait(why, due + view.ground.traits.load_budget_s, look_again_s=due - view.ground.now)
    return _take_out(view, held, version)


def _take_out(view: View, held: ModelConfig, version: int) -> ModelAction:
    why = f"drop {view.name} {version} to load it again"
    if version in view.labels.values():
        labels = {label: v for label, v in view.labels.items() if v != version}
        return Change(Rank.MOVE, replace(held, labels=labels), why)
    rest = held.versions - {version}
    if rest:
        return Change(Rank.DROP, replace(view.holding() or held, versions=rest), why)
    return Change(Rank.DROP, None, why)


def _await(view: View, want: Want, _held: ModelConfig) -> ModelAction | None:
    """Wait for every wanted version; say what is wrong when one shows nothing for too long."""
    traits, now = view.ground.traits, view.ground.now
    for version in sorted(want.versions):
        one = view.seen.get(version)
        if one is not None and one.state is State.AVAILABLE:
            continue
        if one is not None and one.state in (State.LOADING, State.UNLOADING):
            until = one.since + traits.load_budget_s
            if now > until:
                why = f"{view.name} {version} is {one.state.name} for {_too_long(view)}"
                return Blocked(Cause.LOAD_OVERDUE, why)
            return Wait(f"{view.name} {version} is {one.state.name}", until)
        return _unmoved(view, version, one)
    return None


def _unmoved(view: View, version: int, one: VersionSeen | None) -> ModelAction:
    """A listed version in START, END without error, or absent: picked up late, or never."""
    traits, now = view.ground.traits, view.ground.now
    since = max(view.added.get(version, 0.0), view.ground.sent_at, one.since if one else 0.0)
    started = one is not None and one.state is State.START
    until = since + (traits.load_budget_s if started else traits.pickup_s)
    shown = one.state.name if one else "not listed"
    if now <= until:
        return Wait(f"{view.name} {version} is {shown}, to be picked up", until)
    if view.ground.missing:
        why = f"the base path {view.ground.missing} is gone, so the server finds no new version"
        return Blocked(Cause.BASE_PATH_MISSING, why)
    if view.presence is not None and version in view.presence.faults:
        return _files(view, frozenset({version}))
    why = f"{view.name} {version} is {shown} though its files are there: the server postpones it"
    return Blocked(Cause.POSTPONED, f"{why}, or does not poll its files; restart the server")


def _drop(view: View, want: Want, held: ModelConfig) -> ModelAction | None:
    """Drop what nothing holds, when everything wanted is AVAILABLE and labelled."""
    extra = held.versions - want.versions
    if not extra or not want.versions:
        return None
    pinned = extra & set(view.labels.values())
    if pinned:
        until = view.ground.now + view.ground.traits.load_budget_s
        return Wait(f"{view.name} {_list(pinned)} still has a label", until)
    entry = view.holding() or held
    return Change(
        Rank.DROP, replace(entry, versions=want.versions), f"drop {view.name} {_list(extra)}"
    )


def _finish(view: View, want: Want, held: ModelConfig) -> ModelAction | None:
    left = [v for v in sorted(set(view.seen) - want.versions) if not ended(view, v)]
    if left:
        return unloading(view, left)
    if not view.marked or held.base_path != want.base_path:
        return Change(
            Rank.MARK, replace(held, labels=dict(want.labels)), f"mark {view.name} as ours"
        )
    return None


def unloading(view: View, left: list[int]) -> ModelAction:
    """Wait for the first of these, which were dropped, to be END; say so when it takes too long."""
    version, traits = left[0], view.ground.traits
    since = max(view.seen[version].since, view.dropped.get(version, 0.0))
    until = since + traits.load_budget_s
    if view.ground.now > until:
        return Blocked(Cause.UNLOAD_OVERDUE, _stuck(view, version))
    return Wait(f"{view.name} {version} is {view.seen[version].state.name}, not END yet", until)


def _stuck(view: View, version: int) -> str:
    one = view.seen[version]
    shown = f"{view.name} {version} is {one.state.name} for {_too_long(view)} though it was dropped"
    return f"{shown}: a request holds it, or the server has lost track of it and needs a restart"


def _too_long(view: View) -> str:
    """The same words for as long as it lasts, so that nobody writes them down again."""
    return f"more than {view.ground.traits.load_budget_s:.0f} s"


def _list(versions: frozenset[int] | set[int]) -> str:
    return ", ".join(str(version) for version in sorted(versions))
