"""Several control planes on one PostgreSQL, processes that can be killed, frozen and ended."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx

from control_plane.client import ApiError, Client, Unreachable, calls
from control_plane.client.calls import DeploymentSpec, Promotion, ServerSpec
from control_plane.serving import stubs
from tests.contract.served import free_port
from tests.databases import fresh_database, postgres_server
from tests.faults.processes import Forked, Zygote, eventually, running_zygote

MODELS = Path(__file__).parents[1] / "models"
FLEET, MODEL = "default", "half_plus_two"
PATIENCE_S = 60.0
QUICK: Mapping[str, str] = {
    "TFSCTL_LEASE_TTL_S": "3",
    "TFSCTL_LEASE_RENEW_S": "0.7",
    "TFSCTL_SEND_MARGIN_S": "0.5",
}


class DevServer:
    """A model server without TensorFlow, asked directly."""

    def __init__(self, zygote: Zygote, home: Path) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        config = home / "dev.config"
        config.write_text("model_config_list {}")
        flags = [f"--port={self.address.rpartition(':')[2]}", f"--model_config_file={config}"]
        more = ["--no_predict", "--file_system_poll_wait_seconds=1", "--max_num_load_retries=0"]
        self._process = zygote.devserver(home / "dev.log", [*flags, *more])
        self._channel = grpc.insecure_channel(self.address)

    def label(self, label: str = "stable") -> int:
        """Ask where a label points; -1 if there is no answer."""
        asked = stubs.GetModelMetadataRequest(metadata_field=["signature_def"])
        asked.model_spec.name, asked.model_spec.version_label = MODEL, label
        try:
            told = stubs.PredictionServiceStub(self._channel).GetModelMetadata(asked, timeout=5)
        except grpc.RpcError:
            return -1
        return int(told.model_spec.version.value)

    def close(self) -> None:
        self._channel.close()
        self._process.kill()


class Replica:
    """One control plane on a port of its own."""

    def __init__(self, zygote: Zygote, home: Path, name: str, settings: Mapping[str, str]) -> None:
        self.name, self.port = name, free_port()
        self.log = home / f"{name}.log"
        self.client = Client(f"http://127.0.0.1:{self.port}", timeout_s=10)
        own = {"TFSCTL_AUTH": "off", "TFSCTL_PORT": str(self.port), "TFSCTL_DATA_DIR": str(home)}
        self._zygote, self._settings = zygote, {**own, **settings}
        self._process: Forked | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def runs(self) -> bool:
        return self._process is not None and not self._process.ended()

    def start(self) -> None:
        self._process = self._zygote.serve(self.log, self._settings)

    def checks(self) -> dict[str, str]:
        """What it says of its parts; nothing while it does not answer."""
        return checks(self.port)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.signal(number)

    def wait(self) -> None:
        """Wait until it is gone."""
        assert self._process is not None
        assert self._process.ended(20), f"{self.name} does not end"

    def close(self) -> None:
        self.client.close()
        if self._process is not None:
            self._process.kill()


def checks(port: int) -> dict[str, str]:
    """What the control plane on a port says of its parts; nothing while it does not answer."""
    try:
        told = httpx.get(f"http://127.0.0.1:{port}/readyz?verbose", timeout=2)
    except httpx.HTTPError:
        return {}
    return dict(told.json()["checks"]) if told.is_success else {}


class Stand:
    """Replicas that serve one dev server, versions 1 and 2 loaded and `stable` on 1."""

    def __init__(self, zygote: Zygote, home: Path, settings: Mapping[str, str], count: int) -> None:
        self.server = DevServer(zygote, home)
        self.replicas = [Replica(zygote, home, f"r{n}", settings) for n in range(count)]

    def begin(self) -> None:
        """Start them, and have the fleet serve the model."""
        count = len(self.replicas)
        for one in self.replicas:
            one.start()
        self.wait_for(count)
        send = self.replicas[0].client.send
        send(calls.add_model(MODEL, str(MODELS / MODEL)))
        send(calls.scan(MODEL))
        send(calls.add_server(FLEET, ServerSpec(self.server.address, "a", take_over=True)))
        spec = DeploymentSpec([1, 2], {"stable": 1}, force=True)
        self.over(self.replicas[0], send(calls.deploy(FLEET, MODEL, spec))["rollout"]["id"])

    def wait_for(self, count: int) -> None:
        """Wait until every replica that runs knows of so many, and one of them leads."""
        running = [one for one in self.replicas if one.runs]
        wanted = f"replicas: {count}"
        for one in running:
            eventually(one.checks, lambda seen: wanted in seen.get("leases", ""), PATIENCE_S)
        eventually(lambda: self.epoch(running[0]), bool, PATIENCE_S)

    def status(self, through: Replica) -> Any:
        path = f"http://127.0.0.1:{through.port}/api/v1/fleets/{FLEET}/status"
        return httpx.get(path, timeout=10).json()

    def epoch(self, through: Replica) -> int:
        """The epoch in force; 0 if nobody leads."""
        leader = self.status(through)["leader"]
        return leader["epoch"] if leader else 0

    def leader(self) -> Replica:
        """The replica that leads, as all can see."""
        pids = {one.pid: one for one in self.replicas}

        def found() -> Replica | None:
            told = self.status(self.replicas[0])["leader"]
            return pids.get(int(told["replica"].split("-")[-2])) if told else None

        leader: Replica | None = eventually(found, bool, PATIENCE_S)
        assert leader is not None
        return leader

    def follower(self) -> Replica:
        leader = self.leader()
        return next(one for one in self.replicas if one is not leader)

    def promote(self, through: Replica, version: int) -> str:
        promotion = Promotion(version=version, force=True)
        answer = through.client.send(calls.promote(FLEET, MODEL, promotion))
        return str(answer["rollout"]["id"])

    def over(self, through: Replica, rollout: str, s: float = PATIENCE_S) -> None:
        """Wait until a rollout has succeeded."""

        def read() -> Any:
            try:
                return through.client.send(calls.rollout(rollout))
            except (ApiError, Unreachable) as error:
                return {"live": True, "error": str(error)}

        ended = eventually(read, lambda one: not one["live"], s)
        assert ended["phase"] == "succeeded", ended

    def reloads(self, through: Replica) -> int:
        """How many pushes the journal tells of."""
        return len(through.client.send(calls.events(kind="server.reloaded"))["items"])

    def close(self) -> None:
        for one in self.replicas:
            one.close()
        self.server.close()


@contextmanager
def standing(home: Path, count: int, environment: Mapping[str, str]) -> Iterator[Stand]:
    """Run a PostgreSQL, a dev server and replicas while the block does."""
    with (
        running_zygote() as zygote,
        postgres_server() as postgres,
        fresh_database(postgres) as url,
    ):
        stand = Stand(zygote, home, {**environment, "TFSCTL_DATABASE_URL": url}, count)
        try:
            stand.begin()
            yield stand
        finally:
            stand.close()
