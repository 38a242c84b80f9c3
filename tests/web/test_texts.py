"""Texts: each in both languages, each used, none missing."""

import re
from pathlib import Path
from string import Formatter

import pytest

import control_plane.web
from control_plane.web.language import LANGUAGES, speech, texts
from control_plane.web.shelf import WEB

_SAID = re.compile(r"""\bt\(\s*f?["']([a-z_.]+)(["'{])(\s*~)?""")


def places() -> list[Path]:
    return [*(WEB / "templates").rglob("*.html"), *Path(control_plane.web.__path__[0]).glob("*.py")]


def used() -> tuple[set[str], set[str]]:
    """The keys that templates and code name, and the beginnings of those that they put together."""
    whole: set[str] = set()
    begun: set[str] = set()
    for place in places():
        for key, end, joined in _SAID.findall(place.read_text()):
            (begun if joined or end == "{" else whole).add(key)
    return whole, begun


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_every_text_that_is_used_is_there() -> None:
    whole, begun = used()
    assert whole - texts().keys() == set()
    assert [one for one in begun if not any(key.startswith(one) for key in texts())] == []


def test_every_text_that_is_there_is_used() -> None:
    whole, begun = used()
    lost = [key for key in texts() if key not in whole and not key.startswith(tuple(begun))]
    assert lost == []


@pytest.mark.parametrize("key", texts())
def test_both_languages_say_it_with_the_same_values(key: str) -> None:
    english, chinese = texts()[key]
    assert english.strip()
    assert chinese.strip()
    singular, _, plural = english.partition(" || ")
    assert fields(chinese) | {"n"} == fields(plural or singular) | {"n"}
    assert " || " not in chinese


def test_no_key_is_told_in_two_files() -> None:
    names: list[str] = []
    for file in (WEB / "texts").glob("*.toml"):
        group = ""
        for line in file.read_text().splitlines():
            group = line.strip("[]") if re.fullmatch(r"\[[a-z_]+\]", line) else group
            if found := re.match(r"([a-z_]+) = \[", line):
                names.append(f"{group}.{found[1]}")
    assert len(names) == len(set(names)) == len(texts())


def test_one_and_many_are_told_apart() -> None:
    assert speech("en").t("overview.need", n=1) == "1 thing needs somebody"
    assert speech("en").t("overview.need", n=2) == "2 things need somebody"
    assert speech("zh").t("overview.need", n=1) == "1 项需要处理"
    assert list(LANGUAGES) == ["en", "zh"]
