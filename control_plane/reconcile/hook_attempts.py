"""One attempt of a hook: an HTTP call, a command, or warm-up requests to a server."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, assert_never

from control_plane.domain.errors import (
    ArtifactBroken,
    ArtifactMissing,
    ControlPlaneError,
    Transient,
)
from control_plane.domain.fleet import our_path
from control_plane.domain.hook import Again, Bad, Command, Good, Hook, Http, Outcome, Tried, WarmUp
from control_plane.domain.hook_runs import Run
from control_plane.domain.state import Ability
from control_plane.reconcile.world import World
from control_plane.serving import commands
from control_plane.serving.client import ModelServer
from control_plane.serving.hook_calls import HookCalls
from control_plane.serving.warmup import Recorded, warm_up_requests

MOST_RECORDS: Final = 1_000  # a server replays no more itself
_THREADS: Final = 2  # a hung file system takes these and no more


class HookAttempts:
    """What hooks do; close it when done."""

    def __init__(self, world: World, commands_file: Path | None) -> None:
        self._world = world
        self._commands_file = commands_file
        self._calls = HookCalls()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="warm-up")

    async def attempt(self, hook: Hook, run: Run) -> Tried:
        """Try once, within the hook's timeout."""
        match hook.doing:
            case Http():
                return await self._calls.call(hook.doing, run.body, hook.fail_if, hook.timeout_s)
            case Command(name):
                return await self._command(name, hook, run)
            case WarmUp():
                return Tried(await self._warm_up(hook, run))
            case _:
                assert_never(hook.doing)

    async def close(self) -> None:
        """Close connections."""
        await self._calls.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _command(self, name: str, hook: Hook, run: Run) -> Tried:
        try:
            argv = await asyncio.to_thread(commands.argv_of, self._commands_file, name)
        except commands.CommandsUnusable as error:
            return Tried(Bad(error.message))
        told = json.dumps(dict(run.body), ensure_ascii=False).encode()
        return await commands.run(argv, told, run.id, hook.timeout_s)

    async def _warm_up(self, hook: Hook, run: Run) -> Outcome:
        it = self._world.of(run.fleet).get(run.server)
        if it is None or run.version is None:
            return Bad(f"{run.server or 'no server'} is not in the fleet")
        try:
            async with asyncio.timeout(hook.timeout_s):
                return await self._warmed(it.client, run.model, run.version, run.fleet)
        except TimeoutError:
            return Again(f"timed out after {hook.timeout_s:g} s")
        except (ArtifactBroken, ArtifactMissing) as error:
            return Bad(f"its warm-up records cannot be read: {error.message}")
        except Transient as error:
            return Again(error.message)
        except ControlPlaneError as error:
            return Bad(error.message)

    async def _warmed(self, client: ModelServer, model: str, version: int, fleet: str) -> Outcome:
        s = self._world.options.ask_timeout_s
        records = await self._records(fleet, model, version)
        for one in records:
            try:
                await client.predict_raw(model, one.request, at=version, timeout_s=s)
            except Transient:
                raise
            except ControlPlaneError as error:
                return Bad(f"record {one.number}: {error.message}")
        if records:
            return Good(f"answered {len(records)} warm-up records")
        found = await client.able(model, version, timeout_s=s)
        match found.ability:
            case Ability.UNABLE:
                return Bad(found.text)
            case Ability.RETRY:
                return Again(found.text)
            case _:
                return Good(found.text or "answered a sample")

    async def _records(self, fleet: str, model: str, version: int) -> list[Recorded]:
        known = self._world.desired.known(fleet)
        base_path = known.base_paths.get(model) if known else None
        if known is None or base_path is None or known.fleet.storage != "visible":
            return []
        path = f"{our_path(known.fleet.path_map, base_path)}/{version}"
        read = partial(warm_up_requests, path, MOST_RECORDS)
        return await asyncio.get_running_loop().run_in_executor(self._threads, read)
