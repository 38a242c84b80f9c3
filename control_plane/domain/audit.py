"""The audit chain: who changed what, each record sealed together with the seal of the one before.

A seal is an HMAC-SHA256 over all of a record, its number and the seal before it. Without the key
nobody makes a record, so none is changed, taken out, moved or put in between unseen. Records cut
off at the end are missed by the chain's head, and by anchors: heads that were written elsewhere.
"""

import hashlib
import hmac
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from json.encoder import encode_basestring
from typing import Any, Final, NamedTuple

_MOST_FAULTS: Final = 100  # that are told one by one
_AT: Final = "%Y-%m-%dT%H:%M:%S.%fZ"
_MASKED: Final = "***"
_plain = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True, default=str
).encode
_line = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Record(NamedTuple):
    """One record, as it is stored; its seal is over everything before it."""

    seq: int
    at: str  # UTC by the database's clock, of one width, so that texts sort as times do
    actor: str
    token: str  # id
    address: str  # of the client
    request: str  # id
    call: str  # method and path
    document: str  # canonical JSON: `events` and `changes` with `before` and `after`
    key: str  # which key sealed it
    prev: str
    seal: str = ""


class Head(NamedTuple):
    """The number and the seal of the newest record; before the first, 0 and ""."""

    seq: int
    seal: str


@dataclass(frozen=True, slots=True)
class Kept:
    """How the chain lies in the store: its head, and up to where it was forgotten, sealed too."""

    head: Head
    forgotten: Head
    forgotten_key: str = ""
    forgotten_seal: str = ""


class Keys:
    """The keys of the chain; the first one seals, the others are of before."""

    def __init__(self, first: str, *others: str) -> None:
        self._secrets = {_fingerprint(one): one.encode() for one in (first, *others)}
        self._keyed = {id_: hmac.new(one, digestmod="sha256") for id_, one in self._secrets.items()}
        self.id = _fingerprint(first)

    def sealed(self, record: Record) -> Record:
        """Return a record with our key's name and its seal."""
        named = record._replace(key=self.id)
        return named._replace(seal=self.seal_of(named))

    def seal_of(self, record: Sequence[Any]) -> str:
        """Return the seal that a record should have; "" where we do not have its key."""
        keyed = self._keyed.get(record[8])
        if keyed is None:
            return ""
        made = keyed.copy()
        made.update(_text(record).encode())
        return made.hexdigest()

    def forgotten(self, up_to: Head) -> tuple[str, str]:
        """Return the name of a key and its seal on what was forgotten."""
        return self.id, _sealed(self._secrets[self.id], _line(["forgotten", *up_to]))

    def admits(self, kept: Kept) -> bool:
        """Whether somebody with one of our keys forgot what is forgotten."""
        secret = self._secrets.get(kept.forgotten_key)
        if secret is None:
            return kept.forgotten == Head(0, "")
        return kept.forgotten_seal == _sealed(secret, _line(["forgotten", *kept.forgotten]))


@dataclass(slots=True)
class Checker:
    """Goes along the chain; `faults` says what is wrong with it."""

    keys: Keys
    kept: Kept
    anchors: Mapping[int, Collection[str]] = field(default_factory=dict)  # seals by number
    checked: int = 0
    wrong: int = 0
    faults: list[str] = field(default_factory=list)
    _seq: int = 0
    _seal: str = ""

    def __post_init__(self) -> None:
        """Begin where the chain does."""
        self._seq, self._seal = self.kept.forgotten
        if not self.keys.admits(self.kept):
            self._say(f"records up to {self._seq} are gone, and nobody with a key forgot them")

    def take(self, records: Iterable[Sequence[Any]]) -> None:
        """Check the next records, each in the order of `Record`."""
        for one in records:
            self.checked += 1
            if fault := self._fault(one):
                self._say(f"record {one[0]}: {fault}")
            self._seq, self._seal = one[0], one[10]

    def end(self, head: Head) -> None:
        """Check that the last record is the head, and that nothing is anchored beyond it."""
        if (self._seq, self._seal) != head:
            self._say(f"the chain ends at {self._seq}, and its head is {head.seq}")
        for seq in sorted(one for one in self.anchors if one > self._seq):
            self._say(f"record {seq} was anchored, and the chain ends at {self._seq}")

    def _fault(self, one: Sequence[Any]) -> str:
        if one[0] != self._seq + 1:
            return f"it follows {self._seq}"
        if one[9] != self._seal:
            return "what it says of the record before is not so"
        seal = self.keys.seal_of(one)
        if not seal:
            return f"there is no key {one[8][:32]!r}"
        if seal != one[10]:
            return "its seal is not its own"
        if one[0] in self.anchors and any(seal != other for other in self.anchors[one[0]]):
            return "another record of this number was anchored"
        return ""

    def _say(self, fault: str) -> None:
        self.wrong += 1
        if len(self.faults) < _MOST_FAULTS:
            self.faults.append(fault)


def moment(at: datetime) -> str:
    """Write a time as records have it."""
    return at.astimezone(UTC).strftime(_AT)


def document(events: Sequence[Mapping[str, Any]], changes: Sequence[Mapping[str, Any]]) -> str:
    """Write what a transaction did as canonical JSON; values of headers are masked."""
    return _plain({"events": events, "changes": _masked(changes)})


def anchor_line(head: Head, at: str) -> str:
    """Write a head as a line of an anchor file."""
    return f"{head.seq} {head.seal} {at}"


def anchors(lines: Iterable[str]) -> dict[int, set[str]]:
    """Read the lines of an anchor file; one that a crash cut off says nothing."""
    found: dict[int, set[str]] = {}
    for line in lines:
        words = line.split()
        if len(words) == 3 and words[0].isdigit() and len(words[1]) == 64:
            found.setdefault(int(words[0]), set()).add(words[1])
    return found


def _masked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            str(name): _mask(one) if name == "headers" else _masked(one)
            for name, one in value.items()
        }
    if isinstance(value, list | tuple):
        return [_masked(one) for one in value]
    return value


def _mask(value: Any) -> Any:
    return dict.fromkeys(value, _MASKED) if isinstance(value, Mapping) else _MASKED


def _text(record: Sequence[Any]) -> str:
    """Write what a seal is over as a JSON array."""
    texts = ",".join([encode_basestring(str(one)) for one in record[1:10]])
    return f"[{record[0]},{texts}]"


def _sealed(secret: bytes, text: str) -> str:
    return hmac.digest(secret, text.encode(), "sha256").hex()


def _fingerprint(key: str) -> str:
    return hashlib.sha256(f"audit key {key}".encode()).hexdigest()[:16]
