import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.domain.errors import ControlPlaneError, DeadlineExpired, ServerUnreachable
from control_plane.domain.gate import Metrics, Ruling, Series
from control_plane.domain.series import reading
from control_plane.serving.scrape import MOST_BYTES, asked_verdict, fetch, scrape
from tests.contract.conftest import Start
from tests.contract.pages import Pages, pages
from tests.contract.rested import METRICS, Rested, monitoring
from tests.contract.served import MODELS, free_port, model


@pytest.fixture
def web() -> Iterator[Pages]:
    with pages() as made:
        yield made


@pytest.mark.parametrize("ruling", list(Ruling))
async def test_a_url_may_rule(web: Pages, ruling: Ruling) -> None:
    web.answers["/judge"] = (200, json.dumps({"verdict": ruling, "reason": "so"}).encode())
    verdict = await asked_verdict(f"{web.url}/judge", 5.0, {"rollout": "r1"})
    assert verdict.ruling is ruling
    assert verdict.sentence == f"{web.url}/judge says {ruling}: so"
    assert json.loads(web.sent[0]) == {"rollout": "r1"}


@pytest.mark.parametrize(
    ("status", "content", "told"),
    [
        (500, b'{"verdict": "pass"}', "answers 500"),
        (404, b"", "answers 404"),
        (302, b"/elsewhere", "answers 302"),
        (200, b"<html>", "answers no verdict"),
        (200, b"[]", "answers no verdict"),
        (200, b'{"verdict": "maybe"}', "answers no verdict"),
        (200, b'{"verdict": ["pass"]}', "answers no verdict"),
        (200, b"\xff\xfe\x00", "answers no verdict"),
        (200, b"[" * 100_000, "answers no verdict"),
        (200, b" " * (MOST_BYTES + 1), "answers more than 4 MB"),
        (0, b"", "gave no answer within 0.3 s"),
    ],
)
async def test_what_is_no_verdict_holds(web: Pages, status: int, content: bytes, told: str) -> None:
    web.answers["/judge"] = (status, content)
    web.answers["/elsewhere"] = (200, b'{"verdict": "pass"}')
    verdict = await asked_verdict(f"{web.url}/judge", 5.0 if status else 0.3, {})
    assert verdict.ruling is Ruling.HOLD
    assert told in verdict.sentence


async def test_a_reason_is_made_fit_to_be_kept(web: Pages) -> None:
    web.answers["/judge"] = (200, b'{"verdict": "fail", "reason": "a\\u0000b \\ud800 c"}')
    verdict = await asked_verdict(f"{web.url}/judge", 5.0, {})
    assert verdict.evidence["reason"] == "ab ? c"


async def test_nobody_there_is_told_in_the_same_words_each_time() -> None:
    url = f"http://127.0.0.1:{free_port()}/"
    first, second = [await asked_verdict(url, 5.0, {}) for _ in range(2)]
    assert first == second
    assert first.ruling is Ruling.HOLD


@pytest.mark.parametrize(
    ("path", "error"),
    [("/slow", DeadlineExpired), ("/html", ServerUnreachable), ("/none", ServerUnreachable)],
)
async def test_a_page_without_series_is_no_reading(
    web: Pages, path: str, error: type[ControlPlaneError]
) -> None:
    web.answers |= {"/slow": (0, b""), "/html": (200, b"<p>hello</p>")}
    with pytest.raises(error):
        await scrape(web.url + path, 0.3 if path == "/slow" else 5.0)


async def test_a_url_that_makes_no_sense_is_an_error_of_ours() -> None:
    with pytest.raises(ServerUnreachable):
        await fetch("http://[::1", 1.0)


async def test_a_model_servers_own_series_are_read(launch: Start, tmp_path: Path) -> None:
    half = model(MODELS / "half_plus_two")
    rest = Rested(launch, half, monitoring_config_file=monitoring(tmp_path))
    rest.server.predict("half_plus_two")
    rest.server.predict("half_plus_two")
    rest.server.predict("half_plus_two", {})
    count = ":tensorflow:serving:request_count"
    gate = Metrics(
        "servers",
        Series(count, {"model_name": "{model}", "status": "!OK"}),
        per=Series(count, {"model_name": "{model}"}),
        at_most=0.5,
    )
    found = reading(
        gate, await scrape(f"http://127.0.0.1:{rest.port}{METRICS}", 5.0), ["half_plus_two"]
    )
    assert (found.value, found.per) == (1.0, 3.0)
