"""Models and versions: what exists, whoever serves it. Names are checked here once, at the rim."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from control_plane.domain.errors import FieldInvalid
from control_plane.domain.state import MARKER_PREFIX

NAME_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"
MAX_VERSION = 2**63 - 1
_NAME = re.compile(NAME_PATTERN.replace("$", r"\Z"))
_URI = re.compile(r"^[a-z][a-z0-9+.-]*://[^/]")
_FORBIDDEN_IN_PATHS = re.compile(r"[\x00-\x1f\x7f\\]")


def check_name(field_name: str, text: str) -> str:
    """Return the name if it may name a model, label, fleet or server.

    Raises:
        FieldInvalid: it is empty, too long, or holds other characters.
    """
    if not _NAME.match(text):
        hint = "1 to 128 of A-Z a-z 0-9 . _ - and not . or - at the start"
        shown = repr(text) if len(text) <= 128 else f"{text[:20]!r}… of {len(text)} characters"
        raise FieldInvalid(field_name, f"{shown} is not a valid name", hint=hint)
    return text


def check_label(field_name: str, text: str) -> str:
    """Return the label's name; the prefix `_cp_` is reserved for markers.

    Raises:
        FieldInvalid: not a name, or reserved.
    """
    if text.startswith(MARKER_PREFIX):
        raise FieldInvalid(field_name, f"labels that begin with {MARKER_PREFIX} are reserved")
    return check_name(field_name, text)


def check_version(field_name: str, number: int) -> int:
    """Return the version number if TensorFlow Serving could hold it (int64, not negative).

    Raises:
        FieldInvalid: out of range.
    """
    if not 0 <= number <= MAX_VERSION:
        raise FieldInvalid(field_name, f"{number} is not a version", hint="0 ≤ version < 2^63")
    return number


def check_base_path(text: str, field_name: str = "base_path") -> str:
    """Return the base path without trailing slashes: absolute or a URI, nothing that climbs.

    Raises:
        FieldInvalid: relative, holds `..`, backslashes or control characters.
    """
    path = text.rstrip("/")
    if _FORBIDDEN_IN_PATHS.search(text):
        what = "holds a backslash or a control character"
        raise FieldInvalid(field_name, f"{text[:200]!r} {what}", hint="such paths name nothing")
    if not path or not (path.startswith("/") or _URI.match(path)):
        hint = "TensorFlow Serving takes absolute paths and URIs only"
        what = "names no folder" if text.endswith("/") else "is not absolute"
        raise FieldInvalid(field_name, f"{text[:200]!r} {what}", hint=hint)
    if {"..", "."} & set(path.split("/")):
        hint = "'.' and '..' are not allowed in a base path: write where it leads"
        raise FieldInvalid(field_name, f"{text[:200]!r} leads elsewhere than it says", hint=hint)
    return path


@dataclass(frozen=True, slots=True)
class Model:
    """A named model. Its base path is what servers see, and never changes."""

    name: str
    base_path: str
    created_at: datetime
    created_by: str
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    default_strategy: str = ""  # of promotions that name none; "": `direct`
    rv: int = 1  # grows with every change; the ETag


@dataclass(frozen=True, slots=True)
class Version:
    """A registered version: immutable but for its words."""

    model: str
    number: int
    created_at: datetime
    created_by: str
    size_bytes: int = 0
    digest: str = ""  # SHA-256 over the files' SHA-256; "" while pending
    fault: str = ""  # why the artifact cannot be served, if it cannot; "" when complete
    signatures: Mapping[str, Any] = field(default_factory=dict)  # as `domain.signature` writes them
    fingerprint: str = ""
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    source: str = ""
    rv: int = 1
