"""Calls of the API about strategies: the steps that promotions follow."""

from collections.abc import Mapping
from typing import Any

from control_plane.client.answers import Model, Paged, Strategy
from control_plane.client.call import Call, path_of


def strategies() -> Call[Paged[Strategy]]:
    """List strategies."""
    return Call("GET", path_of("strategies"))


def strategy(name: str, number: int | None = None) -> Call[Strategy]:
    """Show a strategy as it is now, or as an edit left it."""
    edit = () if number is None else ("versions", number)
    return Call("GET", path_of("strategies", name, *edit))


def put_strategy(name: str, document: Mapping[str, Any]) -> Call[Strategy]:
    """Say what a strategy is from now on."""
    return Call("PUT", path_of("strategies", name), body=dict(document))


def delete_strategy(name: str) -> Call[None]:
    """Delete a strategy; rollouts that follow it go on."""
    return Call("DELETE", path_of("strategies", name))


def set_default_strategy(model: str, strategy: str) -> Call[Model]:
    """Say which strategy a model's promotions follow unless they name one; "" for none."""
    return Call("PATCH", path_of("models", model), body={"default_strategy": strategy})
