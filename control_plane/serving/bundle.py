"""The index of a SavedModel's variables: which shards it has, and how long each must be.

`variables.index` is a sorted table as LevelDB writes it: data blocks, an index block that points at
them, and a footer of 48 bytes that points at the index block and ends in a magic number.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from control_plane.serving import stubs

_FOOTER = 48
_MAGIC = bytes.fromhex("57fb808b247547db")
_HEADER_KEY = b""
_UNCOMPRESSED = 0


class BadIndex(ValueError):
    """The index cannot be read: cut short, or no index at all."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What the index demands of the data files beside it."""

    lengths: tuple[int, ...]  # per shard, the bytes that its entries reach to

    def shard_names(self) -> Iterator[tuple[str, int]]:
        """Yield each data file's name, relative to the index, and its least length."""
        count = len(self.lengths)
        for shard, length in enumerate(self.lengths):
            yield f"variables.data-{shard:05d}-of-{count:05d}", length


def read_index(content: bytes) -> Bundle:
    """Read a `variables.index`.

    Raises:
        BadIndex: it is no such file, or not all of it.
    """
    try:
        return _bundle(content)
    except (IndexError, DecodeError) as error:
        raise BadIndex(f"not readable: {error}") from None


def _bundle(content: bytes) -> Bundle:
    if len(content) < _FOOTER or content[-len(_MAGIC) :] != _MAGIC:
        raise BadIndex("cut short, or not an index")
    handles = _Varints(content[-_FOOTER:])
    handles.take(2)  # the metaindex block, always empty
    lengths: list[int] = []
    for _, handle in _entries(content, *handles.take(2)):
        for key, value in _entries(content, *_Varints(handle).take(2)):
            if key == _HEADER_KEY:
                lengths = [0] * stubs.BundleHeaderProto.FromString(value).num_shards
                continue
            entry = stubs.BundleEntryProto.FromString(value)
            end = entry.offset + entry.size
            lengths[entry.shard_id] = max(lengths[entry.shard_id], end)
    if not lengths:
        raise BadIndex("it names no shard")
    return Bundle(tuple(lengths))


def _entries(content: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield a block's keys and values; a key is stored as what differs from the one before."""
    block = content[offset : offset + size]
    if len(block) < size or content[offset + size] != _UNCOMPRESSED:
        raise BadIndex("a block is cut short or compressed")
    restarts = int.from_bytes(block[-4:], "little")
    reader, end, key = _Varints(block), size - 4 * (restarts + 1), b""
    while reader.at < end:
        shared, fresh, length = reader.take(3)
        key = key[:shared] + reader.bytes(fresh)
        yield key, reader.bytes(length)


class _Varints:
    """A cursor over variable-length numbers and what stands between them."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.at = 0

    def take(self, count: int) -> list[int]:
        return [self._next() for _ in range(count)]

    def bytes(self, length: int) -> bytes:
        self.at += length
        return self._content[self.at - length : self.at]

    def _next(self) -> int:
        value = shift = 0
        while True:
            byte = self._content[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
