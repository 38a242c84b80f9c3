"""Who still holds a model or a version, so that it cannot be deleted.

A server that was last seen with a version holds it, reachable or not: if the number came back with
other files, nobody could tell which of the two that server serves.
"""

from collections.abc import AsyncIterator

from control_plane.domain.errors import StillInUse
from control_plane.domain.state import State
from control_plane.services.sight import Sight, look
from control_plane.store import fleets
from control_plane.store.database import Session


async def refuse_held_model(s: Session, model: str) -> None:
    """Let pass a model that nobody holds; its fleets stay locked to the end of the transaction.

    Raises:
        StillInUse: names the holders.
    """
    held: list[str] = []
    async for sight in _locked(s):
        held += _deployed(sight, model, None)
        for server in sight.servers:
            if _on_server(sight, server.name, model):
                held.append(f"server {server.name} of fleet {sight.fleet.name}")
    _refuse(f"the model {model}", held)


async def refuse_held_version(s: Session, model: str, number: int) -> None:
    """Let pass a version that nobody holds; its fleets stay locked to the end of the transaction.

    Raises:
        StillInUse: names the holders.
    """
    held: list[str] = []
    async for sight in _locked(s):
        held += _deployed(sight, model, number)
        held += [
            f"server {server.name} of fleet {sight.fleet.name}"
            for server in sight.servers
            if number in _on_server(sight, server.name, model)
        ]
    _refuse(f"version {number} of {model}", held)


async def _locked(s: Session) -> AsyncIterator[Sight]:
    for fleet in await fleets.all_fleets(s):
        await fleets.lock_fleet(s, fleet.name)
        yield await look(s, fleet.name)


def _deployed(sight: Sight, model: str, number: int | None) -> list[str]:
    """The deployment that asks for it, as it should be now or will be by a live rollout."""
    head, target = sight.heads.get(model), sight.targets.get(model)
    wanted: set[int] = set(head.deployment.versions) if head else set()
    wanted |= target.versions if target else set()
    holds = bool(wanted) if number is None else number in wanted
    return [f"deployment of {model} in fleet {sight.fleet.name}"] if holds else []


def _on_server(sight: Sight, server: str, model: str) -> set[int]:
    versions = sight.of(server).models.get(model, {})
    return {number for number, one in versions.items() if one.state is not State.END}


def _refuse(what: str, held: list[str]) -> None:
    if held:
        text = f"{what} is still held by {', '.join(held[:3])}"
        raise StillInUse(text, hint="undeploy it first", held=held[:100])
