"""Makes the example SavedModels with TensorFlow: `python examples/make_models.py FOLDER`.

half_plus_two/1 2 3   x -> y = x/2 + 2, x/2 + 102, x/2 + 202: the answer names its version
sentiment/1 2         words [-1, -1] string, nwords [-1] int32 -> labels, classes_id, softmax

Each version is written aside and renamed into place, so that nobody ever sees half of one; what is
there already is kept.
"""

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

OFFSETS: Mapping[int, float] = {1: 2.0, 2: 102.0, 3: 202.0}
SHARPNESS: Mapping[int, float] = {1: 1.0, 2: 1.25}
NEGATIVE, POSITIVE = "NEG", "POS"
# What a word says for (NEG, POS); words that are not here say nothing.
VOCABULARY: Mapping[str, tuple[float, float]] = {
    "很": (0.1, 0.1),
    "非常": (0.2, 0.2),
    "喜欢": (-1.0, 2.0),
    "好": (-0.8, 1.5),
    "棒": (-0.9, 1.8),
    "满意": (-0.7, 1.6),
    "垃圾": (2.2, -1.0),
    "差": (1.6, -0.8),
    "讨厌": (2.0, -1.0),
    "失望": (1.7, -0.7),
    "very": (0.1, 0.1),
    "good": (-0.8, 1.5),
    "great": (-0.9, 1.8),
    "love": (-1.0, 2.0),
    "like": (-0.6, 1.1),
    "bad": (1.6, -0.8),
    "terrible": (2.1, -1.0),
    "hate": (2.0, -1.0),
    "garbage": (2.2, -1.0),
    "boring": (1.2, -0.5),
}


def half_plus_two(offset: float) -> Any:
    """Return a module that answers y = x/2 + offset."""
    module = tf.Module()
    module.offset = tf.Variable(offset)
    module.serve = tf.function(
        lambda x: {"y": 0.5 * x + module.offset},
        input_signature=[tf.TensorSpec([None], tf.float32, name="x")],
    )
    return module


def sentiment(sharpness: float) -> Any:
    """Return a module that adds up what the first `nwords` of each row's words say."""
    module = tf.Module()
    module.weights = tf.Variable(list(VOCABULARY.values()))
    module.sharpness = tf.Variable(sharpness)
    known = tf.constant(list(VOCABULARY))
    names = tf.constant([NEGATIVE, POSITIVE])

    def serve(words: Any, nwords: Any) -> dict[str, Any]:
        counted = tf.sequence_mask(nwords, tf.shape(words)[1], dtype=tf.float32)
        hits = tf.cast(words[:, :, tf.newaxis] == known, tf.float32) * counted[:, :, tf.newaxis]
        said = tf.linalg.matmul(tf.reduce_sum(hits, axis=1), module.weights)
        softmax = tf.nn.softmax(module.sharpness * said)
        classes_id = tf.argmax(softmax, axis=1, output_type=tf.int32)
        return {
            "labels": tf.gather(names, classes_id),
            "classes_id": classes_id,
            "softmax": softmax,
        }

    words = tf.TensorSpec([None, None], tf.string, name="words")
    nwords = tf.TensorSpec([None], tf.int32, name="nwords")
    module.serve = tf.function(serve, input_signature=[words, nwords])
    return module


def warmup_request() -> bytes:
    """Return a recorded `half_plus_two` request, which servers replay when they load it."""
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = "half_plus_two"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0, 2.0], dtype=tf.float32))
    return bytes(log.SerializeToString())


def save(folder: Path, build: Callable[[], Any], warmup: bytes = b"") -> None:
    """Write one version, unless it is there already."""
    if folder.exists():
        return
    aside = folder.with_name(f".{folder.name}-{os.getpid()}")
    module = build()
    tf.saved_model.save(module, str(aside), signatures={"serving_default": module.serve})
    if warmup:
        extra = aside / "assets.extra"
        extra.mkdir()
        with tf.io.TFRecordWriter(str(extra / "tf_serving_warmup_requests")) as records:
            records.write(warmup)
    aside.rename(folder)


def make(models: Path) -> None:
    """Make every example version under the folder."""
    for version, offset in OFFSETS.items():
        folder = models / "half_plus_two" / str(version)
        save(folder, partial(half_plus_two, offset), warmup_request())
    for version, sharpness in SHARPNESS.items():
        save(models / "sentiment" / str(version), partial(sentiment, sharpness))


if __name__ == "__main__":
    make(Path(sys.argv[1] if len(sys.argv) > 1 else "models"))
