"""The REST port of a dev server in a test, and what its metrics say."""

import http.client
import json
import re
from pathlib import Path
from typing import Any

from tests.contract.conftest import Start
from tests.contract.served import Served, eventually, free_port

METRICS = "/monitoring/prometheus/metrics"
_SAMPLE = re.compile(r"(?P<series>[^ {]+\{.*\}) (?P<value>\S+)")


class Rested:
    """A server with a REST port, from its first answer on."""

    def __init__(self, launch: Start, *models: Any, **flags: object) -> None:
        self.port = free_port()
        self.server: Served = launch(*models, rest_api_port=self.port, **flags).ready()
        eventually(self._answers, True)

    def _answers(self) -> bool:
        try:
            return bool(self.raw("GET", "/"))
        except ConnectionRefusedError:
            return False

    def raw(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, str, str]:
        """The status, the content type and the text of one answer."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            line.request(method, path, body, headers)
            answer = line.getresponse()
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
        finally:
            line.close()

    def get(self, path: str) -> tuple[int, Any]:
        status, _, text = self.raw("GET", path)
        return status, json.loads(text)

    def post(self, path: str, document: Any) -> tuple[int, Any]:
        status, _, text = self.raw("POST", path, json.dumps(document).encode())
        return status, json.loads(text)

    def samples(self, path: str = METRICS) -> dict[str, float]:
        """Every sample by its name and labels."""
        status, kind, text = self.raw("GET", path)
        assert (status, kind) == (200, "text/plain")
        lines = [line for line in text.splitlines() if not line.startswith("# TYPE ")]
        found = [_SAMPLE.fullmatch(line) for line in lines]
        return {one["series"]: float(one["value"]) for one in found if one}


def monitoring(folder: Path, text: str = "prometheus_config { enable: true }") -> Path:
    file = folder / "monitoring.config"
    file.write_text(text)
    return file
