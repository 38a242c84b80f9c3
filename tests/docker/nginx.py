"""Reads nginx's configuration: directives with their words, and those inside them."""

import re
from dataclasses import dataclass, field
from pathlib import Path

_TOKEN = re.compile(r"""#.*|'[^']*'|"[^"]*"|[{};]|[^\s;{}'"]+""")


@dataclass
class Directive:
    words: list[str]
    inside: list["Directive"] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.words[0]

    def all(self, name: str) -> list["Directive"]:
        """The directives of a name directly inside."""
        return [one for one in self.inside if one.name == name]

    def one(self, *begin: str) -> "Directive":
        """The only directive inside that begins so."""
        (found,) = (one for one in self.inside if one.words[: len(begin)] == list(begin))
        return found

    def value(self, *begin: str) -> str:
        """What follows the beginning of the only directive that has it."""
        return " ".join(self.one(*begin).words[len(begin) :])


def read(file: Path) -> Directive:
    """A file's directives, inside one without a name."""
    tokens = [one for one in _TOKEN.findall(file.read_text()) if not one.startswith("#")]
    top = Directive([str(file)])
    open_ones, words = [top], list[str]()
    for token in tokens:
        match token:
            case ";":
                open_ones[-1].inside.append(Directive(words))
                words = []
            case "{":
                block = Directive(words)
                open_ones[-1].inside.append(block)
                open_ones.append(block)
                words = []
            case "}":
                assert not words, f"{file}: {words} without an end"
                open_ones.pop()
            case _:
                words.append(token.strip("'\""))
    assert open_ones == [top], f"{file}: a block is left open"
    return top


def seconds(text: str) -> float:
    """A time such as `310s` or `1m`."""
    return float(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


def size_bytes(text: str) -> int:
    """A size such as `32m`."""
    return int(text[:-1]) << {"k": 10, "m": 20, "g": 30}[text[-1]]
