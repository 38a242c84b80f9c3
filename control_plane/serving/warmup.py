"""Warm-up records: recorded requests that a version brings along, read without TensorFlow.

`assets.extra/tf_serving_warmup_requests` is a TFRecord file of PredictionLog. A record is its
length (8 bytes), the masked CRC-32C of those bytes (4), the data, and the masked CRC-32C of the
data (4), all little-endian.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from control_plane.domain.errors import ArtifactBroken
from control_plane.serving import storage, stubs

WARM_UP = "assets.extra/tf_serving_warmup_requests"
_POLYNOMIAL = 0x82F63B78
_MASK_DELTA = 0xA282EAD8
_HEAD, _TAIL = 12, 4


def _crc_table() -> tuple[int, ...]:
    table = list(range(256))
    for _ in range(8):
        table = [entry >> 1 ^ (_POLYNOMIAL if entry & 1 else 0) for entry in table]
    return tuple(table)


_TABLE = _crc_table()


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded prediction; its model and version are whatever they were at the recording."""

    number: int  # of the record in its file, from 1
    request: bytes  # a serialized PredictRequest


def warm_up_requests(path: str, most: int) -> list[Recorded]:
    """Return up to `most` predictions recorded with the version at `path`; none if it has no file.

    Records of other kinds are passed over. A file without such is as good as none.

    Raises:
        ArtifactBroken: it is not a TFRecord file of PredictionLog; the message names the record.
        ArtifactMissing: it cannot be seen.
    """
    with storage.seen(path):
        if WARM_UP not in storage.tree(path):
            return []
        content = storage.read(path, WARM_UP)
    found: list[Recorded] = []
    for number, data in enumerate(records(content), start=1):
        if len(found) == most:
            break
        log = _log(number, data)
        if log.HasField("predict_log"):
            found.append(Recorded(number, log.predict_log.request.SerializeToString()))
    return found


def records(content: bytes) -> Iterator[bytes]:
    """Yield the records of a TFRecord file.

    Raises:
        ArtifactBroken: cut short, or a checksum is wrong; the message names the record.
    """
    at, number = 0, 0
    while at < len(content):
        number += 1
        length = int.from_bytes(content[at : at + 8], "little")
        end = at + _HEAD + length
        if len(content) - at < _HEAD or not _checked(content, at, 8):
            raise ArtifactBroken(f"record {number}: not a TFRecord file", record=number)
        if len(content) < end + _TAIL:
            raise ArtifactBroken(f"record {number} is cut short", record=number)
        if not _checked(content, at + _HEAD, length):
            raise ArtifactBroken(f"record {number} has a wrong checksum", record=number)
        yield content[at + _HEAD : end]
        at = end + _TAIL


def masked_crc32c(data: bytes) -> int:
    """Return the checksum as TFRecord files store it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _checked(content: bytes, at: int, length: int) -> bool:
    stored = int.from_bytes(content[at + length : at + length + 4], "little")
    return stored == masked_crc32c(content[at : at + length])


def _log(number: int, data: bytes) -> Any:
    try:
        return stubs.PredictionLog.FromString(data)
    except DecodeError:
        text = f"record {number} is not a PredictionLog"
        raise ArtifactBroken(text, record=number) from None
