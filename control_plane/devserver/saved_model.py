"""A SavedModel as the dev server loads it: found, parsed, restored, and asked.

Refusals carry the loader's own codes and, where they tell cases apart, its words.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from google.protobuf.message import DecodeError

from control_plane.devserver.monitoring import Metrics
from control_plane.devserver.refusal import Code, Refusal
from control_plane.serving import stubs
from control_plane.serving.bundle import BadIndex, read_index

DEFAULT_SIGNATURE = "serving_default"
_SERVE = "serve"
_VARIABLE_OPS = frozenset({"VarHandleOp", "Variable", "VariableV2"})
_NO_FILE = (
    "Specified file path does not appear to contain a SavedModel bundle (should have a file "
    "called `saved_model.pb`)\nSpecified file path: "
)
_NO_GRAPH = (
    "Could not find meta graph def matching supplied tags: { serve }. To inspect available "
    "tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli`"
)
_NO_VARIABLE = "Could not find variable {}. This could mean that the variable has been deleted."

Tensors = Mapping[str, Any]


class Runner(Protocol):
    """Computes what a signature promises."""

    def run(self, inputs: Tensors, signature: Any, outputs: tuple[str, ...]) -> Tensors:
        """Give the outputs of these names.

        Raises:
            Refusal: the inputs do not fit, or the computation fails.
        """


@dataclass(frozen=True, slots=True)
class Servable:
    """A loaded version."""

    signatures: Mapping[str, Any]
    runner: Runner

    def predict(self, request: Any) -> tuple[str, Tensors]:
        """Answer a PredictRequest: the signature's name and the outputs.

        Raises:
            Refusal: no such signature, inputs that do not fit, or a failing computation.
        """
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        if name not in self.signatures:
            message = f'Serving signature key "{name}" not found.'
            raise Refusal(Code.FAILED_PRECONDITION, message)
        wanted = tuple(request.output_filter)
        return name, self.runner.run(request.inputs, self.signatures[name], wanted)


@dataclass(frozen=True, slots=True)
class Unrun:
    """Computes nothing, but knows whether TensorFlow could."""

    missing_variable: str

    def run(self, inputs: Tensors, signature: Any, outputs: tuple[str, ...]) -> Tensors:  # noqa: ARG002
        """Give no outputs at all."""
        if self.missing_variable:
            raise Refusal(Code.FAILED_PRECONDITION, _NO_VARIABLE.format(self.missing_variable))
        return {}


def counted(load: Callable[[str], Servable], metrics: Metrics) -> Callable[[str], Servable]:
    """Count attempts to load; a folder without a SavedModel is none, as it is refused before."""

    def loaded(path: str) -> Servable:
        if not _file(path).exists():
            return load(path)
        with metrics.load(path):
            return load(path)

    return loaded


def parse(path: str) -> Any:
    """Read the graph that serves, with its signatures.

    Raises:
        Refusal: NOT_FOUND or DATA_LOSS.
    """
    file = _file(path)
    try:
        model = stubs.SavedModel.FromString(file.read_bytes())
    except OSError:
        raise Refusal(Code.NOT_FOUND, f"{_NO_FILE}{path}") from None
    except DecodeError:
        raise Refusal(Code.DATA_LOSS, f"Can't parse {file} as binary proto") from None
    for graph in model.meta_graphs:
        if set(graph.meta_info_def.tags) == {_SERVE}:
            return graph
    raise Refusal(Code.NOT_FOUND, _NO_GRAPH)


def _file(path: str) -> Path:
    return Path(path) / "saved_model.pb"


def has_variables(path: str) -> bool:
    """Say whether there is anything to restore; without it a model loads all the same."""
    return (Path(path) / "variables" / "variables.index").exists()


def load_without_running(path: str) -> Servable:
    """Load for a server that predicts nothing: no TensorFlow, no warm-up.

    Raises:
        Refusal: the loader would fail too.
    """
    graph = parse(path)
    if has_variables(path):
        _check_shards(Path(path) / "variables")
        return Servable(dict(graph.signature_def), Unrun(""))
    variables = (node.name for node in graph.graph_def.node if node.op in _VARIABLE_OPS)
    return Servable(dict(graph.signature_def), Unrun(next(variables, "")))


def _check_shards(folder: Path) -> None:
    try:
        needed = dict(read_index((folder / "variables.index").read_bytes()).shard_names())
    except BadIndex as error:
        raise Refusal(Code.DATA_LOSS, f"{folder}/variables.index: {error}") from None
    for name, size in needed.items():
        if not (folder / name).exists():
            message = f"{folder / name}; No such file or directory"
            raise Refusal(Code.NOT_FOUND, message)
        if (folder / name).stat().st_size < size:
            raise Refusal(Code.OUT_OF_RANGE, "Read less bytes than requested")
