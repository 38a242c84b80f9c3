"""A machine whose time is moved by hand, for tests."""

import random
from collections.abc import Callable

import pytest

from control_plane.devserver.config import Entry, Flags, Specific
from control_plane.devserver.disk import MemoryDisk
from control_plane.devserver.machine import Call, Config, Machine
from control_plane.devserver.refusal import Refusal

ONE_TRY = Flags(max_num_load_retries=0)
WITH_FLAG = Flags(max_num_load_retries=0, allow_version_labels_for_unavailable_models=True)
TWO_TRIES = Flags(max_num_load_retries=1, load_retry_interval_micros=8_000_000)
UNAVAILABLE_2 = (
    "FAILED_PRECONDITION",
    (
        "Request to assign label to version 2 of model m, "
        "which is not currently available for inference"
    ),
)
OK = ("OK", "")
BARE = "neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform"
BROKEN = (
    "1 model(s) did not become available: {{{name: bad version: 1} due to error: DATA_LOSS: no}, }"
)


def entry(name: str = "m", *versions: int, **labels: int) -> Entry:
    return Entry(name, f"/{name}", policy=Specific(versions), labels=labels)


def disk() -> MemoryDisk:
    """m with versions 1 to 3, other with 1, bad with a corrupt 1, slow with 1 that takes long."""
    made = MemoryDisk()
    made.put("/m", 1, 2, 3)
    made.put("/other", 1, 2)
    made.put("/slow", 1, seconds=8)
    made.corrupt("/bad", 1, error="no")
    return made


class Lab:
    """A machine whose time is moved by hand."""

    def __init__(
        self,
        *config: Entry,
        flags: Flags = ONE_TRY,
        storage: MemoryDisk | None = None,
        chooser: random.Random | None = None,
        file: Callable[[], Config | None] | None = None,
    ) -> None:
        self.disk = storage or disk()
        self.machine = Machine(flags, self.disk, list(config), chooser=chooser, config_file=file)

    def ready(self) -> "Lab":
        self.until(lambda: self.machine.ready)
        return self

    def run(self, seconds: float) -> None:
        self.machine.advance(self.machine.now + seconds)

    def until(self, reached: Callable[[], bool], within_s: float = 30) -> None:
        deadline = self.machine.now + within_s
        while not reached():
            due = self.machine.due()
            assert due is not None, "nothing will ever happen again"
            assert due <= deadline, f"not within {within_s} s"
            self.machine.advance(due)

    def course(self, read: Callable[[], object], last: object) -> list[object]:
        """Everything that was read until the last, without repetitions."""
        seen = [read()]

        def reached() -> bool:
            seen.extend([now] if (now := read()) != seen[-1] else [])
            return seen[-1] == last

        self.until(reached)
        return seen

    def push(self, *config: Entry) -> Call:
        return self.machine.reload(list(config))

    def pushed(self, *config: Entry) -> tuple[str, str]:
        call = self.push(*config)
        self.until(lambda: call.answer is not None)
        assert call.answer
        return call.answer

    def states(self, name: str = "m") -> dict[int, str]:
        try:
            return {v: one.state.name for v, one in self.machine.status(name).items()}
        except Refusal:
            return {}

    def error(self, name: str, version: int) -> tuple[int, str]:
        status = self.machine.status(name)[version]
        return status.error_code, status.error


def lab(*config: Entry, flags: Flags = ONE_TRY, storage: MemoryDisk | None = None) -> Lab:
    return Lab(*config, flags=flags, storage=storage).ready()


def serving_m(*versions: int, flags: Flags = ONE_TRY) -> Lab:
    made = lab(entry("m", *versions), flags=flags)
    made.until(lambda: made.states() == dict.fromkeys(reversed(versions), "AVAILABLE"))
    return made


def refusal_of(act: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(Refusal) as caught:
        act()
    return caught.value.code.name, caught.value.message
