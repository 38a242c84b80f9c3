"""Static files, as they lie in `web/static`, compressed once and cached by browsers for good."""

import functools
import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

import control_plane
from control_plane.domain.errors import NotFound

WEB: Final = Path(control_plane.__file__).parent.parent / "web"
STATIC: Final = WEB / "static"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FOR_GOOD: Final = "public, max-age=31536000, immutable"
SMALL: Final = 1_000  # below this, compressing saves no packet


@dataclass(frozen=True, slots=True)
class File:
    """A static file, ready to be sent."""

    content: bytes
    compressed: bytes
    kind: str
    mark: str  # begins its SHA-256: another content has another address


def address(name: str) -> str:
    """Return the address of a file in its present state.

    Raises:
        NotFound: there is no such file.
    """
    return f"/static/{name}?v={_file(name).mark}"


def answer(request: Request, name: str) -> Response:
    """Send a file.

    Raises:
        NotFound: there is no such file.
    """
    file = _file(name)
    headers = {"ETag": f'"{file.mark}"', "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if request.query_params.get("v") == file.mark:
        headers["Cache-Control"] = _FOR_GOOD
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    if takes_gzip(request):
        headers["Content-Encoding"] = "gzip"
        return Response(file.compressed, headers=headers, media_type=file.kind)
    return Response(file.content, headers=headers, media_type=file.kind)


def takes_gzip(request: Request) -> bool:
    """Whether the browser unpacks what is compressed."""
    return "gzip" in request.headers.get("accept-encoding", "")


def _file(name: str) -> File:
    path = STATIC / name
    inside = ".." not in path.parts and path.suffix in _TYPES
    if not inside or not path.is_file():
        raise NotFound(f"there is no file {name[:80]}")
    return _read(path, path.stat().st_mtime_ns)


@functools.lru_cache(64)
def _read(path: Path, _changed_at: int) -> File:
    content = path.read_bytes()
    packed = gzip.compress(content, 9, mtime=0)
    mark = hashlib.sha256(content).hexdigest()[:12]
    return File(content, packed, _TYPES[path.suffix], mark)
