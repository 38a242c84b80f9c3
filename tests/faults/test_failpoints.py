"""kill -9 once at every failpoint while people promote and roll back: nothing is lost, all goes on.

The whole matrix is `make chaos-kills`.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.chaos.kills import Kill, kills_of, measured, names_for
from tests.faults.processes import Zygote

SEED = 5
PARTS = 4  # so that they may run side by side
REPLICAS = (
    "lease.acquire_committed",
    "lease.renewed",
    "lease.release_committed",
    "fleet.taken_up",
    "intent.committed",
    "push.answered",
    "advance.before_commit",
    "handover.begun",
    "handover.drained",
    "handover.left",
    "handover.released",
    "notice.listening",
    "notice.heard",
)


def once(names: Sequence[str]) -> list[Kill]:
    return [kill for name in names for kill in kills_of(name, 1, SEED)]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
def test_a_kill_at_any_failpoint_loses_nothing(zygote: Zygote, tmp_path: Path, part: int) -> None:
    slow_first = sorted(names_for("sqlite"), key=lambda one: not one.startswith("flush."))
    names = slow_first[part::PARTS]
    result = measured(zygote, "sqlite", [once(names)], 1, tmp_path)
    assert result.wrong == []
    assert result.kills == dict.fromkeys(names, 1)


@pytest.mark.timeout(600)
def test_a_kill_of_one_of_several_replicas_loses_nothing(zygote: Zygote, tmp_path: Path) -> None:
    kills = once(REPLICAS)
    result = measured(zygote, "postgres", [kills[::2], kills[1::2]], 2, tmp_path)
    assert result.wrong == []
    assert result.kills == dict.fromkeys(REPLICAS, 1)
