"""Warm-up files made for tests, without TensorFlow."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from control_plane.serving import stubs
from control_plane.serving.tensor import make_tensor
from control_plane.serving.warmup import WARM_UP, Recorded, masked_crc32c

WORDS = (["很", "喜欢"], ["很", "垃圾"], ["一般", "喜欢"])


def sentiment(*words: str) -> Any:
    """A request to the sentiment model about one text."""
    tensors = {
        "words": make_tensor("DT_STRING", [1, len(words)], [one.encode() for one in words]),
        "nwords": make_tensor("DT_INT32", [1], [len(words)]),
    }
    return stubs.PredictRequest(model_spec=stubs.ModelSpec(name="recorded"), inputs=tensors)


def half(x: float) -> Any:
    """A request to half_plus_two."""
    return stubs.PredictRequest(inputs={"x": make_tensor("DT_FLOAT", [1], [x])})


def predicted(request: Any) -> Any:
    return stubs.PredictionLog(predict_log=stubs.PredictLog(request=request))


def record(data: bytes) -> bytes:
    """One record of a TFRecord file."""
    head = len(data).to_bytes(8, "little")
    sums = (masked_crc32c(one).to_bytes(4, "little") for one in (head, data))
    return head + next(sums) + data + next(sums)


def tfrecord(logs: Iterable[Any]) -> bytes:
    return b"".join(record(log.SerializeToString()) for log in logs)


def recorded(requests: Iterable[Any]) -> list[Recorded]:
    return [Recorded(at, one.SerializeToString()) for at, one in enumerate(requests, 1)]


def write_warm_up(version: Path, content: bytes) -> None:
    """Give a version a warm-up file of this content."""
    file = version / WARM_UP
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
