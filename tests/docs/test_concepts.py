from pathlib import Path

from control_plane.domain.action import Cause

PAGE = Path(__file__).parents[2] / "docs" / "concepts.md"


def test_every_cause_of_being_blocked_is_explained() -> None:
    page = PAGE.read_text()
    assert [cause for cause in Cause if f"`{cause}`" not in page] == []
