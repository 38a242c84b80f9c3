"""The generated messages and stubs of TensorFlow Serving, reached without running TensorFlow.

`tensorflow-serving-api` imports `tensorflow` only to reach its generated `tensorflow.core.*_pb2`
modules. While they are imported here, `tensorflow` is a bare package whose `__path__` points at the
installed one, so that its `__init__`, the runtime, never runs. The bare package is taken away
afterwards: a process that wants the runtime too may import it before or after.
"""

import contextlib
import importlib
import importlib.machinery
import sys
import types
from collections.abc import Iterator
from pathlib import Path

_ROOTS = ("tensorflow", "tensorflow_serving")
_GENERATED = ("_pb2", "_pb2_grpc")


@contextlib.contextmanager
def _without_runtime() -> Iterator[None]:
    """Let submodules of `tensorflow` be imported without it; if it runs already, as it is."""
    if "tensorflow" in sys.modules:
        yield
        return
    spec = importlib.machinery.PathFinder.find_spec("tensorflow")
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError("tensorflow's generated modules are not installed")
    bare = types.ModuleType("tensorflow")
    bare.__path__ = list(spec.submodule_search_locations)
    sys.modules["tensorflow"] = bare
    try:
        yield
    finally:
        del sys.modules["tensorflow"]


with _without_runtime():
    from google.protobuf.any_pb2 import Any as AnyMessage
    from google.protobuf.wrappers_pb2 import Int64Value
    from tensorflow.core.framework.graph_pb2 import GraphDef
    from tensorflow.core.framework.tensor_pb2 import TensorProto
    from tensorflow.core.framework.tensor_shape_pb2 import TensorShapeProto
    from tensorflow.core.framework.types_pb2 import DataType
    from tensorflow.core.protobuf.fingerprint_pb2 import FingerprintDef
    from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef, SignatureDef, TensorInfo
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
    from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto, BundleHeaderProto
    from tensorflow_serving.apis.classification_pb2 import (
        ClassificationRequest,
        ClassificationResponse,
    )
    from tensorflow_serving.apis.get_model_metadata_pb2 import (
        GetModelMetadataRequest,
        GetModelMetadataResponse,
        SignatureDefMap,
    )
    from tensorflow_serving.apis.get_model_status_pb2 import (
        GetModelStatusRequest,
        GetModelStatusResponse,
        ModelVersionStatus,
    )
    from tensorflow_serving.apis.inference_pb2 import MultiInferenceRequest, MultiInferenceResponse
    from tensorflow_serving.apis.model_management_pb2 import (
        ReloadConfigRequest,
        ReloadConfigResponse,
    )
    from tensorflow_serving.apis.model_pb2 import ModelSpec
    from tensorflow_serving.apis.model_service_pb2_grpc import (
        ModelServiceServicer,
        ModelServiceStub,
        add_ModelServiceServicer_to_server,
    )
    from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog, PredictLog
    from tensorflow_serving.apis.prediction_service_pb2_grpc import (
        PredictionServiceServicer,
        PredictionServiceStub,
        add_PredictionServiceServicer_to_server,
    )
    from tensorflow_serving.apis.regression_pb2 import RegressionRequest, RegressionResponse
    from tensorflow_serving.apis.status_pb2 import StatusProto
    from tensorflow_serving.config.file_system_storage_path_source_pb2 import (
        FileSystemStoragePathSourceConfig,
    )
    from tensorflow_serving.config.logging_config_pb2 import LoggingConfig
    from tensorflow_serving.config.model_server_config_pb2 import (
        ModelConfig,
        ModelConfigList,
        ModelServerConfig,
    )


def module_files() -> list[Path]:
    """List the files that this module needs of TensorFlow and TensorFlow Serving's API, sorted.

    `tensorflow/__init__.py` is not among them: without it the folder is a namespace package.
    """
    generated = [
        name
        for name in sys.modules
        if name.startswith(tuple(f"{root}." for root in _ROOTS)) and name.endswith(_GENERATED)
    ]
    packages = {
        ".".join(parts[:depth])
        for parts in (name.split(".") for name in generated)
        for depth in range(1, len(parts))
    }
    packages.discard("tensorflow")
    files = (getattr(sys.modules[name], "__file__", None) for name in [*generated, *packages])
    return sorted(Path(file) for file in files if file)


__all__ = [
    "AnyMessage",
    "BundleEntryProto",
    "BundleHeaderProto",
    "ClassificationRequest",
    "ClassificationResponse",
    "DataType",
    "FileSystemStoragePathSourceConfig",
    "FingerprintDef",
    "GetModelMetadataRequest",
    "GetModelMetadataResponse",
    "GetModelStatusRequest",
    "GetModelStatusResponse",
    "GraphDef",
    "Int64Value",
    "LoggingConfig",
    "MetaGraphDef",
    "ModelConfig",
    "ModelConfigList",
    "ModelServerConfig",
    "ModelServiceServicer",
    "ModelServiceStub",
    "ModelSpec",
    "ModelVersionStatus",
    "MultiInferenceRequest",
    "MultiInferenceResponse",
    "PredictLog",
    "PredictRequest",
    "PredictResponse",
    "PredictionLog",
    "PredictionServiceServicer",
    "PredictionServiceStub",
    "RegressionRequest",
    "RegressionResponse",
    "ReloadConfigRequest",
    "ReloadConfigResponse",
    "SavedModel",
    "SignatureDef",
    "SignatureDefMap",
    "StatusProto",
    "TensorInfo",
    "TensorProto",
    "TensorShapeProto",
    "add_ModelServiceServicer_to_server",
    "add_PredictionServiceServicer_to_server",
    "module_files",
]
