"""Texts of the pages in English and Chinese: which language is meant, and what is said in it.

`web/texts/*.toml` hold them side by side: `[group]`, then `name = ["English", "Chinese"]`; a text's
key is `group.name`. `{name}` is filled in; `one || many` is chosen between by the value `n`.
"""

import functools
import tomllib
from collections.abc import Mapping
from typing import Any, Final

from control_plane.web.shelf import WEB

LANGUAGES: Final[Mapping[str, str]] = {"en": "English", "zh": "中文"}  # by code: its own name
_CODES: Final = tuple(LANGUAGES)
_PLURAL: Final = " || "


def chosen(cookie: str, accept: str) -> str:
    """Return the language of the cookie, else the best that an `Accept-Language` asks for."""
    if cookie in LANGUAGES:
        return cookie
    asked = sorted(map(_asked, accept.lower().split(",")), key=lambda one: -one[0])
    return next((tag for _, tag in asked if tag in LANGUAGES), _CODES[0])


def _asked(part: str) -> tuple[float, str]:
    tag, _, quality = part.strip().partition(";q=")
    try:
        weight = float(quality or 1)
    except ValueError:
        weight = 0.0
    return (weight, tag.partition("-")[0]) if weight > 0 else (0.0, "")


@functools.cache
def texts() -> Mapping[str, tuple[str, str]]:
    """Return every text by its key, in the order of `LANGUAGES`."""
    found: dict[str, tuple[str, str]] = {}
    for file in sorted((WEB / "texts").glob("*.toml")):
        for group, named in tomllib.loads(file.read_text("utf-8")).items():
            for name, (english, chinese) in named.items():
                found[f"{group}.{name}"] = (english, chinese)
    return found


class Speech:
    """Says things in one language."""

    def __init__(self, language: str) -> None:
        at = _CODES.index(language)
        self._texts = {key: said[at] for key, said in texts().items()}

    def t(self, key: str, **values: Any) -> str:
        """Return a text with its values filled in."""
        text = self._texts[key]
        if _PLURAL in text:
            one, _, many = text.partition(_PLURAL)
            text = one if values.get("n") == 1 else many
        return text.format_map(values) if values else text


@functools.cache
def speech(language: str) -> Speech:
    """Return who speaks a language."""
    return Speech(language)
