"""Reads request sets: TFRecord files of PredictionLog, or JSON, one request per line.

A TFRecord file begins with a length of eight bytes, of which some are zero; JSON never has one.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from control_plane.domain.errors import ArtifactBroken, PredictionRefused
from control_plane.domain.request_set import MOST_BYTES, MOST_RECORDS, Form
from control_plane.domain.signature import Signatures
from control_plane.serving import wire
from control_plane.serving.replay import requests_in
from control_plane.serving.warmup import Recorded

_BODIES: Final = ("instances", "inputs")


def form_of(content: bytes) -> Form:
    """Tell how a set is written by its first bytes."""
    return Form.TFRECORD if b"\0" in content[:8] else Form.JSON


def checked(content: bytes, known: Sequence[Signatures]) -> tuple[Form, int]:
    """Return the form of a set and how many requests it holds, all of which can be replayed.

    Args:
        content: the set.
        known: the signatures of the model's versions; a JSON request has to fit those of one.

    Raises:
        ArtifactBroken: too large, empty, or a record is no request; `record` says which.
    """
    if len(content) > MOST_BYTES:
        raise ArtifactBroken(f"{len(content)} bytes are more than a set may have: {MOST_BYTES}")
    form = form_of(content)
    if form is Form.TFRECORD:
        count = len(requests_in(content, MOST_RECORDS + 1))
    else:
        count = sum(_checked(number, body, known) for number, body in _bodies(content))
    if count > MOST_RECORDS:
        text = f"record {MOST_RECORDS + 1} is one too many: a set holds up to {MOST_RECORDS}"
        raise ArtifactBroken(text, record=MOST_RECORDS + 1)
    if not count:
        raise ArtifactBroken("there is no request in it")
    return form, count


def requests_of(content: bytes, signatures: Signatures, most: int) -> list[Recorded]:
    """Return up to `most` requests of a set.

    Args:
        content: the set.
        signatures: those of the version whose callers JSON requests stand for.
        most: how many are enough.

    Raises:
        ArtifactBroken: a record is no request to these signatures; `record` says which.
    """
    if form_of(content) is Form.TFRECORD:
        return requests_in(content, most)
    found: list[Recorded] = []
    for number, body in _bodies(content):
        if len(found) == most:
            break
        request, refusal = _request(body, signatures)
        if refusal:
            raise _broken(number, refusal)
        found.append(Recorded(number, request.SerializeToString()))
    return found


def _request(body: dict[str, Any], signatures: Signatures) -> tuple[Any, str]:
    """The request, or why it is none."""
    try:
        return wire.predict_request(body, signatures)[0], ""
    except PredictionRefused as error:
        return None, error.message
    except RecursionError:
        return None, "lists are nested too deeply"


def _bodies(content: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    lines = content.rstrip().split(b"\n", MOST_RECORDS + 1) if content.strip() else []
    for number, line in enumerate(lines[: MOST_RECORDS + 1], start=1):
        try:
            yield number, wire.loads(line)
        except PredictionRefused as error:
            raise _broken(number, error.message) from None


def _checked(number: int, body: dict[str, Any], known: Sequence[Signatures]) -> bool:
    if sum(one in body for one in _BODIES) != 1:
        text = f"record {number} needs one of {' and '.join(_BODIES)}, as a predict body has it"
        raise ArtifactBroken(text, record=number)
    first = ""
    for signatures in known:
        _, refusal = _request(body, signatures)
        if not refusal:
            return True
        first = first or refusal
    if first:
        raise _broken(number, first)
    return True


def _broken(number: int, why: str) -> ArtifactBroken:
    return ArtifactBroken(f"record {number}: {why}", record=number)
