"""Signatures between TensorFlow's messages and the domain's values."""

from collections.abc import Mapping
from typing import Any

from control_plane.domain.signature import Signature, Signatures, TensorSpec
from control_plane.serving import stubs

# Runs the graph's initialisers; a loader's own affair that no caller may name.
_HIDDEN = frozenset({"__saved_model_init_op", "__saved_model_train_op"})


def signatures_of(signature_defs: Mapping[str, Any]) -> Signatures:
    """Return the signatures that callers can name, sorted."""
    return {
        name: _signature(signature_defs[name])
        for name in sorted(signature_defs)
        if name not in _HIDDEN
    }


def _signature(message: Any) -> Signature:
    return Signature(message.method_name, _specs(message.inputs), _specs(message.outputs))


def _specs(infos: Mapping[str, Any]) -> dict[str, TensorSpec]:
    return {name: _spec(infos[name]) for name in sorted(infos)}


def _spec(info: Any) -> TensorSpec:
    shape = info.tensor_shape
    sizes = None if shape.unknown_rank else tuple(int(dim.size) for dim in shape.dim)
    return TensorSpec(stubs.DataType.Name(info.dtype), sizes)
