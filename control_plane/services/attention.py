"""What needs somebody: each with the reason in the words of who found it, and what to do next."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from control_plane.domain.fleet import Server
from control_plane.domain.rollout import Phase, Rollout, StepName
from control_plane.services.sight import Sight
from control_plane.services.views import server_status, serves

Json = dict[str, Any]
_ILL: Final = {"unreachable": "bad", "wedged": "bad", "drifted": "warn", "not_taken_over": "info"}
_RANK: Final = {"bad": 0, "warn": 1, "info": 2}
_BADLY: Final = (Phase.FAILED, Phase.ROLLED_BACK)


@dataclass(frozen=True, slots=True)
class Watched:
    """A fleet, and whether a replica looks at its servers."""

    sight: Sight
    led: bool

    def status(self, server: Server) -> str:
        """How a server is, in one word; what nobody looks at is unknown."""
        return server_status(self.sight, server)[0] if self.led else "unknown"


def attention(seen: Iterable[Watched], recent: Sequence[Rollout]) -> list[Json]:
    """Return what needs somebody, the worst first; `recent` are rollouts, the newest first."""
    found = [item for one in seen for item in _of_fleet(one)]
    found += _ended_badly(recent)
    return sorted(found, key=lambda one: _RANK[one["severity"]])


def _of_fleet(watched: Watched) -> Iterator[Json]:
    sight = watched.sight
    if not watched.led and sight.servers:
        reason = "no replica of the control plane looks at this fleet: what is shown may be old"
        yield _item("unwatched", "bad", sight, reason=reason)
    for server in sight.servers:
        status, sentence = server_status(sight, server)
        if status in _ILL:
            yield _server(sight, server, status, sentence)
    for model in sorted(sight.heads):
        yield from _of_model(sight, model)
    for rollout in sight.live:
        yield from _of_rollout(sight, rollout)


def _server(sight: Sight, server: Server, status: str, sentence: str) -> Json:
    commands = {
        "not_taken_over": f"tfsctl server take-over {server.name} --fleet {sight.fleet.name}",
        "drifted": f"tfsctl server enforce {server.name} --fleet {sight.fleet.name}",
    }
    return _item(
        f"server_{status}",
        _ILL[status],
        sight,
        server=server.name,
        reason=sentence,
        command=commands.get(status, f"tfsctl doctor {server.name} --fleet {sight.fleet.name}"),
    )


def _of_model(sight: Sight, model: str) -> Iterator[Json]:
    """Tell of a model that is not served somewhere, unless that is told of the server already."""
    if sight.rollout_of(model):
        return
    command = f"tfsctl status {model} --fleet {sight.fleet.name} --no-wait"
    if not sight.ours:
        reason = "no server of this fleet is ours to reload"
        yield _item("model_nowhere", "bad", sight, model=model, reason=reason, command=command)
        return
    for server in sight.ours:
        status, sentence = server_status(sight, server)
        if status not in _ILL and not serves(sight, server.name, sight.heads[model]):
            reason = f"{server.name}: {sentence}"
            yield _item("model_short", "warn", sight, model=model, reason=reason, command=command)
            return


def waits_for_somebody(rollout: Rollout) -> bool:
    """Whether a live rollout goes on only when a person says so."""
    return rollout.phase is Phase.PAUSED or _asks(rollout)


def _asks(rollout: Rollout) -> bool:
    step = rollout.step
    begun = rollout.phase.live and step is not None and step.begun
    return begun and step is not None and step.name is StepName.APPROVE


def _of_rollout(sight: Sight, rollout: Rollout) -> Iterator[Json]:
    if not waits_for_somebody(rollout):
        return
    paused = rollout.phase is Phase.PAUSED
    verb, kind = ("resume", "rollout_paused") if paused else ("approve", "rollout_approval")
    yield _item(
        kind,
        "warn",
        sight,
        model=", ".join(rollout.models),
        rollout=rollout.id,
        reason=rollout.sentence,
        command=f"tfsctl rollout {verb} {rollout.id}",
    )


def _ended_badly(recent: Sequence[Rollout]) -> Iterator[Json]:
    """Tell of models whose newest rollout ended badly: what somebody wanted is not served."""
    newest: set[tuple[str, str]] = set()
    for rollout in recent:
        about = {(rollout.fleet, model) for model in rollout.models}
        if rollout.phase in _BADLY and not rollout.superseded_by and not about & newest:
            yield {
                "kind": f"rollout_{rollout.phase}",
                "severity": "warn",
                "fleet": rollout.fleet,
                "model": ", ".join(rollout.models),
                "server": "",
                "rollout": rollout.id,
                "reason": rollout.error or rollout.sentence,
                "command": f"tfsctl rollout show {rollout.id}",
            }
        newest |= about


def _item(kind: str, severity: str, sight: Sight, **more: str) -> Json:
    told = {"model": "", "server": "", "rollout": "", "reason": "", "command": ""}
    return {"kind": kind, "severity": severity, "fleet": sight.fleet.name, **told, **more}
