"""Dev servers for tests, real processes on free ports of 127.0.0.1."""

import contextlib
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.served import Served, text_of

ZYGOTE = Path(__file__).parent / "zygote.py"
Start = Callable[..., Served]


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


@pytest.fixture
def launch(devserver: str, tmp_path: Path) -> Iterator[Start]:
    """Starts servers that end with the test; `text` is the config file, else made of models."""
    with contextlib.ExitStack() as running:

        def launched(
            *models: Any, text: str | None = None, command: str = devserver, **flags: object
        ) -> Served:
            text = text_of(*models) if text is None else text
            served = Served(command, tmp_path, text, **flags)
            running.callback(served.close)
            return served

        yield launched
