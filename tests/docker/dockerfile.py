"""Reads what the Dockerfile says: its stages, what each copies, and the final environment."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"


@dataclass(frozen=True)
class Copy:
    sources: tuple[str, ...]
    target: str
    stage: str  # "" for the build context


@dataclass(frozen=True)
class Stage:
    name: str
    copies: tuple[Copy, ...]
    environment: dict[str, str]
    user: str


def stages() -> list[Stage]:
    """The stages in order; the last is the image."""
    text = re.sub(r"^#.*\n", "", (DOCKER / "Dockerfile").read_text(), flags=re.MULTILINE)
    blocks = re.split(r"^FROM ", text.replace("\\\n", " "), flags=re.MULTILINE)
    return [_stage(block) for block in blocks[1:]]


def _stage(block: str) -> Stage:
    lines = block.splitlines()
    _, _, name = lines[0].partition(" AS ")
    copies = tuple(_copy(line) for line in lines if line.startswith("COPY "))
    pairs = [shlex.split(line)[1:] for line in lines if line.startswith("ENV ")]
    environment = dict(pair.split("=", 1) for words in pairs for pair in words)
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    return Stage(name, copies, environment, users[-1] if users else "")


def _copy(line: str) -> Copy:
    words = shlex.split(line)[1:]
    flags = [word for word in words if word.startswith("--")]
    *sources, target = [word for word in words if word not in flags]
    stage = next((flag.split("=")[1] for flag in flags if flag.startswith("--from=")), "")
    return Copy(tuple(sources), target, stage)
