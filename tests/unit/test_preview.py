"""A plan says what will be sent: tables, and the preview against the dev server's machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from control_plane.domain.action import Converged, Reload
from control_plane.domain.assigned import Course
from control_plane.domain.assignment import Assignment
from control_plane.domain.fleet import Fleet, Server, ServerFlags
from control_plane.domain.observed import Look
from control_plane.domain.preview import Preview, Stage, preview, stages
from control_plane.domain.revision import Deployment, Kind
from control_plane.domain.rollout import Phase, Rollout
from control_plane.domain.standing import unproven
from control_plane.domain.state import Ability, Able
from control_plane.domain.steps import State, started, steps_for
from control_plane.serving.config import config_text
from tests.unit.simulated_calls import OWNER
from tests.unit.simulation import MODELS, World, path_of

AT = datetime(2026, 1, 1, tzinfo=UTC)
FLEET = Fleet("default", AT, head=1)
Head = Mapping[str, Deployment]


def rollout(kind: Kind, before: State, after: State) -> Rollout:
    fresh = Rollout(
        id="r",
        fleet="default",
        models=tuple(sorted(after)),
        kind=kind,
        from_revision=1,
        to_revision=2,
        phase=Phase.PENDING,
        sentence="",
        steps=steps_for(kind, before, after),
        created_at=AT,
        deadline_at=AT + timedelta(minutes=13),
        actor="ada",
    )
    return started(fresh, ("a",), AT)


def staged(kind: Kind, head: Head, after: State, flags: ServerFlags) -> tuple[Stage, ...]:
    before = {model: head.get(model) for model in after}
    course = Course(
        fleet=FLEET,
        head=head,
        journey=(rollout(kind, before, after), before, after),
        others=(),
        base_paths={name: path_of(name) for name in MODELS},
        servers=("a",),
    )
    server = Server("default", "a", "a:8500", AT, taken_over=True, flags=flags)
    return stages(course.goals(), server, {}, OWNER)


@dataclass
class Recorded(World):
    """A world that does what it is assigned, and remembers what it sent as text proto."""

    assigned: Assignment | None = None
    sent: list[str] = field(default_factory=list)

    def assignment(self) -> Assignment:
        return self.assigned or super().assignment()

    def _push(self, push: Reload) -> None:
        self.sent.append(config_text(push.config, push.marker, OWNER))
        super()._push(push)

    @property
    def flags(self) -> ServerFlags:
        """What somebody told of this server."""
        return ServerFlags(
            allow_version_labels_for_unavailable_models=self.labels_flag,
            num_load_threads=0 if self.inline else 2,
            max_num_load_retries=1,
            load_retry_interval_micros=500_000,
        )

    def converge(self, stage: Stage) -> None:
        """Let it go on until a step is done there; its versions answer when the loop would ask."""
        self.assigned = assigned = stage.assignment
        self.wants = {n: (one.versions, dict(one.labels)) for n, one in assigned.models.items()}
        self.undeployed = assigned.may_empty
        for _ in range(60):
            if isinstance(self.run(1.0).action, Converged):
                break
        else:
            raise AssertionError(self.plan)
        answers: dict[str, dict[int, Able]] = {}
        for name, version in unproven(self.observed, stage.to_prove):
            answers.setdefault(name, {})[version] = Able(Ability.PROVEN)
        self.learn(Look(self.now, able=answers))


def texts(told: Preview) -> list[str]:
    return [config_text(one.config.config, one.config.marker, OWNER) for one in told.reloads]


versions = st.frozensets(st.integers(1, 3), min_size=1)


@st.composite
def deployments(draw: st.DrawFn, model: str, *, labelled: bool) -> Deployment | None:
    if draw(st.integers(0, 3)) == 0:
        return None
    held = draw(versions)
    some = st.sampled_from(sorted(held))
    labels = {"stable": draw(some)} if labelled or draw(st.booleans()) else {}
    if draw(st.booleans()):
        labels["canary"] = draw(some)
    return Deployment(model, held, labels)


def states(*, labelled: bool) -> st.SearchStrategy[State]:
    return st.fixed_dictionaries({name: deployments(name, labelled=labelled) for name in MODELS})


@st.composite
def changes(draw: st.DrawFn) -> tuple[Kind, Head, State]:
    """What a fleet serves, and a change of it that a request may ask for.

    Several models at once move only where labels stand already: on a server without any, the
    versions that load race for the marker.
    """
    kind = draw(st.sampled_from((Kind.PROMOTE, Kind.ROLLBACK, Kind.RESTORE)))
    some = states(labelled=kind is Kind.RESTORE)
    head = {name: one for name, one in draw(some).items() if one is not None}
    after, name = draw(some), draw(st.sampled_from(sorted(head) or ["a"]))
    if kind is Kind.RESTORE and head:
        return kind, head, {n: one for n, one in after.items() if head.get(n) != one}
    if kind is not Kind.ROLLBACK or name not in head:
        return Kind.PROMOTE, head, {name: after[name]} if head.get(name) != after[name] else {}
    labels = {**head[name].labels, "stable": draw(st.integers(1, 3))}
    kept = draw(versions) & head[name].versions
    return kind, head, {name: Deployment(name, kept | frozenset(labels.values()), labels)}


@settings(max_examples=200, deadline=None)
@given(
    past=states(labelled=True),
    change=changes(),
    flag=st.booleans(),
    inline=st.booleans(),
    seed=st.integers(0, 99),
)
def test_an_undisturbed_server_is_sent_what_was_planned_in_order_and_byte_for_byte(
    past: State, change: tuple[Kind, Head, State], flag: bool, inline: bool, seed: int
) -> None:
    """However short a time ago it served something else."""
    world = Recorded(labels_flag=flag, inline=inline, seed=seed)
    kind, head, after = change
    assume(after)
    before = {model: one for model, one in past.items() if one is not None}
    moves = {model: head.get(model) for model in MODELS if head.get(model) != before.get(model)}
    for one in staged(Kind.DEPLOY, {}, before, world.flags) if before else ():
        world.converge(one)
    for one in staged(Kind.RESTORE, before, moves, world.flags) if moves else ():
        world.converge(one)
    ahead = staged(kind, head, after, world.flags)
    told = preview(ahead, world.observed)
    world.sent.clear()
    for one in ahead:
        world.converge(one)
    assert texts(told) == world.sent
    assert told.end == Converged()
