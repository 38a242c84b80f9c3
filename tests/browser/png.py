"""Packs pictures of pages tighter: lines of text repeat, which the filters of a PNG hide."""

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Final

_HEAD: Final = b"\x89PNG\r\n\x1a\n"
_RGB: Final = (8, 2, 0, 0, 0)  # depth, colour type, compression, filter method, not interlaced
_STEP: Final = 3  # bytes of a pixel
Guess = Callable[[int, int, int], int]  # from the bytes to the left, above, and above that one


def tighter(png: bytes) -> bytes:
    """Return the same picture without filters; one that is not plain RGB is left as it is."""
    parts = list(_parts(png))
    width, height, *kind = struct.unpack(">IIBBBBB", parts[0][1])
    if tuple(kind) != _RGB:
        return png
    filtered = zlib.decompress(b"".join(data for name, data in parts if name == b"IDAT"))
    rows = _rows(filtered, width * _STEP, height)
    packed = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    return _HEAD + b"".join(map(_part, (b"IHDR", b"IDAT", b"IEND"), (parts[0][1], packed, b"")))


def _parts(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_HEAD)
    while at < len(png):
        (size,) = struct.unpack_from(">I", png, at)
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        at += 12 + size


def _part(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _rows(filtered: bytes, size: int, height: int) -> Iterator[bytearray]:
    above = bytearray(size)
    for start in range(0, height * (size + 1), size + 1):
        guess, row = _GUESSES[filtered[start]], bytearray(_STEP)  # the left of the first pixel
        beyond = bytearray(_STEP) + above
        for at, byte in enumerate(filtered[start + 1 : start + 1 + size]):
            row.append((byte + guess(row[at], above[at], beyond[at])) & 0xFF)
        above = row[_STEP:]
        yield above


def _nearest(left: int, up: int, corner: int) -> int:
    """Return the one of them that is nearest to left + up - corner."""
    goal = left + up - corner
    return min((left, up, corner), key=lambda one: abs(goal - one))


_GUESSES: Final[tuple[Guess, ...]] = (
    lambda _left, _up, _corner: 0,
    lambda left, _up, _corner: left,
    lambda _left, up, _corner: up,
    lambda left, up, _corner: (left + up) // 2,
    _nearest,
)
