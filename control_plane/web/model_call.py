"""Trying a model: a form made from a signature, and the same call as curl and in Python."""

import base64
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Final

from control_plane.domain.errors import FieldInvalid
from control_plane.domain.signature import Signature, sample

FIELD: Final = "input."  # begins the names of fields with an input's value
LONGEST_SAMPLE: Final = 4_096  # values; a form with more would not be filled in by hand
INLINE: Final = 4_000  # characters of a body that a command line may carry
_DTYPES: Final = {
    "DT_FLOAT": "float32",
    "DT_DOUBLE": "float64",
    "DT_HALF": "float16",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that somebody would make: whom, which signature, and the values by input."""

    fleet: str
    model: str
    at: int | str | None  # a version, a label, or neither
    signature: str
    inputs: Mapping[str, Any] = field(default_factory=dict)

    def body(self) -> bytes:
        """Return the body as TensorFlow Serving's REST API takes it."""
        document = {"signature_name": self.signature, "inputs": dict(self.inputs)}
        return json.dumps(document, ensure_ascii=False).encode()


def target(text: str) -> int | str | None:
    """Return whom a form means: `version:2`, `label:stable`, or nobody in particular.

    Raises:
        FieldInvalid: it is none of these.
    """
    kind, _, name = text.partition(":")
    if kind == "label" and name:
        return name
    if kind == "version" and name.isascii() and name.isdigit() and len(name) < 20:
        return int(name)
    if text:
        raise FieldInvalid("at", f"{text[:80]!r} is neither a label nor a version")
    return None


def filled_in(form: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of a form's inputs, read as JSON.

    Raises:
        FieldInvalid: names the input that is no JSON, and where it stops being it.
    """
    return {name: _read(name, text) for name, text in texts(form).items()}


def texts(form: Mapping[str, str]) -> dict[str, str]:
    """Return what was typed, by input."""
    return {name[len(FIELD) :]: text for name, text in form.items() if name.startswith(FIELD)}


def _read(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        hint = "strings in double quotes, rows as lists: [1.0, 2.0]"
        raise FieldInvalid(name[:80], f"no JSON: {error.msg} at {where}", hint=hint) from None
    except (ValueError, RecursionError) as error:  # numbers or lists without end
        raise FieldInvalid(name[:80], f"no JSON that can be sent: {error}") from None


def samples(signature: Signature) -> dict[str, str]:
    """Return a valid value for each input as JSON; "" for one that is too long for a form."""
    short = {
        name: spec
        for name, spec in signature.inputs.items()
        if prod(abs(size) for size in spec.shape or ()) <= LONGEST_SAMPLE
    }
    values = sample(Signature(inputs=short))["inputs"]
    return {
        name: json.dumps(values[name], ensure_ascii=False) if name in values else ""
        for name in signature.inputs
    }


def curl(asked: Asked, base: str, *, token: bool) -> str:
    """Return the call as a command line, to the control plane."""
    place = f"{base.rstrip('/')}/api/v1/fleets/{asked.fleet}/models/{asked.model}"
    if isinstance(asked.at, int):
        place += f"/versions/{asked.at}"
    elif asked.at is not None:
        place += f"/labels/{asked.at}"
    body = asked.body().decode()
    data = shlex.quote(body) if len(body) <= INLINE else "@request.json"
    lines = [f"curl -sS {shlex.quote(f'{place}:predict')}"]
    if token:
        lines.append('-H "Authorization: Bearer $TFSCTL_TOKEN"')
    return " \\\n  ".join([*lines, f"--data-binary {data}"])


def python(asked: Asked, signature: Signature, address: str) -> str:
    """Return the call in Python over gRPC, straight to a server."""
    whom = ""
    if isinstance(asked.at, int):
        whom = f"request.model_spec.version.value = {asked.at}\n"
    elif asked.at is not None:
        whom = f"request.model_spec.version_label = {asked.at!r}\n"
    inputs = "".join(
        f"request.inputs[{name!r}].CopyFrom(\n"
        f"    tf.make_tensor_proto({_value(asked, name)}, dtype=tf.{_dtype(signature, name)})\n)\n"
        for name in asked.inputs
    )
    load = "import json\n\n" if _long(asked) else ""
    read = 'inputs = json.load(open("request.json"))["inputs"]\n' if _long(asked) else ""
    return (
        f"{load}import grpc\nimport tensorflow as tf\n"
        "from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc\n\n"
        f"{read}request = predict_pb2.PredictRequest()\n"
        f"request.model_spec.name = {asked.model!r}\n{whom}"
        f"request.model_spec.signature_name = {asked.signature!r}\n{inputs}"
        f"with grpc.insecure_channel({address!r}) as channel:\n"
        "    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)\n"
        "    print(stub.Predict(request, timeout=10))\n"
    )


def _long(asked: Asked) -> bool:
    return len(asked.body()) > INLINE


def _value(asked: Asked, name: str) -> str:
    return f"inputs[{name!r}]" if _long(asked) else literal(asked.inputs[name])


def literal(value: Any) -> str:
    """Return a JSON value as Python writes it; base64 as the bytes that it stands for."""
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str):
        try:
            return repr(base64.b64decode(value["b64"], validate=True))
        except ValueError:
            return repr(value)
    if isinstance(value, float) and not abs(value) < float("inf"):
        return f'float("{value}")'
    return repr(value)


def _dtype(signature: Signature, name: str) -> str:
    spec = signature.inputs.get(name)
    dtype = spec.dtype if spec is not None else "DT_FLOAT"
    return _DTYPES.get(dtype, dtype.removeprefix("DT_").lower())
