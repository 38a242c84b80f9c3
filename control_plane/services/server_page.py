"""A server: how it is, the config that it should have and the one that it was seen to run."""

from datetime import UTC, datetime
from typing import Any

from control_plane.services import configs, views
from control_plane.services.sight import look
from control_plane.serving.config import config_text
from control_plane.store import fleets, leases, sources
from control_plane.store.database import Database

Json = dict[str, Any]


async def server_page(db: Database, fleet: str, name: str) -> Json:
    """Return a server as the API shows it, `led`, whether it is `listed` by its source, configs.

    `config.runs` is null where no config of ours is known to run there.

    Raises:
        NotFound: no such fleet or server.
    """
    view, _ = await views.server(db, fleet, name)
    wanted = await configs.of_server(db, fleet, name)
    async with db.read() as s:
        led = await leases.holder(s, fleet) is not None
        verified = (await look(s, fleet)).of(name).verified
        home = await fleets.fleet(s, fleet)
        listed = False
        if view["source"]:
            _, report = await sources.source(s, fleet, view["source"])
            listed = view["address"] in report.addresses
    runs = verified.config if verified else None
    return view | {
        "led": led,
        "listed": listed,
        "on_drift": home.on_drift,
        "config": {
            "wanted": wanted.text,
            "digest": wanted.digest,
            "runs": config_text(runs, None, "") if runs else None,
            "same": runs is not None and runs.digest == wanted.digest,
            "verified_at": _instant(verified.at) if verified else None,
        },
    }


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
