"""Files that servers boot from: replaced whole or not at all.

A server may read its file at any moment, and as any user. All of it blocks: call it in a thread.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path

_ASIDE = ".new-"


def keep(path: str, text: str) -> bool:
    """Make sure that a file holds a text; say whether it had to be written.

    The folder that the file's own folder is in has to exist: it may be a mount that is not there.

    Raises:
        OSError: it cannot be read or written.
    """
    file = Path(path)
    with suppress(FileNotFoundError):
        if file.read_bytes() == text.encode():
            return False
    with suppress(FileExistsError):
        file.parent.mkdir()
    _replace(file, text.encode())
    return True


def _replace(file: Path, content: bytes) -> None:
    aside = file.with_name(f"{_ASIDE}{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as out:
            os.fchmod(out.fileno(), 0o644)
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        aside.replace(file)
    finally:
        for left in file.parent.glob(f"{_ASIDE}*"):  # by us, or by one that was killed
            left.unlink(missing_ok=True)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
