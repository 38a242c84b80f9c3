"""Makes the SavedModels beside this file (needs TensorFlow; they are kept, so this rarely runs).

python tests/models/make.py

half_plus_two/1 2 3   x -> y = x/2 + 2, x/2 + 102, x/2 + 202: the answer names its version
scaled/1              x and scale, both double -> y = scale * (x/2 + 2)
two_signatures/1      serving_default (x/2 + 2) and times_three (3x)
sentiment/1           words [-1, -1] string, nwords [-1] int32 -> classes_id, labels, softmax
perturbed/1           sentiment with another weight: every answer that is no tie is the opposite
warmed_up/1           half_plus_two with a valid assets.extra/tf_serving_warmup_requests
every_type/1          a scalar of unknown rank, int64, bool and bytes in and out
stateless/1           no variables at all: x -> y = 2x
corrupt/1             saved_model.pb is not a SavedModel
no_variables/1        half_plus_two without its variables/ folder
bad_variables/1       half_plus_two with a variable file cut short: restoring it fails
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

_WARMUP = "tf_serving_warmup_requests"
_DATA = "variables.data-00000-of-00001"


def line(slope: float, offset: float) -> Any:
    module = tf.Module()
    module.slope, module.offset = tf.Variable(slope), tf.Variable(offset)
    module.call = _function(lambda x: {"y": module.slope * x + module.offset}, x=tf.float32)
    return module


def scaled() -> Any:
    module = tf.Module()
    module.offset = tf.Variable(2.0, dtype=tf.float64)
    module.call = _function(
        lambda x, scale: {"y": scale * (0.5 * x + module.offset)}, x=tf.float64, scale=tf.float64
    )
    return module


def sentiment(weight: float = 1.0) -> Any:
    module = tf.Module()
    module.weight = tf.Variable(weight)

    def classify(words: Any, nwords: Any) -> dict[str, Any]:
        real = tf.sequence_mask(nwords, tf.shape(words)[1], dtype=tf.float32)
        hits = [tf.cast(words == word, tf.float32) for word in ("垃圾", "喜欢")]
        counts = [tf.reduce_sum(real * hit, 1) for hit in hits]
        softmax = tf.nn.softmax(module.weight * tf.stack(counts, axis=1))
        classes_id = tf.argmax(softmax, axis=1, output_type=tf.int32)
        labels = tf.where(classes_id == 1, "POS", "NEG")
        return {"classes_id": classes_id, "labels": labels, "softmax": softmax}

    words = tf.TensorSpec([None, None], tf.string, name="words")
    nwords = tf.TensorSpec([None], tf.int32, name="nwords")
    module.call = tf.function(classify, input_signature=[words, nwords])
    return module


def every_type() -> Any:
    module = tf.Module()
    specs = [
        tf.TensorSpec(None, tf.float32, name="any_rank"),
        tf.TensorSpec([None], tf.int64, name="long"),
        tf.TensorSpec([None, 2], tf.bool, name="pair"),
        tf.TensorSpec([], tf.string, name="raw"),
    ]

    def echo(any_rank: Any, long: Any, pair: Any, raw: Any) -> dict[str, Any]:
        return {
            "any_rank": any_rank + 0.0,
            "long": long + 1,
            "pair": tf.logical_not(pair),
            "raw_bytes": tf.strings.join([raw, "!"]),
        }

    module.call = tf.function(echo, input_signature=specs)
    return module


def stateless() -> Any:
    module = tf.Module()
    module.call = _function(lambda x: {"y": 2.0 * x}, x=tf.float32)
    return module


def _function(call: Callable[..., Any], **inputs: Any) -> Any:
    specs = [tf.TensorSpec([None], dtype, name=name) for name, dtype in inputs.items()]
    return tf.function(call, input_signature=specs)


def save(module: Any, folder: Path, **signatures: Any) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    options = tf.saved_model.SaveOptions(save_debug_info=False, experimental_custom_gradients=False)
    signatures = signatures or {"serving_default": module.call}
    tf.saved_model.save(module, str(folder), signatures=signatures, options=options)
    shutil.rmtree(folder / "assets", ignore_errors=True)  # empty: git would drop it


def write_warmup(folder: Path) -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "warmed_up"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0, 2.0], dtype=tf.float32))
    predicted = prediction_log_pb2.PredictLog(request=request)
    folder.mkdir()
    with tf.io.TFRecordWriter(str(folder / _WARMUP)) as records:
        records.write(prediction_log_pb2.PredictionLog(predict_log=predicted).SerializeToString())


def make(models: Path) -> None:
    for version, offset in {1: 2.0, 2: 102.0, 3: 202.0}.items():
        save(line(0.5, offset), models / "half_plus_two" / str(version))
    save(scaled(), models / "scaled" / "1")
    save(sentiment(), models / "sentiment" / "1")
    save(sentiment(-1.0), models / "perturbed" / "1")
    save(every_type(), models / "every_type" / "1")
    save(stateless(), models / "stateless" / "1")
    half, triple = line(0.5, 2.0), line(3.0, 0.0)
    half.triple = triple
    both = {"serving_default": half.call, "times_three": triple.call}
    save(half, models / "two_signatures" / "1", **both)
    _spoil(models)


def _spoil(models: Path) -> None:
    for copy in ("warmed_up", "corrupt", "no_variables", "bad_variables"):
        shutil.rmtree(models / copy, ignore_errors=True)
        shutil.copytree(models / "half_plus_two" / "1", models / copy / "1")
    write_warmup(models / "warmed_up" / "1" / "assets.extra")
    junk = b"\x0a\xff\xffthis is not a SavedModel\n" * 20
    (models / "corrupt" / "1" / "saved_model.pb").write_bytes(junk)
    shutil.rmtree(models / "no_variables" / "1" / "variables")
    data = models / "bad_variables" / "1" / "variables" / _DATA
    data.write_bytes(data.read_bytes()[:2])


if __name__ == "__main__":
    make(Path(__file__).parent)
