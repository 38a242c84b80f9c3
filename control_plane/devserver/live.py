"""A machine in real time: one lock around it, and one thread that carries out what is due."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from control_plane.devserver.machine import Machine, News

_T = TypeVar("_T")


class LiveMachine:
    """Lets many threads use one machine, whose clock is the monotonic one."""

    def __init__(self, tell: Callable[[News], None] | None = None) -> None:
        self._tell = tell  # what happens, before anybody gets an answer that depends on it
        lock = threading.Lock()
        self._due_changed = threading.Condition(lock)
        self._moved = threading.Condition(lock)
        self._next: float | None = None
        self._machine: Machine | None = None

    def start(self, make: Callable[[float], Machine]) -> None:
        """Make the machine, and let its time pass."""
        with self._moved:
            self._machine = make(time.monotonic())
        threading.Thread(target=self._run, name="machine", daemon=True).start()

    def act(self, action: Callable[[Machine], _T]) -> _T:
        """Do something with the machine as it is now."""
        with self._moved:
            machine = self._advanced()
            result = action(machine)
            self._told(machine)
            self._moved.notify_all()
            due = machine.due()
            if due is not None and (self._next is None or due < self._next):
                self._due_changed.notify()
            return result

    def wait_until(self, done: Callable[[Machine], bool]) -> None:
        """Wait, for as long as it takes."""
        with self._moved:
            self._moved.wait_for(lambda: done(self._advanced()))

    def poke(self) -> None:
        """Let the machine notice what changed outside of it."""
        self.act(lambda _: None)

    def _advanced(self) -> Machine:
        if self._machine is None:
            raise RuntimeError("the machine was not started")
        self._machine.advance(time.monotonic())
        self._told(self._machine)
        return self._machine

    def _told(self, machine: Machine) -> None:
        while self._tell and machine.news:
            self._tell(machine.news.popleft())

    def _run(self) -> None:
        with self._due_changed:
            while True:
                self._next = self._advanced().due()
                self._moved.notify_all()
                wait_s = None if self._next is None else max(0.0, self._next - time.monotonic())
                self._due_changed.wait(wait_s)
