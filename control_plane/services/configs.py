"""The config that a server should have at this moment, as TensorFlow Serving takes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from control_plane.domain.errors import NotFound
from control_plane.domain.state import Config, ModelConfig
from control_plane.domain.steps import StepTarget
from control_plane.services.sight import Sight, look
from control_plane.serving.config import config_json, config_text
from control_plane.store import catalog
from control_plane.store.database import Database, Session


@dataclass(frozen=True, slots=True)
class ConfigView:
    """One config in both of its forms; without the marker labels, which a push adds."""

    digest: str
    text: str
    document: dict[str, Any]


async def of_fleet(db: Database, fleet: str) -> ConfigView:
    """Return what every server of a fleet should have.

    Raises:
        NotFound: no such fleet.
    """
    async with db.read() as s:
        sight = await look(s, fleet)
        return _view(await _wanted(s, sight.targets))


async def of_server(db: Database, fleet: str, server: str) -> ConfigView:
    """Return what one server should have.

    Raises:
        NotFound: no such fleet or server.
    """
    async with db.read() as s:
        sight = await look(s, fleet)
        if server not in {one.name for one in sight.servers}:
            raise NotFound(f"the fleet {fleet} has no server {server}", fleet=fleet, server=server)
        return _view(await _wanted(s, sight.targets_of(server)))


async def of_model(s: Session, sight: Sight, model: str) -> str:
    """Return a model's entry in the config of its fleet as text proto; "" without one."""
    found = {name: one for name, one in sight.targets.items() if name == model}
    return _view(await _wanted(s, found)).text if found else ""


async def _wanted(s: Session, targets: Mapping[str, StepTarget]) -> Config:
    entries = {}
    for name, target in sorted(targets.items()):
        model = await catalog.model(s, name)
        entries[name] = ModelConfig(model.base_path, target.versions, target.labels)
    return Config(entries)


def _view(config: Config) -> ConfigView:
    return ConfigView(config.digest, config_text(config, None, ""), config_json(config, None, ""))
