"""One simulated run: storms and quiet spells until its time is over, and what was broken."""

import asyncio
import logging
import random
import re
from collections import Counter
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from control_plane.domain.revision import Kind
from control_plane.services.history import event_json
from control_plane.services.rollouts import Verb
from control_plane.store import journal
from tests.chaos.checker import check
from tests.chaos.desired import Desired, desired
from tests.chaos.history import Record, events
from tests.chaos.violation import Violation
from tests.simulation.database import EPOCH, SimulatedDatabase
from tests.simulation.ground import LABEL, MODELS, Ground, Setup
from tests.simulation.nemeses import Nemesis
from tests.simulation.operators import Operator
from tests.simulation.virtual import BEGIN, Node, VirtualLoop
from tests.simulation.watchers import Callers, Person, latest_deadline, unsettled

AT_A_TIME, OPERATORS = 2, 2
LOOK_S, HELP_S = 1.0, 30.0
PATIENCE_S = 600.0  # with a fleet that nobody hurts
LATEST_S = 10.0  # a try that nobody waits for any more has its effect by then, or never
LATE_S = 10.0  # a rollout may end so long after its deadline
IN_FLIGHT_S = 6.0
STORMS_S, SPELLS_S = (20.0, 180.0), (5.0, 300.0)
_ALL = 1_000_000
_LEFT_OUT = re.compile("leaves out (?P<model>[a-z]+), which serves")
_UNLABELLED = re.compile("leaves (?P<label>[a-z]+) of (?P<model>[a-z]+) without a version")


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run went."""

    hours: float
    broken: tuple[str, ...]
    digest: str
    counts: Counter[str]
    slowest_s: float  # the longest that a fleet took to be as it should, after the last fault
    history: Sequence[Record]


def play(setup: Setup, home: Path) -> Verdict:
    """Run one seed; two runs of it have the same history."""
    loop = VirtualLoop()  # type: ignore[abstract]  # nobody asks for what it has not
    errors: list[str] = []
    _listen_to_errors(errors)
    asyncio.set_event_loop(loop)
    try:
        run: _Run = loop.run_until_complete(_begun(setup, home, loop))
        return run.verdict(errors + loop.failures)
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def _begun(setup: Setup, home: Path, loop: VirtualLoop) -> "_Run":
    run = _Run(Ground(setup, home, loop))
    await run.carry_out()
    return run


class _Run:
    """From the first process to the last line of the history."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self._chance = random.Random(f"{ground.setup.seed} weather")
        self._person = Person(ground)
        self._stopped = asyncio.Event()
        self._storms = 0
        self._slowest_s = 0.0

    async def carry_out(self) -> None:
        ground = self.ground
        names = {name: f"server:{name}" for name in ground.hosts}
        ground.pen.write("runner", "run", servers=names, flagged=ground.flagged())
        await ground.begin()
        callers = asyncio.create_task(Callers(ground, self._stopped.is_set).run())
        first = Operator(ground, 99, self._stopped.is_set)
        for model in MODELS:
            await first.deploy(model, 1)
        await self._settled()
        while ground.loop.time() < BEGIN + ground.setup.hours * 3600 and not ground.broken:
            await self._storm()
            await self._settled()
            await asyncio.sleep(self._chance.uniform(*SPELLS_S) * self._chance.random())
            await self._still_settled()
        self._stopped.set()
        await callers
        await self._write_journal()
        for one in ground.replicas:
            await one.end()
        ground.store.close()

    async def _storm(self) -> None:
        """Let everything go wrong for a while; at the end nothing is wrong any more."""
        self._storms += 1
        ends_at = self.ground.loop.time() + self._chance.uniform(*STORMS_S)

        def over() -> bool:
            return self.ground.loop.time() > ends_at

        self.ground.storms, taken = True, set[str]()
        async with asyncio.TaskGroup() as actors:
            for number in range(AT_A_TIME):
                name = self._storms * 10 + number
                actors.create_task(Nemesis(self.ground, name, taken, over).run())
            for number in range(OPERATORS):
                name = self._storms * 10 + number
                actors.create_task(Operator(self.ground, name, over).run())

    async def _settled(self) -> None:
        """Wait until every rollout is over and every server as it should be."""
        await asyncio.sleep(LATEST_S)
        ground, began = self.ground, self.ground.loop.time()
        first = Operator(ground, 98, self._stopped.is_set)
        for rollout in ground.live():
            await first.steer(rollout, Verb.RESUME)
        ends_at = max(latest_deadline(ground), began) + LATE_S
        helped_at = began
        while found := next(unsettled(ground), ""):
            now = ground.loop.time()
            if ground.live() and now > ends_at:
                self._break(f"L1: {now - began:.0f} s after the last fault: {found}")
                return
            if not ground.live() and now > max(began, ends_at - LATE_S) + PATIENCE_S:
                self._break(f"L2: {now - began:.0f} s after the last fault: {found}")
                return
            if now > helped_at + HELP_S:
                helped_at = now
                await self._person.help()
            await asyncio.sleep(LOOK_S)
        ground.storms = False
        self._slowest_s = max(self._slowest_s, ground.loop.time() - began)
        ground.pen.write("runner", "settled", took_s=ground.loop.time() - began)

    async def _still_settled(self) -> None:
        """A fleet that nobody touches stays as it is."""
        if (found := next(unsettled(self.ground), "")) and not self.ground.broken:
            self._break(f"L2: left alone, {found}")

    def _break(self, what: str) -> None:
        ground = self.ground
        leader = ground.leader()
        views = leader.loop.view("default") if leader is not None and leader.loop else {}
        told = "; ".join(f"{name}: {one.sentence}" for name, one in views.items())
        ground.broken.append(f"{what} ({told or 'nobody leads'})")

    async def _write_journal(self) -> None:
        node = Node(self.ground.loop, "reader")
        db = SimulatedDatabase(self.ground.store, node)
        async with db.read() as s:
            for one in await journal.events(s, 0, _ALL):
                told = {"reason": "", "data": {}, **event_json(one)}
                self.ground.pen.write("journal", "journal", event=told)
        self.ground.pen.write("runner", "end")
        db.cut()

    def verdict(self, errors: Sequence[str]) -> Verdict:
        """Prove everything that the history can prove."""
        history = self.ground.pen.history()
        wanted, spare = desired(history), self.ground.setup.spare

        found = [str(one) for one in check(history) if not _excused(one, wanted)]
        return Verdict(
            hours=(self.ground.loop.time() - BEGIN) / 3600,
            broken=(*errors, *self.ground.broken, *found, *_left_behind(history, spare)),
            digest=self.ground.pen.digest(self.ground.home),
            counts=_counts(history, self._storms),
            slowest_s=self._slowest_s,
            history=history,
        )


def _excused(one: Violation, wanted: Desired) -> bool:
    """Whether a model went that is not deployed any more, or a label that was there to try."""
    if found := _UNLABELLED.search(one.text):
        if found["label"] != LABEL:
            return True
    elif not (found := _LEFT_OUT.search(one.text)):
        return False
    at = EPOCH.timestamp() + one.t
    ends = [when for when, _ in wanted.labels[1:]] + [float("inf")]
    line = zip(wanted.labels, ends, strict=True)
    states = [labels for (begin, labels), end in line if begin <= at <= end + IN_FLIGHT_S]
    return any((found["model"], LABEL) not in labels for labels in states)


def _left_behind(history: Sequence[Record], spare: int) -> Iterator[str]:
    """What moves forward goes on without no more servers than the fleet can spare."""
    kinds: dict[str, str] = {}
    for one in events(history):
        if one["kind"] == "rollout.started":
            kinds[one["rollout"]] = one["data"]["kind"]
        elif one["kind"] == "rollout.ended" and kinds[one["rollout"]] != Kind.ROLLBACK:
            without = one["data"]["laggards"]
            if len(without) > spare:
                yield f"S13: rollout {one['rollout']} went on without {without}"


def _counts(history: Sequence[Record], storms: int) -> Counter[str]:
    counts = Counter(str(one["kind"]) for one in history)
    told = [one["event"] for one in history if one["kind"] == "journal"]
    counts["rollouts"] = sum(one["kind"] == "rollout.started" for one in told)
    counts["storms"] = storms
    return counts


def _listen_to_errors(errors: list[str]) -> None:
    """Take what the program itself calls an error for one."""

    def heard(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
        errors.append(str(structlog.processors.format_exc_info(None, "", event)))
        raise structlog.DropEvent

    level = structlog.make_filtering_bound_logger(logging.ERROR)
    structlog.configure(processors=[heard], wrapper_class=level, cache_logger_on_first_use=False)
    logging.getLogger("control_plane.devserver").setLevel(logging.CRITICAL + 1)
