"""`python -m tests.chaos.bugs NAME…`: is a bug noticed by what is there to notice it?

Plants each bug into a copy of the program of its own, runs its detector there, and says whether
that failed in the words that it should. The detectors have to pass on a copy as it is, too.
Without names: all of them.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.planted import ROOT, Bug, command
from tests.chaos.planted_loop import LOOP
from tests.chaos.planted_requests import REQUESTS
from tests.chaos.planted_store import STORE

BUGS = (*STORE, *REQUESTS, *LOOP)
_FOLDERS = ("control_plane", "web", "tests", "migrations", "examples", "docs")
_WRITTEN_NOW = shutil.ignore_patterns("*.pyc.*")  # by others: gone before they are copied
_LONGEST_S = 600.0
_SHOWN = 30  # lines of what a detector said


@dataclass(frozen=True)
class Ran:
    """What a detector came to."""

    passed: bool
    said: str
    took_s: float


@contextmanager
def tree() -> Iterator[Path]:
    """A copy of the program and its tests, to be changed."""
    with tempfile.TemporaryDirectory(prefix="bug-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        for name in _FOLDERS:
            shutil.copytree(ROOT / name, home / name, ignore=_WRITTEN_NOW)
        shutil.copy2(ROOT / "pyproject.toml", home)
        yield home


def ran(detector: str, home: Path) -> Ran:
    """Run a detector in a copy, which is what Python finds first there."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, *command(detector)],
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=_LONGEST_S,
        check=False,
    )
    return Ran(done.returncode == 0, done.stdout, time.monotonic() - began)


def noticed(bug: Bug) -> tuple[bool, str]:
    """Plant a bug; return whether its detector noticed it, and one line about that."""
    with tree() as home:
        bug.planted(home)
        found = ran(bug.detector, home)
    good = not found.passed and re.search(bug.words, found.said) is not None
    line = f"bug={bug.name} caught={'yes' if good else 'NO'} in={found.took_s:.1f}s"
    if good:
        return True, f"{line} by={bug.detector}"
    why = "it passed" if found.passed else f"it failed, and not with /{bug.words}/:"
    tail = [] if found.passed else found.said.splitlines()[-_SHOWN:]
    return False, "\n".join([f"{line} by={bug.detector}: {why}", *tail])


def clean(bugs: Sequence[Bug]) -> list[str]:
    """Return what the detectors say against the program as it is, all tests of them at once."""
    detectors = sorted({one.detector for one in bugs})
    tests = " ".join(one for one in detectors if one.startswith("tests/"))
    others = [one for one in detectors if not one.startswith("tests/")]
    wrong = []
    with tree() as home:
        for one in ([tests] if tests else []) + others:
            found = ran(one, home)
            if not found.passed:
                tail = "\n".join(found.said.splitlines()[-_SHOWN:])
                wrong.append(f"without any bug: {one}\n{tail}")
    return wrong


def listed() -> Iterator[str]:
    """Rows of a table of all of them, as in `docs/chaos.md`."""
    for one in BUGS:
        by = one.detector.partition("::")[0]
        yield f"| `bug-{one.name}` | {one.wrong} | `{one.file}` | `{by}` |"


def main() -> int:
    """Check the bugs that are asked for."""
    named = {one.name: one for one in BUGS}
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.bugs", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="see --list; else all")
    parser.add_argument("--list", action="store_true", help="what there is")
    parser.add_argument("--jobs", type=int, default=2, help="side by side")
    given = parser.parse_args()
    if given.list:
        sys.stdout.writelines(f"{line}\n" for line in listed())
        return 0
    if unknown := sorted(set(given.names) - named.keys()):
        parser.error(f"no such bug: {', '.join(unknown)}; --list says what there is")
    bugs = [named[name] for name in given.names] or list(BUGS)
    count = 0
    with ThreadPoolExecutor(given.jobs) as threads:
        spoiled = threads.submit(clean, bugs)
        for good, line in threads.map(noticed, bugs):
            count += good
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
        wrong = spoiled.result()
    sys.stdout.writelines(f"{one}\n" for one in wrong)
    sys.stdout.write(f"goal=G14 value={count}-of-{len(bugs)}-caught-{len(wrong)}-false\n")
    return int(count < len(bugs) or bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
