"""Sends a prediction to a server that should be able to answer it."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from control_plane.domain.errors import NotFound, ServerUnreachable
from control_plane.services.callers import behind
from control_plane.services.resolve import Resolved
from control_plane.services.sight import Sight
from control_plane.serving import wire
from control_plane.serving.client import ModelServer


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as TensorFlow Serving's REST front would write it, and who gave it."""

    body: bytes
    version: int
    server: str


class Predictor:
    """Keeps one connection per server."""

    def __init__(self, resolved: Resolved, connect: Callable[[str], ModelServer]) -> None:
        self._resolved = resolved
        self._connect = connect
        self._open: dict[str, ModelServer] = {}
        self._turns = count()

    async def predict(
        self, fleet: str, model: str, at: int | str | None, raw: bytes, *, timeout_s: float
    ) -> Answered:
        """Answer a body of TensorFlow Serving's REST API; `at` is a version, a label or neither.

        A server that does not answer is not asked again: whether it ran the model is unknown.
        Drained servers are left out; who has yet to be caught up is asked if nobody else can.

        Raises:
            NotFound: no such fleet, or no server that serves this.
            PredictionRefused: the body does not fit the model.
            PredictionFailed: the model failed.
            ServerUnreachable: no server of the fleet answers.
        """
        body = wire.loads(raw)
        able = await self._able(fleet, model, at)
        name, address = able[next(self._turns) % len(able)]
        server = self._server(address)
        prediction = await server.predict(model, body, at=at, timeout_s=timeout_s)
        return Answered(wire.dumps(prediction.body), prediction.version, name)

    async def close(self) -> None:
        """Give all connections up."""
        for server in self._open.values():
            await server.close()
        self._open.clear()

    async def _able(self, fleet: str, model: str, at: int | str | None) -> list[tuple[str, str]]:
        """Choose from memory; what memory does not know may be new."""
        try:
            return _able(self._resolved.sight(fleet), model, at)
        except (NotFound, ServerUnreachable):
            await self._resolved.refresh(fleet)
            return _able(self._resolved.sight(fleet), model, at)

    def _server(self, address: str) -> ModelServer:
        if address not in self._open:
            self._open[address] = self._connect(address)
        return self._open[address]


def _able(sight: Sight, model: str, at: int | str | None) -> list[tuple[str, str]]:
    awake = [one for one in sight.servers if sight.of(one.name).reachable]
    answering = [one for one in awake if one.drain is None]
    if not answering:
        why = "that answers is not drained" if awake else "answers"
        raise ServerUnreachable(f"no server of the fleet {sight.fleet.name} {why}")
    able = [one for one in answering if _serves(sight, one.name, model, at)]
    if not able:
        asked = "" if at is None else f" {'version' if isinstance(at, int) else 'label'} {at}"
        text = f"no server of the fleet {sight.fleet.name} serves {model}{asked}"
        raise NotFound(text, fleet=sight.fleet.name, model=model)
    label = at if isinstance(at, str) else ""
    right = [one for one in able if one.joined and not behind(sight, one.name, model, label)]
    return [(one.name, one.address) for one in (right or able)]


def _serves(sight: Sight, server: str, model: str, at: int | str | None) -> bool:
    seen = sight.of(server)
    match at:
        case int():
            return seen.available(model, at)
        case str():
            version = sight.labels(server, model).get(at)
            return version is not None and seen.available(model, version)
        case None:
            return any(seen.available(model, number) for number in seen.models.get(model, {}))
