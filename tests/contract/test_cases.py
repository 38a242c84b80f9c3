"""A slice of `python -m tests.contract.cases`: no request makes a running control plane fail."""

import json
from pathlib import Path

import pytest

from tests.contract.case_making import Request
from tests.contract.cases import play, wrong

CASES = 180  # one of each call and kind of data, nearly


async def test_no_request_makes_the_control_plane_fail(tmp_path: Path) -> None:
    verdict = await play(CASES, 1, tmp_path, each=1)
    assert verdict.failures == []
    assert verdict.sent == CASES
    assert verdict.succeeded >= CASES / 20
    assert {200, 404, 422} <= verdict.statuses.keys()


@pytest.mark.parametrize(
    ("status", "kind", "body", "text"),
    [
        (200, "text/plain", b"", ""),
        (404, "application/problem+json", b'{"code": "not-found"}', ""),
        (503, "application/problem+json", b'{"code": "store-busy"}', ""),
        (503, "application/problem+json", b'{"code": "gone-fishing"}', "503 gone-fishing"),
        (500, "application/problem+json", b'{"code": "internal-server-error"}', "500 internal"),
        (502, "text/html", b"<html>", "502 is no problem document"),
        (400, "text/plain", b"Bad Request", "400 is no problem document"),
        (503, "application/json", b'{"status": "not ready"}', "503 is no problem document"),
    ],
)
def test_an_answer_that_is_wrong_is_told(status: int, kind: str, body: bytes, text: str) -> None:
    assert wrong(status, kind, body).startswith(text)
    assert bool(wrong(status, kind, body)) == bool(text)


def test_who_is_not_ready_says_so_in_a_document_of_its_own() -> None:
    body = json.dumps({"status": "not ready"}).encode()
    assert wrong(503, "application/json", body, "/readyz") == ""


def test_a_request_is_told_as_a_command_that_sends_it_again() -> None:
    one = Request("x", "PUT", "/a%20b?c=d", {"Prefer": "wait=1"}, b"it's\x00")
    assert one.curl("http://h:1") == (
        r"printf '\151\164\047\163\000' | curl -i --path-as-is -X PUT 'http://h:1/a%20b?c=d'"
        r""" -H 'Prefer: wait=1' -H "Authorization: Bearer $TFSCTL_TOKEN" --data-binary @-"""
    )
