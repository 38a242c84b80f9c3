"""Warm-up records read without TensorFlow."""

import shutil
from pathlib import Path

import pytest

from control_plane.domain.errors import ArtifactBroken
from control_plane.serving import stubs
from control_plane.serving.tensor import values_of
from control_plane.serving.warmup import WARM_UP, masked_crc32c, records, warm_up_requests

MODELS = Path(__file__).parents[1] / "models"


def record(data: bytes) -> bytes:
    length = len(data).to_bytes(8, "little")
    sums = [masked_crc32c(part).to_bytes(4, "little") for part in (length, data)]
    return length + sums[0] + data + sums[1]


def log(kind: str) -> bytes:
    message = stubs.PredictionLog()
    getattr(message, kind).SetInParent()
    return record(message.SerializeToString())


@pytest.fixture
def version(tmp_path: Path) -> Path:
    return Path(shutil.copytree(MODELS / "warmed_up/1", tmp_path / "1"))


def test_the_recorded_request_is_found() -> None:
    (found,) = warm_up_requests(str(MODELS / "warmed_up/1"), most=10)
    request = stubs.PredictRequest.FromString(found.request)
    assert found.number == 1
    assert values_of(request.inputs["x"]) == [1.0, 2.0]


def test_a_version_without_records_has_none() -> None:
    assert warm_up_requests(str(MODELS / "half_plus_two/1"), most=10) == []


def test_reading_stops_at_the_number_that_was_asked_for(version: Path) -> None:
    one = (version / WARM_UP).read_bytes()
    (version / WARM_UP).write_bytes(one * 5)
    assert [found.number for found in warm_up_requests(str(version), most=2)] == [1, 2]


def test_records_of_other_kinds_are_passed_over(version: Path) -> None:
    one = (version / WARM_UP).read_bytes()
    (version / WARM_UP).write_bytes(log("classify_log") + record(b"") + one)
    assert [found.number for found in warm_up_requests(str(version), most=2)] == [3]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"this is no TFRecord file at all", "record 1: not a TFRecord file"),
        (b"short", "record 1: not a TFRecord file"),
        (record(b"") + record(b"abc")[:-1], "record 2 is cut short"),
        (record(b"") + record(b"abc")[:-1] + b"\x00", "record 2 has a wrong checksum"),
        (record(b"") + record(b"\xff\xff"), "record 2 is not a PredictionLog"),
    ],
)
def test_a_bad_file_names_the_record(version: Path, content: bytes, text: str) -> None:
    (version / WARM_UP).write_bytes(content)
    with pytest.raises(ArtifactBroken, match=text):
        warm_up_requests(str(version), most=10)


def test_an_empty_file_has_no_records() -> None:
    assert list(records(b"")) == []
