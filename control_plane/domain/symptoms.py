"""What a server's past shows of how it was started: read from its journal, in order, never asked.

Times are those at which a look showed something, so they are late by up to one look.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from control_plane.domain.drift import BY_OTHERS
from control_plane.domain.events import Event, EventKind
from control_plane.domain.state import State

BESIDE_S = 0.5  # shorter than this, two looks may have seen two loads that followed each other
WAIT_S = 1.0  # of standing by while another one loads
_NEVER = float("inf")
_APPLIED = ("OK", "UNKNOWN")
_GONE = ("", State.END.name)
_LABEL_REFUSED = "Request to assign label"
_NO_THREAD = "RESOURCE_EXHAUSTED"


@dataclass(frozen=True, slots=True)
class Load:
    """A version that we asked for, and what came of it; instants are POSIX seconds."""

    model: str
    version: int
    asked_at: float
    shown_at: float = _NEVER  # when it was first listed
    loading_at: float = _NEVER
    ended_at: float = _NEVER  # when it was not LOADING any more
    error: str = ""

    @property
    def name(self) -> str:
        """Its name in a sentence."""
        return f"{self.model} {self.version}"

    @property
    def pickup_s(self) -> float:
        """How long the server took to notice it."""
        return self.shown_at - self.asked_at

    @property
    def took_s(self) -> float:
        """How long it was LOADING."""
        return self.ended_at - self.loading_at

    @property
    def noticed(self) -> bool:
        """Whether the server has listed it."""
        return self.shown_at < _NEVER

    @property
    def failed(self) -> bool:
        """Whether it was LOADING and ended with an error."""
        return bool(self.error) and self.took_s < _NEVER


def loads(history: Sequence[Event]) -> tuple[Load, ...]:
    """Return every load that pushes of ours asked for, in the order of those pushes."""
    return tuple(
        _followed(model, int(version), sent_at, history)
        for sent_at, added in _pushes(history)
        for model, versions in sorted(added.items())
        for version in versions
    )


def _pushes(history: Sequence[Event]) -> Iterator[tuple[float, dict[str, list[int]]]]:
    for one in history:
        if one.kind is EventKind.SERVER_RELOADED and one.data.get("code") in _APPLIED:
            yield one.at.timestamp() - one.data.get("took_s", 0.0), one.data.get("added", {})


def _followed(model: str, version: int, sent_at: float, history: Sequence[Event]) -> Load:
    """Follow a version from its push on; one that was there already was not noticed anew."""
    shown = loading = ended = _NEVER
    error = ""
    for at, before, state, words in _states(model, version, sent_at, history):
        if shown == _NEVER and before not in _GONE:
            break
        if state == "":  # another process
            break
        shown = min(shown, at)
        if state == State.LOADING.name:
            loading = min(loading, at)
        elif loading < _NEVER:
            ended, error = at, words if state == State.END.name else ""
            break
    return Load(model, version, sent_at, shown, loading, ended, error)


def _states(
    model: str, version: int, since: float, history: Sequence[Event]
) -> Iterator[tuple[float, str, str, str]]:
    for one in history:
        at, data = one.at.timestamp(), one.data
        same = one.kind is EventKind.VERSION_STATE_CHANGED and one.model == model
        if same and at >= since and data.get("version") == version:
            yield at, str(data.get("before")), str(data.get("state")), str(data.get("error"))


def undisturbed(of: Sequence[Load]) -> tuple[Load, ...]:
    """Return the loads that were noticed while nothing else was LOADING: the poll alone decided.

    A server that loads inline notices nothing new meanwhile.
    """
    return tuple(
        one
        for one in of
        if one.noticed
        and not any(
            other is not one and other.loading_at < one.shown_at and other.ended_at > one.asked_at
            for other in of
        )
    )


def side_by_side(of: Sequence[Load]) -> tuple[Load, Load] | None:
    """Return two versions that were LOADING at the same time."""
    for i, one in enumerate(of):
        for other in of[i + 1 :]:
            begin = max(one.loading_at, other.loading_at)
            if min(one.ended_at, other.ended_at) - begin >= BESIDE_S:
                return one, other
    return None


def in_line(of: Sequence[Load]) -> tuple[Load, Load] | None:
    """Return a version that was listed, and began to load only when another one had ended."""
    for one in of:
        for other in of:
            behind = other is not one and other.ended_at <= one.loading_at < _NEVER
            if behind and other.ended_at - max(one.shown_at, other.loading_at) >= WAIT_S:
                return one, other
    return None


def label_refusal(history: Sequence[Event]) -> str:
    """Return the newest refusal of a label on a version that was not AVAILABLE; "" if none."""
    return next((text for text in _refusals(history) if _LABEL_REFUSED in text), "")


def _refusals(history: Sequence[Event]) -> Iterator[str]:
    for one in reversed(history):
        if one.kind is EventKind.SERVER_RELOADED and one.data.get("code") == "FAILED_PRECONDITION":
            yield str(one.data.get("message"))


def exhausted(history: Sequence[Event]) -> str:
    """Return the newest answer to a reload that found no thread; "" if none."""
    for one in reversed(history):
        if one.kind is EventKind.SERVER_RELOADED and one.data.get("code") == _NO_THREAD:
            return str(one.data.get("message"))
    return ""


def replaced(history: Sequence[Event], since: float) -> tuple[float, ...]:
    """Return when somebody else's config was seen there, from an instant on."""
    drifted = (one for one in history if one.kind is EventKind.SERVER_DRIFTED)
    times = (one.at.timestamp() for one in drifted if one.data.get("cause") in BY_OTHERS)
    return tuple(at for at in times if at >= since)
