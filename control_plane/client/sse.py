"""Server-sent events: lines to events, pure."""

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Streamed:
    """One event of the stream; `kind` is `reset` when what was missed is no longer kept."""

    kind: str
    id: str
    data: Any


@dataclass(slots=True)
class Parser:
    """Collects the lines of an event until the empty line that ends it."""

    last_id: str = ""  # of the last event that was complete: where to resume
    _id: str = ""
    _kind: str = ""
    _data: list[str] = field(default_factory=list)

    def restart(self) -> None:
        """Forget an event that was cut in the middle."""
        self._id, self._kind, self._data = self.last_id, "", []

    def feed(self, line: str) -> Streamed | None:
        """Take the next line; return the event that it completes, if it does."""
        if not line:
            return self._complete()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "id":
                self._id = value
            case "event":
                self._kind = value
            case "data":
                self._data.append(value)
            case _:
                pass  # comments, which keep the connection alive, and fields of the future
        return None

    def _complete(self) -> Streamed | None:
        kind, data = self._kind or "message", "\n".join(self._data)
        self.last_id, self._kind, self._data = self._id, "", []
        return Streamed(kind, self.last_id, json.loads(data)) if data else None
