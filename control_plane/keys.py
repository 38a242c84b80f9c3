"""Secrets that this program makes: each in a file that its owner alone can read, named once."""

import os
from collections.abc import Callable
from pathlib import Path

import structlog

from control_plane.domain.errors import FieldInvalid
from control_plane.settings import Settings

log = structlog.get_logger()


def write(file: Path, secret: str) -> None:
    """Write a secret to a file; an older one of that name is gone first."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(f"{secret}\n")


def with_shutdown_key(settings: Settings, new_secret: Callable[[], str]) -> Settings:
    """Return the settings with the key of `admin:shutdown` filled in, where that is switched on.

    Raises:
        FieldInvalid: there is no key in its file.
    """
    if settings.shutdown_key:
        return settings
    if settings.shutdown_key_file is not None:
        return settings.model_copy(update={"shutdown_key": _read(settings.shutdown_key_file)})
    if settings.shutdown == "off":
        return settings
    secret = new_secret()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    write(settings.random_key_file, secret)
    log.info("the key for admin:shutdown is in a file", file=str(settings.random_key_file))
    return settings.model_copy(update={"shutdown_key": secret})


def _read(file: Path) -> str:
    try:
        found = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FieldInvalid("shutdown_key_file", f"{file} cannot be read: {error}") from None
    if not found:
        raise FieldInvalid("shutdown_key_file", f"{file} is empty")
    return found
