"""Secrets that this program makes: each in a file that its owner alone can read, named once."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from control_plane.domain.audit import Keys
from control_plane.domain.errors import FieldInvalid
from control_plane.settings import Settings

_SHORTEST: Final = 32  # characters of an audit key
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


def of_audit(settings: Settings, new_secret: Callable[[], str] | None = None) -> Keys:
    """Return the keys of the audit chain; where none is set, one is made once, if one may be.

    Raises:
        FieldInvalid: there is no key in its file, or one is short.
    """
    if settings.audit_key:
        return _long_enough("audit_key", settings.audit_key)
    if settings.audit_key_file is not None:
        return _long_enough("audit_key_file", _read(settings.audit_key_file, "audit_key_file"))
    file = settings.random_audit_key_file
    if new_secret is not None and not file.exists():
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        _write_once(file, new_secret())
        log.info("the key of the audit chain is in a file", file=str(file))
    return _long_enough("audit_key_file", _read(file, "audit_key_file"))


def _long_enough(field: str, text: str) -> Keys:
    lines = text.split()
    if any(len(one) < _SHORTEST for one in lines):
        raise FieldInvalid(field, f"a key has at least {_SHORTEST} characters, without spaces")
    return Keys(*lines)


def _write_once(file: Path, secret: str) -> None:
    """Write a secret to a file whole, unless another process has written one."""
    aside = file.with_suffix(f".{os.getpid()}")
    write(aside, secret)
    with suppress(FileExistsError):
        os.link(aside, file)
    aside.unlink()


def _read(file: Path, field: str = "shutdown_key_file") -> str:
    try:
        found = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FieldInvalid(field, f"{file} cannot be read: {error}") from None
    if not found:
        raise FieldInvalid(field, f"{file} is empty")
    return found
