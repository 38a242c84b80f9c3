"""Dev servers for tests, real processes on free ports of 127.0.0.1."""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ZYGOTE = Path(__file__).parent / "zygote.py"


@pytest.fixture(scope="session")
def devserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The command that starts a dev server at once, because TensorFlow is imported once only."""
    address = tmp_path_factory.mktemp("zygote") / "socket"
    command = [sys.executable, str(ZYGOTE), str(address)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as zygote:
        while not address.exists():
            assert zygote.poll() is None, "no zygote"
        yield shlex.join([sys.executable, "-I", "-S", str(ZYGOTE), str(address)])
        zygote.terminate()
