"""The typed client of the HTTP API: `Client` and `AsyncClient` send what `calls` builds.

with Client("http://127.0.0.1:8080") as client:
    answer = client.send(calls.promote("default", "ranker", Promotion(version=2)))
"""

from control_plane.client.call import Call
from control_plane.client.errors import ApiError, ClientError, Unreachable, WaitedTooLong
from control_plane.client.http import AsyncClient, Client

__all__ = [
    "ApiError",
    "AsyncClient",
    "Call",
    "Client",
    "ClientError",
    "Unreachable",
    "WaitedTooLong",
]
