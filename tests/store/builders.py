"""Values for store tests."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from control_plane.domain.catalog import Model, Version
from control_plane.domain.events import Event, EventKind
from control_plane.domain.fleet import Server
from control_plane.domain.revision import Deployment, Kind, Revision
from control_plane.domain.rollout import Phase, Rollout, Step, StepName
from control_plane.store import revisions
from control_plane.store.database import Session

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def a_model(name: str = "ranker") -> Model:
    return Model(name, f"/models/{name}", NOON, "ada")


def a_version(number: int = 1, model: str = "ranker", digest: str = "") -> Version:
    return Version(model, number, NOON, "ada", digest=digest)


def a_server(name: str = "a", fleet: str = "default") -> Server:
    return Server(fleet, name, f"{name}.{fleet}:8500", NOON)


def a_deployment(model: str = "ranker", stable: int = 1) -> Deployment:
    return Deployment(model, frozenset({stable}), {"stable": stable})


def an_event(model: str = "ranker", fleet: str = "default") -> Event:
    return Event(EventKind.MODEL_CHANGED, NOON, "ada", fleet=fleet, model=model)


def a_rollout(
    name: str = "r1",
    models: tuple[str, ...] = ("ranker",),
    phase: Phase = Phase.PENDING,
    created: float = 0,
) -> Rollout:
    return Rollout(
        id=name,
        fleet="default",
        models=models,
        kind=Kind.PROMOTE,
        from_revision=1,
        to_revision=2,
        phase=phase,
        sentence="waiting for a",
        steps=(
            Step(StepName.LOAD, Phase.PROGRESSING, ("a", "b"), at(1), None, {"a": {"reached": 1}}),
            Step(StepName.PROMOTE),
        ),
        created_at=at(created),
        deadline_at=at(600),
        actor="ada",
        label="stable",
        laggards=("b",),
    )


async def append(
    s: Session,
    changes: Mapping[str, Deployment | None],
    expected: Mapping[str, int],
    when: datetime = NOON,
    actor: str = "ada",
) -> Revision:
    return await revisions.append(
        s,
        "default",
        kind=Kind.DEPLOY,
        actor=actor,
        reason="because",
        changes=changes,
        expected=expected,
        now=when,
    )
