"""What is played while a failpoint is armed, and which plays pass which failpoint."""

import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from control_plane.failpoints import NAMES
from tests.chaos.kill_stand import FLEET, HOOKED, ONE, TWO, Stand, Stuck, until
from tests.faults.plane import FAIL


@dataclass(frozen=True)
class Play:
    """Something that people do; what it starts from is made ready by a process that is unarmed."""

    act: Callable[[Stand, Any], None]
    prepare: Callable[[Stand], Any] = lambda stand: None
    linger_s: float = 1.0  # what it sets off passes the failpoint so much later, at most


def _deployment(model: str, verb: str) -> str:
    return f"/fleets/{FLEET}/deployments/{model}:{verb}"


def _promote(stand: Stand, model: str, version: int, **more: object) -> Any:
    wanted = {"version": version, "force": True, **more}
    return stand.write("promote", model, _deployment(model, "promote"), wanted)


def _finished(stand: Stand, started: Any, phase: str = "succeeded") -> None:
    ended = stand.over(started["rollout"]["id"])
    if ended["phase"] != phase:
        raise Stuck(f"rollout {ended['id']} is {ended['phase']}: {ended['sentence']}")


def _promotes(model: str) -> Play:
    """The label goes to another version, which is loaded already as a rule."""

    def act(stand: Stand, version: int) -> None:
        _finished(stand, _promote(stand, model, version))

    return Play(act, lambda stand: stand.other(model))


def _rolls_back(stand: Stand, _: Any) -> None:
    started = stand.write("rollback", ONE, _deployment(ONE, "rollback"), {})
    _finished(stand, started)


def _promoted(stand: Stand) -> None:
    _finished(stand, _promote(stand, ONE, stand.other(ONE)))
    stand.settle()


def _fails(stand: Stand, version: int) -> None:
    _finished(stand, _promote(stand, TWO, version), "failed")


def _is_refused(stand: Stand, version: int) -> None:
    """A gate fails when the version is loaded: it is dropped again."""
    _finished(stand, _promote(stand, TWO, version, strategy="gated"), "failed")


def _gated(stand: Stand) -> int:
    gate = {"kind": "http", "url": stand.target.url("/gate", FAIL)}
    steps = ["load", {"gate": gate}, "promote", "retire"]
    stand.ask("PUT", "/strategies/gated", {"steps": steps})
    return stand.new(TWO)


def _promotes_together(stand: Stand, versions: Mapping[str, int]) -> None:
    items = [{"model": model, "version": version} for model, version in versions.items()]
    wanted = {"items": items, "force": True}
    _finished(stand, stand.write("promote", ONE, f"/fleets/{FLEET}/promotions", wanted))


def _held_up(stand: Stand) -> str:
    """A promotion that waits for somebody."""
    steps = ["load", {"approve": {"count": 1, "exclude_author": False}}, "promote", "retire"]
    stand.ask("PUT", "/strategies/asks", {"steps": steps})
    started = _promote(stand, ONE, stand.other(ONE), strategy="asks")
    rollout = str(started["rollout"]["id"])
    until(
        lambda: stand.get(f"/rollouts/{rollout}")["phase"] == "waiting",
        lambda: stand.get(f"/rollouts/{rollout}")["sentence"],
    )
    return rollout


def _supersedes(stand: Stand, _: Any) -> None:
    _finished(stand, _promote(stand, ONE, stand.new(ONE), supersede=True))


def _rolls_back_over(stand: Stand, _: Any) -> None:
    _finished(stand, stand.write("rollback", ONE, _deployment(ONE, "rollback"), {"to_version": 1}))


def _approves(stand: Stand, rollout: str) -> None:
    stand.ask("POST", f"/rollouts/{rollout}:approve")
    _finished(stand, {"rollout": {"id": rollout}})


def _aborts(stand: Stand, rollout: str) -> None:
    stand.ask("POST", f"/rollouts/{rollout}:abort")
    _finished(stand, {"rollout": {"id": rollout}}, "aborted")


def _asks_twice(stand: Stand, version: int) -> None:
    _finished(stand, _promote(stand, ONE, version))
    stand.ask_again()


def _ends(stand: Stand, _: Any) -> None:
    process = stand.control.process
    if process is not None:
        process.signal(signal.SIGTERM)
        until(lambda: stand.control.gone, lambda: "it does not end", 20)


def _waits(stand: Stand, _: Any) -> None:
    del stand


def _starts_another(stand: Stand, _: Any) -> None:
    """A second replica comes and takes its share of the fleets."""
    stand.beside.start()

    def shared() -> bool:
        return stand.control.gone or "leads 1 of 2" in _leases(stand)

    until(shared, lambda: _leases(stand))


def _leases(stand: Stand) -> str:
    return str(stand.beside.http.get("/readyz?verbose").json()["checks"]["leases"])


def _writes_through_another(stand: Stand, _: Any) -> None:
    """The replica that did not write hears of it, and dies of that."""
    _starts_another(stand, _)
    model = {"name": f"m{time.time_ns()}", "base_path": str(stand.home / ONE)}
    stand.beside.http.post("/api/v1/models", json=model).raise_for_status()


PLAYS: Mapping[str, Play] = {
    "promote": _promotes(ONE),
    "rollback": Play(_rolls_back, _promoted),
    "cold": Play(lambda stand, version: _finished(stand, _promote(stand, TWO, version)),
                 lambda stand: stand.new(TWO)),
    "failed": Play(_fails, lambda stand: stand.broken(TWO)),
    "refused": Play(_is_refused, _gated),
    "hooked": _promotes(HOOKED),
    "group": Play(_promotes_together,
                  lambda stand: {model: stand.other(model) for model in (ONE, TWO)}),
    "supersede": Play(_supersedes, _held_up),
    "rollback_over": Play(_rolls_back_over, _held_up),
    "approve": Play(_approves, _held_up),
    "abort": Play(_aborts, _held_up),
    "again": Play(_asks_twice, lambda stand: stand.other(ONE)),
    "end": Play(_ends),
    "start": Play(_waits),
    "wait": Play(_waits, linger_s=15.0),
    "another": Play(_starts_another),
    "hear": Play(_writes_through_another),
}  # fmt: skip

_FORWARD = ("promote", "cold", "hooked", "group", "refused", "supersede")
_MOVES = (*_FORWARD, "rollback")
_BY_NAME: Mapping[str, tuple[str, ...]] = {
    "request.begun": ("promote", "rollback", "group", "approve", "again"),
    "request.refused": ("again",),
    "request.committed": ("promote", "rollback", "group", "approve", "again"),
    "steer.before_commit": ("approve", "abort"),
    "steer.committed": ("approve", "abort"),
    "change.superseded": ("supersede", "rollback_over"),
    "revert.before_append": ("failed", "refused", "abort"),
    "revert.appended": ("failed", "refused", "abort"),
    "label.verified": ("promote", "rollback", "cold", "hooked", "group"),
    "push.verified": ("promote", "rollback", "cold", "hooked", "group"),
    "start.led": ("start",),
}
_BY_NOUN: Mapping[str, tuple[str, ...]] = {
    "idempotency": ("again",),
    "promote": _FORWARD,
    "rollback": ("rollback", "rollback_over"),
    "change": ("promote", "rollback", "group", "supersede"),
    "wakeup": ("promote", "rollback", "group"),
    "hook": ("hooked",),
    "flush": ("wait",),
    "lease": ("start",),
    "fleet": ("start",),
    "stop": ("end",),
    "handover": ("another",),
    "notice": ("hear",),
}
_AT_THE_END = ("lease.before_release", "lease.released", "lease.release_committed")
_MORE_PASSES: Mapping[str, int] = {
    "server": 12,
    "intent": 4,
    "push": 4,
    "record": 10,
    "rollouts": 10,
    "advance": 5,
    "rollout.saved": 5,
    "step": 3,
    "hook": 3,
    "lease.before_renew": 3,
    "lease.renewed": 3,
    "lease.renew_committed": 3,
}
ON_POSTGRESQL_ALONE = tuple(
    one for one in NAMES if one.partition(".")[0] in ("handover", "notice")
)  # nobody else to hand over to, or to hear of, on SQLite


def plays_of(name: str) -> tuple[str, ...]:
    """The plays that pass a failpoint."""
    if name in _AT_THE_END:
        return ("end",)
    return _BY_NAME.get(name) or _BY_NOUN.get(name.partition(".")[0], _MOVES)


def pass_of(name: str, chance: random.Random) -> int:
    """On which pass it dies; some are passed at the start already, and many times."""
    most = _MORE_PASSES.get(name) or _MORE_PASSES.get(name.partition(".")[0], 1)
    return chance.randint(1, most)
