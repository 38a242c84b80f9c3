"""Row a: what it costs to have the generated messages, and to import them as they are packaged."""

import asyncio
import json
import sys
from pathlib import Path

from bench.table import Row, faster, middle, smaller

RUNS = 5
_OURS = "from control_plane.serving import stubs"
_BARE = (
    "from tensorflow_serving.apis import (get_model_metadata_pb2, get_model_status_pb2, "
    "model_management_pb2, model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc)"
)
_REPORT = """
import json, psutil, time
before, started = psutil.Process().memory_info().rss, time.perf_counter()
{statement}
took_s = time.perf_counter() - started
print(json.dumps([took_s, psutil.Process().memory_info().rss - before]))
"""


async def measure(_: Path) -> list[Row]:
    """Import each in processes of its own, turn by turn; the first turn only warms the disk."""
    turns = [(await _imported(_OURS), await _imported(_BARE)) for _ in range(RUNS + 1)][1:]
    took = (middle([ours[0] for ours, _ in turns]), middle([bare[0] for _, bare in turns]))
    size = (middle([ours[1] for ours, _ in turns]), middle([bare[1] for _, bare in turns]))
    return [
        faster("a", "stubs: time to import", took, 10),
        smaller("a", "stubs: memory grown by", size, 1 / 8),
    ]


async def _imported(statement: str) -> tuple[float, float]:
    """Return the seconds that an import takes and the bytes that the process grows by."""
    code = _REPORT.format(statement=statement)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=pipe, stderr=pipe
    )
    out, said = await process.communicate()
    if process.returncode != 0:
        raise ChildProcessError(said.decode())
    took_s, grown_bytes = json.loads(out.splitlines()[-1])
    return float(took_s), float(grown_bytes)
