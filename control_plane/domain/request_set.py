"""Request sets: recorded requests to a model, kept so that gates can replay them."""

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Final

SET_NAME_PATTERN: Final = r"^[a-z0-9][a-z0-9._-]{0,63}$"
MOST_BYTES: Final = 16 << 20
MOST_RECORDS: Final = 1_000  # as many as a server replays of a version's own file


class Form(enum.StrEnum):
    """How the requests of a set are written."""

    TFRECORD = "tfrecord"  # of PredictionLog, as a version's warm-up file
    JSON = "json"  # on each line, a predict body of TensorFlow Serving's REST API


@dataclass(frozen=True, slots=True)
class RequestSet:
    """What is known of a set without its requests; it never changes."""

    model: str
    name: str
    form: Form
    records: int
    size_bytes: int
    sha256: str  # of what was uploaded
    created_at: datetime
    created_by: str
