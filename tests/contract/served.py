"""One dev server process and the calls that tests make to it."""

import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import grpc
from google.protobuf import text_format

from control_plane.serving import stubs
from control_plane.serving.tensor import make_tensor

_T = TypeVar("_T")
MODELS = Path(__file__).parents[1] / "models"
POLLS = {"file_system_poll_wait_seconds": 1, "max_num_load_retries": 0}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def model(path: Path | str, *versions: int, name: str = "", **labels: int) -> Any:
    made = stubs.ModelConfig(
        name=name or Path(path).name,
        base_path=str(path),
        model_platform="tensorflow",
        version_labels=labels,
    )
    made.model_version_policy.specific.versions.extend(versions or (1,))
    return made


def config_of(models: Sequence[Any]) -> Any:
    return stubs.ModelServerConfig(model_config_list=stubs.ModelConfigList(config=models))


def eventually(read: Callable[[], _T], expected: _T, within_s: float = 15) -> None:
    deadline = time.monotonic() + within_s
    while (seen := read()) != expected and time.monotonic() < deadline:
        time.sleep(0.02)
    assert seen == expected


class Served:
    """A server from its start to its end."""

    def __init__(self, command: str, folder: Path, text: str, **flags: object) -> None:
        self.port = int(str(flags.pop("port", 0))) or free_port()
        self.file = folder / f"{self.port}.config"
        self.file.write_text(text)
        self.log = folder / f"{self.port}.log"
        given = {"port": self.port, "model_config_file": self.file} | POLLS | flags
        argv = [f"--{name}={value}" for name, value in given.items()]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([*shlex.split(command), *argv], stdout=log, stderr=log)
        self.channel = grpc.insecure_channel(
            f"127.0.0.1:{self.port}",
            options=[
                ("grpc.use_local_subchannel_pool", 1),
                *((f"grpc.{one}_reconnect_backoff_ms", 100) for one in ("initial", "min", "max")),
            ],
        )
        self.models = stubs.ModelServiceStub(self.channel)
        self.predictions = stubs.PredictionServiceStub(self.channel)

    def ready(self) -> Self:
        eventually(self._answers_or_ended, True, 60)
        assert self.process.poll() is None, self.output
        return self

    def _answers_or_ended(self) -> bool:
        return self.process.poll() is not None or self.status("")[0] != "UNAVAILABLE"

    def close(self) -> None:
        self.channel.close()
        self.process.terminate()
        self.process.wait(10)

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def call(self, method: Any, request: Any, timeout_s: float = 20) -> tuple[str, Any]:
        """The code, and the response or the message."""
        try:
            return "OK", method(request, timeout=timeout_s)
        except grpc.RpcError as error:
            return error.code().name, error.details()

    def reload(self, *models: Any, timeout_s: float = 20) -> tuple[str, Any]:
        request = stubs.ReloadConfigRequest(config=config_of(models))
        code, answer = self.call(self.models.HandleReloadConfigRequest, request, timeout_s)
        return code, "" if code == "OK" else answer

    def status(self, name: str) -> tuple[str, Any]:
        request = stubs.GetModelStatusRequest(model_spec=stubs.ModelSpec(name=name))
        return self.call(self.models.GetModelStatus, request)

    def states(self, name: str) -> dict[int, str]:
        code, answer = self.status(name)
        name_of = stubs.ModelVersionStatus.State.Name
        found = answer.model_version_status if code == "OK" else ()
        return {one.version: name_of(one.state) for one in found}

    def error(self, name: str) -> str:
        """The error of the highest version."""
        _, answer = self.status(name)
        return str(answer.model_version_status[0].status.error_message)

    def predict(
        self, name: str, inputs: dict[str, Any] | None = None, timeout_s: float = 20, **spec: Any
    ) -> tuple[str, Any]:
        if inputs is None:
            inputs = {"x": make_tensor("DT_FLOAT", [1], [2.0])}
        request = stubs.PredictRequest(model_spec=stubs.ModelSpec(name=name, **spec), inputs=inputs)
        return self.call(self.predictions.Predict, request, timeout_s)

    def y(self, name: str) -> tuple[str, list[float]]:
        code, answer = self.predict(name)
        return code, list(answer.outputs["y"].float_val) if code == "OK" else []


def text_of(*models: Any) -> str:
    """A config file; without models it holds an empty list, which is not the same as nothing."""
    return text_format.MessageToString(config_of(models)) or "model_config_list {}"
