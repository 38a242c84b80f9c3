"""`python -m bench [--rows a,b,…]`: one table, each row a ratio that was measured in one run."""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path

import uvloop

from bench import imports, planning, promote, replay, resolve, rollback, sweep
from bench.table import Row, render

Measure = Callable[[Path], Coroutine[None, None, list[Row]]]
ROWS: Mapping[str, Measure] = {
    "a": imports.measure,
    "b": resolve.measure,
    "c": promote.measure,
    "de": sweep.measure,
    "p": planning.measure,
    "r": replay.measure,
    "w": rollback.measure,
}


def main() -> int:
    """Measure and print; fail if a target was missed."""
    wanted = _wanted()
    rows: list[Row] = []
    for keys, measure in ROWS.items():
        if wanted & set(keys):
            sys.stderr.write(f"measuring {', '.join(sorted(wanted & set(keys)))}\n")
            rows += _measured(measure)
    print(render([row for row in rows if row.key in wanted]))
    return int(any(row.met is False for row in rows))


def _measured(measure: Measure) -> list[Row]:
    """Measure in a folder of its own; it stays, with the logs in it, when that fails."""
    home = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        rows = uvloop.run(measure(home))
    except BaseException:
        sys.stderr.write(f"the logs are in {home}\n")
        raise
    shutil.rmtree(home)
    return rows


def _wanted() -> set[str]:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rows", default="a,b,c,d,e,p,r,w", help="which, separated by commas")
    return set(parser.parse_args().rows.split(","))


if __name__ == "__main__":
    sys.exit(main())
