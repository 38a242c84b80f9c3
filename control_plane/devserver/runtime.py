"""SavedModels run by TensorFlow, in this process and on one thread of it.

Importing TensorFlow takes seconds and hundreds of megabytes; it happens when a Runtime is made,
and nowhere else.
"""

import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from control_plane.devserver.monitoring import Metrics
from control_plane.devserver.refusal import Code, Refusal
from control_plane.devserver.saved_model import Servable, Tensors, has_variables, parse
from control_plane.serving import stubs
from control_plane.serving.tensor import make_tensor, type_name

_INIT_OP = "__saved_model_init_op"
_OLD_INIT_OPS = ("saved_model_main_op", "legacy_init_op")
_WARMUP = Path("assets.extra") / "tf_serving_warmup_requests"
_MAX_WARMUP_RECORDS = 1000


class Runtime:
    """TensorFlow itself, set up to stay small."""

    def __init__(self, *, warmup: bool) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
        import tensorflow

        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        self._tf = tensorflow
        self._warmup = warmup
        self._importing = threading.Lock()

    def load(self, path: str) -> Servable:
        """Load a version.

        Raises:
            Refusal: in the loader's own words.
        """
        graph = parse(path)
        try:
            session = self._session(graph, path)
        except self._tf.errors.OpError as error:
            raise _refused(error) from None
        return Servable(dict(graph.signature_def), _Session(self._tf, session))

    def warm_up(self, servable: Servable, path: str, metrics: Metrics) -> None:
        """Replay the warm-up records of a version, if there are any and the flag says so.

        Raises:
            Refusal: one that cannot be read or answered, or too many.
        """
        file = Path(path) / _WARMUP
        if not self._warmup or not file.exists():
            return
        try:
            with metrics.warm_up(path):
                self._replay(servable, file, metrics)
        except self._tf.errors.OpError as error:
            raise _refused(error) from None

    def _session(self, meta_graph: Any, path: str) -> Any:
        config = self._tf.compat.v1.ConfigProto(
            inter_op_parallelism_threads=1, intra_op_parallelism_threads=1
        )
        graph = self._tf.Graph()
        with self._importing, graph.as_default():
            try:
                self._tf.graph_util.import_graph_def(meta_graph.graph_def, name="")
            except ValueError as error:
                raise Refusal(Code.INVALID_ARGUMENT, str(error)) from None
        session = self._tf.compat.v1.Session(graph=graph, config=config)
        assets = {
            asset.tensor_info.name: f"{path}/assets/{asset.filename}"
            for asset in meta_graph.asset_file_def
        }
        saver = meta_graph.saver_def
        if has_variables(path):
            feeds = assets | {saver.filename_tensor_name: f"{path}/variables/variables"}
            session.run(saver.restore_op_name, feeds)
        for op in _init_ops(meta_graph):
            session.run(op, assets)
        return session

    def _replay(self, servable: Servable, file: Path, metrics: Metrics) -> None:
        for number, record in enumerate(self._records(str(file)), 1):
            if number > _MAX_WARMUP_RECORDS:
                raise Refusal(
                    Code.INVALID_ARGUMENT,
                    f"Number of warmup records exceeds the maximum ({_MAX_WARMUP_RECORDS}) "
                    f"at {file}",
                )
            _replay_one(servable, stubs.PredictionLog.FromString(record), metrics)

    def _records(self, path: str) -> Iterator[bytes]:
        try:
            yield from self._tf.compat.v1.io.tf_record_iterator(path)
        except self._tf.errors.DataLossError as error:
            message = f"{error.message}. Please verify your warmup data is in TFRecord format."
            raise Refusal(Code.DATA_LOSS, message) from None


class _Session:
    """One loaded graph with its variables."""

    def __init__(self, tf: Any, session: Any) -> None:
        self._tf = tf
        self._session = session

    def run(self, inputs: Tensors, signature: Any, outputs: tuple[str, ...]) -> Tensors:
        """Compute a signature's outputs, all of them unless some are named."""
        fetches = {name: info.name for name, info in _chosen(signature.outputs, outputs).items()}
        try:
            arrays = self._session.run(fetches, self._feeds(inputs, signature.inputs))
        except self._tf.errors.OpError as error:
            raise _refused(error) from None
        except (ValueError, TypeError) as error:  # shapes that the graph declares
            raise Refusal(Code.INVALID_ARGUMENT, str(error)) from None
        return {
            name: _tensor(value, stubs.DataType.Name(signature.outputs[name].dtype))
            for name, value in arrays.items()
        }

    def _feeds(self, inputs: Tensors, expected: Mapping[str, Any]) -> dict[str, Any]:
        _check_names(set(inputs), set(expected))
        feeds = {}
        for at, name in enumerate(sorted(inputs)):
            tensor, info = inputs[name], expected[name]
            if tensor.dtype != info.dtype:
                named = [type_name(stubs.DataType.Name(one)) for one in (info.dtype, tensor.dtype)]
                message = f"Expects arg[{at}] to be {named[0]} but {named[1]} is provided"
                raise Refusal(Code.INVALID_ARGUMENT, message)
            try:
                feeds[info.name] = self._tf.make_ndarray(tensor)
            except (ValueError, TypeError):
                message = f"tensor parsing error: {name}"
                raise Refusal(Code.INVALID_ARGUMENT, message) from None
        return feeds


def _tensor(value: Any, dtype: str) -> Any:
    """Fill the typed field, as the server does by default."""
    if isinstance(value, bytes):
        return make_tensor(dtype, (), [value])
    values = value.view("uint16") if dtype in ("DT_HALF", "DT_BFLOAT16") else value
    return make_tensor(dtype, value.shape, values.ravel().tolist())


def _check_names(sent: set[str], expected: set[str]) -> None:
    extra, missing = sent - expected, expected - sent
    if len(sent) != len(expected):
        raise Refusal(
            Code.INVALID_ARGUMENT,
            f"input size does not match signature: {len(sent)}!={len(expected)} "
            f"len({_set(sent)}) != len({_set(expected)}). Sent extra: {_set(extra)}. "
            f"Missing but required: {_set(missing)}.",
        )
    if extra:
        raise Refusal(
            Code.INVALID_ARGUMENT,
            f"input tensor alias not found in signature: {min(extra)}. "
            f"Inputs expected to be in the set {_set(expected)}.",
        )


def _chosen(outputs: Mapping[str, Any], wanted: tuple[str, ...]) -> Mapping[str, Any]:
    for name in wanted:
        if name not in outputs:
            raise Refusal(
                Code.INVALID_ARGUMENT,
                f"output tensor alias not found in signature: {name} "
                f"Outputs expected to be in the set {_set(outputs)}.",
            )
    return {name: outputs[name] for name in wanted or outputs}


def _set(names: Iterable[str]) -> str:
    return f"{{{','.join(sorted(names))}}}"


def _init_ops(meta_graph: Any) -> Iterator[str]:
    """Yield the operation that initialises tables and the like, if there is one."""
    if _INIT_OP in meta_graph.signature_def:
        yield meta_graph.signature_def[_INIT_OP].outputs[_INIT_OP].name.partition(":")[0]
        return
    for name in _OLD_INIT_OPS:
        if name in meta_graph.collection_def:
            yield from meta_graph.collection_def[name].node_list.value


def _replay_one(servable: Servable, log: Any, metrics: Metrics) -> None:
    match log.WhichOneof("log_type"):
        case "predict_log":
            request = log.predict_log.request
            with metrics.running(request.model_spec.name):
                servable.predict(request)
        case "session_run_log" | "predict_streamed_log" as kind:
            number = log.DESCRIPTOR.fields_by_name[kind].number
            message = f"Unsupported log_type for warmup: {number}"
            raise Refusal(Code.UNIMPLEMENTED, message)
        case _:  # examples, which this server does not serve, or nothing at all
            return


def _refused(error: Any) -> Refusal:
    return Refusal(Code(error.error_code), error.message)
