"""A model's page in one fleet: labels, servers, versions, the past, and a form to try it."""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from control_plane.domain.errors import ControlPlaneError, NotFound
from control_plane.domain.signature import DEFAULT_SIGNATURE, Signature, diff, from_json
from control_plane.services import catalog
from control_plane.services.access import Role
from control_plane.services.model_view import model_view
from control_plane.web import model_call
from control_plane.web.model_call import Asked
from control_plane.web.model_matrix import Table, columns
from control_plane.web.model_ribbon import ribbon
from control_plane.web.visit import Place, Visit

Json = Mapping[str, Any]
_LONGEST_ANSWER: Final = 20_000  # characters that are shown


async def _show(visit: Visit) -> Response:
    told = await _told(visit)
    facts = await _board_facts(visit, told) | await _tried(visit, told, {})
    return visit.page("model.html", **facts)


async def _board(visit: Visit) -> Response:
    """Answer with the live part; when the model is gone, that says so in its place."""
    try:
        told = await _told(visit)
    except NotFound as error:
        return visit.page("model/gone.html", error=error, **visit.request.path_params)
    return visit.page("model/board.html", **await _board_facts(visit, told))


async def _told(visit: Visit) -> dict[str, Any]:
    named, site = visit.request.path_params, visit.site
    last = site.resolved.known(named["fleet"])
    return await model_view(site.db, named["fleet"], named["model"], site.clock(), last)


async def _board_facts(visit: Visit, told: Json) -> dict[str, Any]:
    return {
        "tab": "models",
        "told": told,
        "table": Table(columns(told["servers"], told["matrix"])),
        "ribbon": ribbon(told["availability"]),
        "may_operate": visit.may(Role.OPERATOR),
    }


async def _tried(visit: Visit, told: Json, form: Mapping[str, str]) -> dict[str, Any]:
    """What the form shows: of a version, its signatures, and what was typed or a sample."""
    asked = visit.request.query_params
    number = _version(told, form.get("made_of") or asked.get("version", ""))
    found = await _signatures(visit, told["model"]["name"], number)
    default = DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in found else next(iter(sorted(found)), "")
    named = form.get("signature") or asked.get("signature", "")
    name = named if named in found else default
    signature = found.get(name, Signature())
    typed = model_call.texts(form)
    values = {**model_call.samples(signature), **typed}
    at = form.get("at", _at(told))
    call = Asked(told["fleet"], told["model"]["name"], None, name)
    try:
        read = model_call.filled_in({f"{model_call.FIELD}{k}": v for k, v in values.items() if v})
        call = replace(call, at=model_call.target(at), inputs=read)
    except ControlPlaneError:
        pass  # told by who sends it
    return {
        "made_of": number,
        "signatures": dict(sorted(found.items())),
        "signature_name": name,
        "signature": signature,
        "values": values,
        "at": at,
        "verdict": await _verdict(visit, told, number),
        "snippets": _snippets(visit, told, call, signature) if name else (),
        "answer": None,
        "error": None,
    }


def _version(told: Json, asked: str) -> int | None:
    """The version whose signatures are shown: the one asked for, else `stable`, else the newest."""
    known = [one["version"] for one in told["versions"] if one["signatures"]]
    if asked.isascii() and asked.isdigit() and len(asked) < 20 and int(asked) in known:
        return int(asked)
    preferred = [one["version"] for one in told["labels"]]
    return next((one for one in (*preferred, *known) if one in known), None)


def _at(told: Json) -> str:
    """Whom the form asks at first: the first label, which is `stable` where there is one."""
    return f"label:{told['labels'][0]['label']}" if told["labels"] else ""


async def _signatures(visit: Visit, model: str, number: int | None) -> Mapping[str, Signature]:
    if number is None:
        return {}
    return from_json((await catalog.version(visit.site.db, model, number)).signatures)


async def _verdict(visit: Visit, told: Json, number: int | None) -> Any:
    """What callers of `stable` would notice of the version that is shown; None if it is that."""
    shown = next((one for one in told["versions"] if one["version"] == number), None)
    judged = shown and shown["against_stable"]
    if not judged or judged["against"] == number:
        return None
    name, stable = told["model"]["name"], judged["against"]
    before, after = await _signatures(visit, name, stable), await _signatures(visit, name, number)
    return {"against": stable, "told": diff(before, after)}


def _snippets(
    visit: Visit, told: Json, call: Asked, signature: Signature
) -> tuple[tuple[str, str], ...]:
    base, token = str(visit.request.base_url), visit.site.auth_required
    answering = [one for one in told["servers"] if one["known"] and not one["drained"]]
    address = next((one["address"] for one in answering or told["servers"]), "127.0.0.1:8500")
    return (
        ("curl", model_call.curl(call, base, token=token)),
        ("Python gRPC", model_call.python(call, signature, address)),
    )


async def _predict(visit: Visit) -> Response:
    """Ask the model; what it refuses is shown beside what was typed."""
    form, told = await visit.form(), await _told(visit)
    tried = await _tried(visit, told, form)
    status, began = 200, time.perf_counter()
    try:
        call = Asked(
            told["fleet"],
            told["model"]["name"],
            model_call.target(form.get("at", "")),
            tried["signature_name"],
            model_call.filled_in(form),
        )
        began = time.perf_counter()
        answered = await visit.site.predictor.predict(
            call.fleet, call.model, call.at, call.body(), timeout_s=visit.site.predict_timeout_s
        )
        tried["answer"] = {
            "version": answered.version,
            "server": answered.server,
            "ms": 1_000 * (time.perf_counter() - began),
            "body": _pretty(answered.body),
        }
    except ControlPlaneError as error:
        tried["error"] = error
        status = visit.site.status_of(type(error))
    if visit.partly:
        return visit.page("model/answer.html", told=told, **tried)
    return visit.page("model.html", status, **await _board_facts(visit, told) | tried)


def _pretty(body: bytes) -> str:
    """Return an answer with a line for each of its outputs."""
    document = json.loads(body)
    outputs = document.get("outputs") if isinstance(document, dict) else None
    if isinstance(outputs, dict):
        each = (f"  {_json(name)}: {_json(value)}" for name, value in outputs.items())
        text = "{\n" + ",\n".join(each) + "\n}"
    else:
        text = _json(document if outputs is None else outputs)
    return text if len(text) <= _LONGEST_ANSWER else f"{text[:_LONGEST_ANSWER]}…"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


async def _loads(visit: Visit) -> Response:
    told = await _told(visit)
    return JSONResponse(told["loads"], headers={"Cache-Control": "no-store"})


_PATH: Final = "/fleets/{fleet}/models/{model}"
PLACES: Final = (
    Place(_PATH, "model", _show),
    Place(f"/ui{_PATH}", "model_board", _board),
    Place(_PATH, "model_predict", _predict, "POST"),
    Place(f"/ui{_PATH}/loads", "model_loads", _loads),
)
