"""Planted bugs can still be planted, still have their detectors, and are all in the docs.

Whether each is noticed is for `make bugs`: it takes minutes.
"""

import ast
import importlib.util
import re
from collections import Counter

import pytest

from tests.chaos.bugs import BUGS, listed, noticed
from tests.chaos.planted import ROOT, Bug

DOCS = ROOT / "docs" / "chaos.md"


def test_there_are_many_and_each_has_a_name_of_its_own() -> None:
    assert len(BUGS) >= 25
    assert [name for name, times in Counter(one.name for one in BUGS).items() if times > 1] == []


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_has_its_place_its_detector_and_its_words(bug: Bug) -> None:
    source = (ROOT / "control_plane" / bug.file).read_text()
    assert source.count(bug.before) == 1
    ast.parse(source.replace(bug.before, bug.after))
    assert bug.after != bug.before
    assert re.compile(bug.words).search("") is None
    if bug.detector.startswith("tests/"):
        file, _, test = bug.detector.partition("::")
        assert re.search(rf"^(async )?def {test}\(", (ROOT / file).read_text(), re.MULTILINE)
    else:
        assert importlib.util.find_spec(bug.detector.split()[0]) is not None


def test_the_docs_list_them_as_they_are() -> None:
    written = [line for line in DOCS.read_text().splitlines() if line.startswith("| `bug-")]
    assert written == list(listed())


def test_what_no_detector_notices_and_what_fails_in_other_words_is_told() -> None:
    told = "tests/unit/test_leasing.py::test_shares_cover_all_fleets_and_no_share_is_one_too_large"
    harmless = Bug("harmless", "", "domain/leasing.py", '"""Leases', '"""The leases', told, "x")
    good, line = noticed(harmless)
    assert not good
    assert "it passed" in line
    other = Bug(
        "other", "", "domain/leasing.py", "-(-fleets //", "(fleets //", told, "no such words"
    )
    good, line = noticed(other)
    assert not good
    assert "it failed, and not with" in line
