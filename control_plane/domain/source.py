"""Sources: where the servers of a fleet are found, when somebody else knows which there are."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal

from control_plane.domain.address import Address, check_host, parse_address
from control_plane.domain.errors import FieldInvalid
from control_plane.domain.fleet import ServerFlags

GRACE_S: Final = 300.0
MOST_ADDRESSES: Final = 10_000
Family = Literal["any", "ipv4", "ipv6"]


class SourceKind(enum.StrEnum):
    """Where to look."""

    DNS = "dns"  # every A and AAAA record of a name, at one port: a headless service
    SRV = "srv"  # every SRV record of a name: its target and its port
    FILE = "file"  # a text file of addresses


@dataclass(frozen=True, slots=True)
class Source:
    """Where servers of a fleet are found, and what is taken to be so of each that is new."""

    fleet: str
    name: str
    kind: SourceKind
    created_at: datetime
    created_by: str = ""
    host: str = ""  # the DNS name
    path: str = ""  # the file, as we see it
    port: int | None = None  # of gRPC, where the source does not tell
    family: Family = "any"
    grace_s: float = GRACE_S  # how long a server may be missing before it is forgotten
    take_over: bool = False  # False: as the fleet's setting is
    memory_bytes: int | None = None
    rest_port: int | None = None
    flags: ServerFlags = field(default_factory=ServerFlags)
    rv: int = 1

    @property
    def place(self) -> str:
        """Where it looks, in a word."""
        return self.path if self.kind is SourceKind.FILE else self.host

    @property
    def field(self) -> str:
        """The field that says where it looks."""
        return "path" if self.kind is SourceKind.FILE else "host"


@dataclass(frozen=True, slots=True)
class Report:
    """What came of looking: written when it changes."""

    fault: str = ""  # why nothing is concluded from the last look; "" when it was good
    addresses: tuple[str, ...] = ()  # by the last good look
    missing: Mapping[str, datetime] = field(default_factory=dict)  # servers, by address, since when
    refused: Mapping[str, str] = field(default_factory=dict)  # addresses that cannot be, and why
    left: Mapping[str, datetime] = field(
        default_factory=dict
    )  # addresses that were ours, till when


def check_source(source: Source) -> Source:
    """Return a source whose fields fit its kind, each in its one spelling.

    Raises:
        FieldInvalid: one is missing, does not go with the kind, or is not what it should be.
    """
    needed, taken = _FIELDS[source.kind]
    for name in ("host", "path", "port"):
        given = getattr(source, name)
        if name in needed and not given:
            raise FieldInvalid(name, f"a source of the kind {source.kind} needs it")
        if name not in taken and given:
            raise FieldInvalid(name, f"a source of the kind {source.kind} takes none")
    if source.family != "any" and source.kind is not SourceKind.DNS:
        raise FieldInvalid("family", f"a source of the kind {source.kind} takes none")
    if source.kind is SourceKind.FILE:
        if not source.path.startswith("/") or "\x00" in source.path:
            raise FieldInvalid("path", "it is not absolute", hint="the path as we see it")
        return source
    host = check_host("host", source.host, "a DNS name, such as serving.models.svc")
    if ":" in host or host.replace(".", "").isdigit():
        raise FieldInvalid("host", "this is an address, not a name", hint="`tfsctl server add`")
    return replace(source, host=host)


_FIELDS: Final[Mapping[SourceKind, tuple[frozenset[str], frozenset[str]]]] = {
    SourceKind.DNS: (frozenset({"host", "port"}), frozenset({"host", "port"})),
    SourceKind.SRV: (frozenset({"host"}), frozenset({"host"})),
    SourceKind.FILE: (frozenset({"path"}), frozenset({"path"})),
}


def parse_addresses(text: str) -> tuple[Address, ...]:
    """Read a file of addresses: one in each line, `#` begins a comment.

    A line that is wrong spoils the whole file: what is missing from the rest would look as if it
    had left. Messages name lines and never what they hold, since the file may be any.

    Raises:
        FieldInvalid: a line is no address, or is there twice; there are too many.
    """
    found: dict[Address, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        written = line.partition("#")[0].strip()
        if not written:
            continue
        try:
            address = parse_address("path", written)
        except FieldInvalid as error:
            raise FieldInvalid("path", f"line {number} is no address", hint=error.hint) from None
        if address in found:
            raise FieldInvalid("path", f"line {number} is the address of line {found[address]}")
        found[address] = number
    if len(found) > MOST_ADDRESSES:
        raise FieldInvalid("path", f"there are more than {MOST_ADDRESSES} addresses")
    return tuple(found)
