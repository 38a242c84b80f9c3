"""Calls of the API about request sets: recorded requests that gates replay."""

from control_plane.client.answers import Paged, RequestSet
from control_plane.client.call import Call, path_of


def request_sets(model: str) -> Call[Paged[RequestSet]]:
    """List a model's request sets."""
    return Call("GET", path_of("models", model, "request-sets"))


def request_set(model: str, name: str) -> Call[RequestSet]:
    """Show a request set, without its requests."""
    return Call("GET", path_of("models", model, "request-sets", name))


def add_request_set(model: str, name: str, content: bytes) -> Call[RequestSet]:
    """Upload a TFRecord file of PredictionLog, or JSON predict bodies, one per line."""
    path = path_of("models", model, "request-sets", name)
    return Call("POST", path, content=content, headers={"Content-Type": "application/octet-stream"})


def delete_request_set(model: str, name: str) -> Call[None]:
    """Delete a request set."""
    return Call("DELETE", path_of("models", model, "request-sets", name))
