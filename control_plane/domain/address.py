"""Addresses of servers: `host:port`, in one spelling each, so that no server is known twice."""

import hashlib
import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from control_plane.domain.errors import FieldInvalid

_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\Z")
_LONGEST_HOST: Final = 253
_LONGEST_NAME: Final = 128
_HINT: Final = "host:port of its gRPC, such as 10.0.0.7:8500 or [fd00::7]:8500"


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Where something listens; `host` is lower case, an IPv6 one without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def server_name(self) -> str:
        """The name of a server that nobody gave one: `[fd00::7]:8500` -> `fd00--7-8500`."""
        name = re.sub(r"[^A-Za-z0-9._-]", "-", f"{self.host}-{self.port}").lstrip(".-")
        if len(name) <= _LONGEST_NAME:
            return name
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        return f"{name[: _LONGEST_NAME - 9]}-{digest}"


def parse_address(field: str, text: str) -> Address:
    """Read `host:port`.

    Raises:
        FieldInvalid: it is not one.
    """
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not re.fullmatch(r"[0-9]{1,5}", port) or bracketed is not (":" in host):
        raise FieldInvalid(field, f"{text[:80]!r} is not an address", hint=_HINT)
    if not 1 <= int(port) <= 65_535:
        raise FieldInvalid(field, f"{port} is not a port", hint=_HINT)
    return Address(check_host(field, host[1:-1] if bracketed else host, _HINT), int(port))


def check_host(field: str, text: str, hint: str = "a DNS name or an IP address") -> str:
    """Return a DNS name or an IP address in its one spelling.

    Raises:
        FieldInvalid: it is neither.
    """
    host = text.lower().removesuffix(".")
    if ":" in host or re.fullmatch(r"[0-9.]+", host):
        try:
            return str(ipaddress.ip_address(host))
        except ValueError:
            raise FieldInvalid(field, f"{text[:80]!r} is not an IP address", hint=hint) from None
    if len(host) > _LONGEST_HOST or not all(_LABEL.match(one) for one in host.split(".")):
        raise FieldInvalid(field, f"{text[:80]!r} is not a host", hint=hint)
    return host


def parse_ip_addresses(field: str, text: str) -> tuple[Address, ...]:
    """Read `host:port` of hosts that need no lookup, with commas between.

    Raises:
        FieldInvalid: one is not an IP address with a port.
    """
    found = tuple(parse_address(field, one.strip()) for one in text.split(",") if one.strip())
    for one in found:
        try:
            ipaddress.ip_address(one.host)
        except ValueError:
            raise FieldInvalid(field, f"{one.host} is not an IP address", hint=_HINT) from None
    return found
