"""Every mutant of the planner is caught by a test of its rules."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest

from tests.unit.mutants import MUTANTS, Mutant

ORDER = (
    "questions",
    "quarantine",
    "drift",
    "evidence",
    "model_plan",
    "server_view",
    "admission",
    "planner",
)  # each imports only what stands before it
SUITES = (
    "test_planner_rules",
    "test_planner_rules_waits",
    "test_evidence",
    "test_quarantine",
    "test_drift",
)


def source_of(module: str) -> str:
    return inspect.getsource(sys.modules[f"control_plane.domain.{module}"])


def fresh(name: str, source: str, file: str) -> ModuleType:
    spec = importlib.util.spec_from_loader(name, loader=None)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    exec(compile(source, file, "exec"), module.__dict__)
    return module


@contextmanager
def mutated(mutant: Mutant) -> Iterator[None]:
    """Put the mutant, and what imports it, in the place of the real modules."""
    for module in ORDER:
        __import__(f"control_plane.domain.{module}")
    names = [f"control_plane.domain.{module}" for module in ORDER]
    real = {name: sys.modules[name] for name in names}
    sources = {module: source_of(module) for module in ORDER}
    assert sources[mutant.module].count(mutant.before) == 1, f"stale mutant: {mutant.wrong}"
    sources[mutant.module] = sources[mutant.module].replace(mutant.before, mutant.after)
    try:
        for module, source in sources.items():
            fresh(f"control_plane.domain.{module}", source, f"<{module}, mutated>")
        yield
    finally:
        sys.modules.update(real)


def caught() -> list[str]:
    """The tests of the rules that fail now."""
    failed = []
    for suite in SUITES:
        module = importlib.import_module(f"tests.unit.{suite}")
        for name, test in inspect.getmembers(module, inspect.isfunction):
            if name.startswith("test_"):
                try:
                    test()
                except Exception:
                    failed.append(name)
    return failed


def test_the_real_planner_is_not_caught() -> None:
    assert caught() == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.wrong)
def test_a_wrong_planner_is_caught(mutant: Mutant) -> None:
    with mutated(mutant):
        assert caught() != []
