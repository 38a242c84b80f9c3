"""Small histories, told line by line: each line a second after the one before."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self

from tests.chaos.history import Record

MODEL, LABEL = "m", "stable"
ALL = ("a", "b")


class Story:
    """A run with the servers a and b and the model m, in the order in which it is told."""

    def __init__(self) -> None:
        self.lines: list[Record] = []
        self._now = 0.0
        self._seq = self._revision = self._reload = 0
        names = {name: f"server:{name}" for name in ALL}
        self.tell("runner", "run", servers=names, flagged=["b"])

    def tell(self, by: str, kind: str, **data: Any) -> Self:
        self._now += 1
        self.lines.append({"t": self._now, "at": 1e6 + self._now, "by": by, "kind": kind, **data})
        return self

    def states(self, *versions: int, state: str = "AVAILABLE", on: Sequence[str] = ALL) -> Self:
        for name in on:
            for version in versions:
                told = {"model": MODEL, "version": version, "state": state, "error": ""}
                self.tell(f"server:{name}", "version.state", **told)
        return self

    def config(
        self,
        versions: Sequence[int],
        stable: int | None = None,
        *,
        on: Sequence[str] = ALL,
        foreign: bool = False,
        model: str = MODEL,
    ) -> Self:
        """A config comes into force; ours has a marker."""
        labels = {} if stable is None else {LABEL: stable}
        marker = {} if foreign else {"_cp_0123": versions[0]}
        entry = {"name": model, "versions": list(versions), "labels": {**labels, **marker}}
        for name in on:
            self._reload += 1
            told = {"reload": self._reload, "config": [entry] if versions else []}
            self.tell(f"server:{name}", "reload.began", **told)
            self.tell(f"server:{name}", "config.applied", **told)
        return self

    def answers(self, version: int, on: str = "a") -> Self:
        return self._asked(on, "predict.ok", version=version)

    def fails(self, code: str, on: str = "a") -> Self:
        return self._asked(on, "predict.err", code=code, message="")

    def _asked(self, on: str, kind: str, **data: Any) -> Self:
        told = {"server": on, "model": MODEL, "label": LABEL, "began": self._now + 0.9}
        return self.tell("predictor", kind, **told, **data)

    def event(self, kind: str, data: Mapping[str, Any] | None = None, **about: Any) -> Self:
        """The control plane's journal says something."""
        self._seq += 1
        at = datetime.fromtimestamp(1e6 + self._now + 1, UTC).isoformat()
        told = {"seq": self._seq, "kind": kind, "at": at, "data": data or {}, "reason": ""}
        return self.tell("journal", "journal", event={**told, **about})

    def revision(
        self, versions: Sequence[int], stable: int, kind: str = "promote", op: str = ""
    ) -> Self:
        self._revision += 1
        changes = {MODEL: {"versions": list(versions), "labels": {LABEL: stable}}}
        told = {"kind": kind, "changes": changes}
        return self.event("revision.created", told, revision=self._revision, reason=op)

    def started(self, rollout: str, kind: str = "promote", op: str = "") -> Self:
        about = {"rollout": rollout, "revision": self._revision, "reason": op}
        return self.event("rollout.started", {"kind": kind, "models": [MODEL]}, **about)

    def moves(self, rollout: str) -> Self:
        """The step begins that moves the label."""
        about = {"rollout": rollout, "revision": self._revision}
        return self.event("rollout.step_started", {"step": "promote", "servers": [*ALL]}, **about)

    def ended(self, rollout: str, phase: str = "succeeded", verified: int | None = None) -> Self:
        if verified is not None:
            told = {"label": LABEL, "version": verified}
            self.event("label.verified", told, model=MODEL, rollout=rollout)
        return self.event("rollout.ended", {"phase": phase, "models": [MODEL]}, rollout=rollout)

    def pushed(self, epoch: int, sent_at: float) -> Self:
        return self.event("server.reloaded", {"epoch": epoch, "sent_at": sent_at}, server="a")

    def asks(self, op: str, verb: str = "promote") -> Self:
        return self.tell("client", "api.call", op=op, verb=verb, model=MODEL)

    def gets(self, op: str, verb: str = "promote", rollout: str = "", revision: int = 0) -> Self:
        told = {"op": op, "verb": verb, "model": MODEL, "rollout": rollout, "revision": revision}
        return self.tell("client", "api.ok", **told)

    def refused(self, op: str) -> Self:
        return self.tell("client", "api.refused", op=op, verb="promote", model=MODEL, code="x")

    def hears_nothing(self, op: str) -> Self:
        return self.tell("client", "api.unknown", op=op, verb="promote", model=MODEL, error="x")

    def leads(self, epoch: int, holder: str) -> Self:
        began = self._now + 0.5
        return self.tell("watcher", "leader.read", epoch=epoch, holder=holder, began=began)

    def lists(self, *numbers: int) -> Self:
        told = {"numbers": list(numbers), "through": "r0", "began": self._now + 0.5}
        return self.tell("watcher", "revisions.read", **told)

    def end(self) -> Self:
        return self.tell("runner", "end")


def deployed() -> Story:
    """Version 1 is deployed and verified, 2 is loaded beside it."""
    story = Story().states(1, 2)
    story.revision([1, 2], 1, "deploy").started("r1", "deploy")
    return story.config([1, 2], 1).ended("r1", verified=1)


def promoted() -> Story:
    """And then version 2 is promoted, asked for by an operation named up."""
    story = deployed().asks("up").revision([1, 2], 2, op="up").started("r2", op="up")
    story.gets("up", rollout="r2", revision=2).moves("r2").config([1, 2], 2)
    return story.ended("r2", verified=2)
