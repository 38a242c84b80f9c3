import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from control_plane.domain.errors import ArtifactBroken, ServerUnreachable
from control_plane.domain.gate import Ruling, Tolerance, Verdict
from control_plane.domain.replay import rule
from control_plane.serving import stubs
from control_plane.serving.replay import Asker, Pair, replayed, requests_at, requests_in
from tests.contract.conftest import Start
from tests.contract.recordings import (
    WORDS,
    half,
    predicted,
    record,
    recorded,
    sentiment,
    tfrecord,
    write_warm_up,
)
from tests.contract.served import MODELS, Served, free_port, model

SENTIMENT = Pair("sentiment", 1, 2)
Serve = Callable[[str], Served]


@pytest.fixture
def served(launch: Start, tmp_path: Path) -> Serve:
    """Serves sentiment 1, and as its version 2 another model."""

    def start(second: str) -> Served:
        base = tmp_path / "sentiment"
        shutil.copytree(MODELS / "sentiment" / "1", base / "1")
        shutil.copytree(MODELS / second / "1", base / "2")
        return launch(model(base, 1, 2)).ready()

    return start


async def verdict(server: Served, requests: list[Any], tolerance: Tolerance) -> Verdict:
    async with Asker(f"127.0.0.1:{server.port}") as asker:
        return rule(await replayed(asker, SENTIMENT, recorded(requests), 10.0), tolerance)


async def test_the_same_weights_answer_alike(served: Serve) -> None:
    requests = [sentiment(*words) for words in WORDS] * 20
    found = await verdict(served("sentiment"), requests, Tolerance(max_abs=0.0))
    assert (found.ruling, found.sentence) == (Ruling.PASS, "60 of 60 records are answered alike")
    assert found.evidence["outputs"]["softmax"]["agreement"] == 1.0
    assert found.evidence["latency_ms"]["new"]["p99"] > 0


async def test_perturbed_weights_fail_and_the_worst_record_is_named(served: Serve) -> None:
    requests = [sentiment("很")] * 4 + [
        sentiment("喜欢"),
        sentiment("喜欢", "喜欢"),
        sentiment("很"),
    ]
    found = await verdict(served("perturbed"), requests, Tolerance(max_abs=0.01))
    assert found.ruling is Ruling.FAIL
    assert found.evidence["worst_record"] == 6
    assert found.evidence["outputs"]["softmax"]["max_abs"] == pytest.approx(0.762, abs=0.001)
    assert "softmax differs by max_abs 0.762 (at most 0.01); worst at record 6" in found.sentence
    assert "labels: 5 of 7 elements agree (at least 1)" in found.sentence


async def test_requests_that_no_version_takes_are_told_apart_from_a_broken_version(
    served: Serve,
) -> None:
    server = served("sentiment")
    wrong = await verdict(server, [half(1.0)], Tolerance(max_abs=1, errors=5))
    assert wrong.ruling is Ruling.FAIL
    assert "nothing could be compared, as record 1: INVALID_ARGUMENT" in wrong.sentence
    some = await verdict(server, [half(1.0), sentiment("很")], Tolerance(max_abs=1))
    assert (some.ruling, some.evidence["errors"]["both"]["count"]) == (Ruling.PASS, 1)


async def test_a_version_that_is_not_loaded_fails_every_record(launch: Start) -> None:
    server = launch(model(MODELS / "sentiment", 1)).ready()
    found = await verdict(server, [sentiment("很")] * 3, Tolerance(max_abs=1))
    assert found.ruling is Ruling.FAIL
    assert "3 records failed in the new version alone, as record 1: NOT_FOUND" in found.sentence


async def test_a_server_that_is_gone_proves_nothing() -> None:
    async with Asker(f"127.0.0.1:{free_port()}") as asker:
        with pytest.raises(ServerUnreachable):
            await replayed(asker, SENTIMENT, recorded([sentiment("很")] * 9), 10.0)


def test_requests_are_read_from_a_version(tmp_path: Path) -> None:
    logs = [predicted(half(float(x))) for x in range(5)]
    write_warm_up(tmp_path, tfrecord(logs))
    found = requests_at(str(tmp_path), 3)
    assert [one.number for one in found] == [1, 2, 3]
    assert stubs.PredictRequest.FromString(found[2].request) == half(2.0)
    assert len(requests_at(str(MODELS / "warmed_up" / "1"), 9)) == 1
    assert requests_at(str(MODELS / "sentiment" / "1"), 9) == []


GOOD = tfrecord([predicted(half(1.0))])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"not a TFRecord file at all", "record 1: not a TFRecord file"),
        (GOOD + b"\0" * 40, "record 2: not a TFRecord file"),
        (GOOD[:-1] + b"!", "record 1 has a wrong checksum"),
        (GOOD + GOOD[:-6], "record 2 is cut short"),
        (GOOD + record(b"\xff\xff\xff"), "record 2 is not a PredictionLog"),
        (GOOD + record(b""), "record 2 is empty: predict_log can be replayed"),
        (
            GOOD * 2 + record(stubs.PredictionLog(session_run_log={}).SerializeToString()),
            "record 3 is a session_run_log: predict_log can be replayed",
        ),
    ],
)
def test_a_file_that_cannot_be_replayed_names_the_record(content: bytes, told: str) -> None:
    with pytest.raises(ArtifactBroken) as refused:
        requests_in(content, 1000)
    assert refused.value.message == told
    assert f"record {refused.value.details['record']}" in told
