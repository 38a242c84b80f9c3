"""Looks at sources: asks DNS, reads files of addresses. A look that fails says so and why.

The DNS library is read when the first name is looked up: most control planes never do.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from control_plane.domain.address import Address, check_host
from control_plane.domain.discovery import Answer
from control_plane.domain.errors import FieldInvalid
from control_plane.domain.source import MOST_ADDRESSES, Source, SourceKind, parse_addresses

LOOKUP_S: Final = 4.0
_FILE_BYTES: Final = 1 << 20
_PAYLOAD_BYTES: Final = 1_232  # what passes every network unbroken
_THREADS: Final = 4  # a hung file system takes these and no more
_TYPES: Final = {"any": ("A", "AAAA"), "ipv4": ("A",), "ipv6": ("AAAA",)}


class _Failed(Exception):
    """The look brought back nothing to go by; the message says why."""


class Lookup:
    """Looks at sources, each at most once at a time."""

    def __init__(self, dns_servers: Sequence[Address] = (), *, timeout_s: float = LOOKUP_S) -> None:
        """Ask these DNS servers; without any, those that the machine is set to."""
        self.timeout_s = timeout_s
        self._dns_servers = dns_servers
        self._threads: ThreadPoolExecutor | None = None
        self._reading: dict[str, asyncio.Future[Answer]] = {}

    async def find(self, source: Source) -> Answer:
        """Look once, for `timeout_s` at most."""
        try:
            async with asyncio.timeout(self.timeout_s):
                if source.kind is SourceKind.FILE:
                    return await self._read(source.path)
                return Answer(frozenset(await self._ask(source)))
        except TimeoutError:
            who = "the file" if source.kind is SourceKind.FILE else "DNS"
            return Answer(fault=f"{who} did not answer within {self.timeout_s:g} s")
        except _Failed as failed:
            return Answer(fault=str(failed))

    def close(self) -> None:
        """Give up what runs; a thread that hangs is left behind."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _read(self, path: str) -> Answer:
        """A read that hangs is waited for again, not begun twice."""
        if path not in self._reading:
            self._threads = self._threads or ThreadPoolExecutor(_THREADS, "sources")
            loop = asyncio.get_running_loop()
            self._reading[path] = loop.run_in_executor(self._threads, _addresses, path)
            self._reading[path].add_done_callback(lambda _: self._reading.pop(path, None))
        return await asyncio.shield(self._reading[path])

    async def _ask(self, source: Source) -> set[Address]:
        if source.kind is SourceKind.SRV:
            return _targets(await self._records(source.host, "SRV"))
        kinds = _TYPES[source.family]
        found = await asyncio.gather(*(self._records(source.host, one) for one in kinds))
        port = source.port or 0
        addresses = {Address(check_host("host", str(one)), port) for some in found for one in some}
        return _few(addresses)

    async def _records(self, host: str, kind: str) -> list[Any]:
        """Every record of a name; none where the name does not exist."""
        import dns.exception
        import dns.resolver

        try:
            resolver = self._resolver()
            answer = await resolver.resolve(
                host, kind, search=True, lifetime=self.timeout_s, raise_on_no_answer=False
            )
        except dns.resolver.NXDOMAIN:
            return []
        except dns.exception.Timeout:
            raise TimeoutError from None
        except dns.resolver.NoNameservers:
            raise _Failed("DNS answers with an error, as if it were out of order") from None
        except (dns.exception.DNSException, OSError) as error:
            raise _Failed(f"DNS cannot be asked: {type(error).__name__}") from None
        return list(answer.rrset or ())

    def _resolver(self) -> Any:
        """A new one each time, so that what the machine is set to may change."""
        import dns.asyncresolver
        import dns.nameserver

        if not self._dns_servers:
            resolver = dns.asyncresolver.Resolver()
        else:
            resolver = dns.asyncresolver.Resolver(configure=False)
            servers = [
                dns.nameserver.Do53Nameserver(one.host, one.port) for one in self._dns_servers
            ]
            resolver.nameservers = servers
        resolver.use_edns(0, 0, _PAYLOAD_BYTES)
        return resolver


def _targets(records: Sequence[Any]) -> set[Address]:
    """The targets of SRV records; a lone dot says that there is no such service."""
    named = [(one.target.to_text(omit_final_dot=True), one.port) for one in records]
    try:
        addresses = {Address(check_host("host", host), port) for host, port in named if host != "."}
    except FieldInvalid as error:
        raise _Failed(f"a target is no host: {error.message}") from None
    return _few(addresses)


def _few(addresses: set[Address]) -> set[Address]:
    if len(addresses) > MOST_ADDRESSES:
        raise _Failed(f"there are more than {MOST_ADDRESSES} addresses")
    return addresses


def _addresses(path: str) -> Answer:
    try:
        with Path(path).open("rb") as file:
            content = file.read(_FILE_BYTES + 1)
        if len(content) > _FILE_BYTES:
            return Answer(fault=f"the file is larger than {_FILE_BYTES} bytes")
        return Answer(frozenset(parse_addresses(content.decode())))
    except OSError as error:
        return Answer(fault=f"the file cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        return Answer(fault="the file is no text")
    except FieldInvalid as error:
        return Answer(fault=error.message.removeprefix("path: "))
