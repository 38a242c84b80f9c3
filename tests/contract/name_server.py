"""A DNS server on loopback that answers what a test tells it to, over UDP."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from control_plane.domain.address import Address


class NameServer(asyncio.DatagramProtocol):
    """Names and their records, by type; a name without any does not exist."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, list[str]]] = {}
        self.rcode = dns.rcode.NOERROR  # of every answer, when it is another
        self.silent = False
        self.asked: list[tuple[str, str]] = []
        self.address = Address("127.0.0.1", 0)
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.address = Address(*transport.get_extra_info("sockname")[:2])

    def datagram_received(self, data: bytes, source: tuple[Any, ...]) -> None:
        query = dns.message.from_wire(data)
        (question,) = query.question
        name, kind = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        if self.silent:
            return
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        found = self.records.get(name.removesuffix("."))
        there = dns.rcode.NXDOMAIN if found is None else dns.rcode.NOERROR
        response.set_rcode(self.rcode or there)
        if found and found.get(kind) and not self.rcode:
            response.answer.append(dns.rrset.from_text(name, 1, "IN", kind, *found[kind]))
        self._transport.sendto(response.to_wire(), source)


@asynccontextmanager
async def name_server() -> AsyncIterator[NameServer]:
    """One until the block ends, at a port of its own."""
    loop = asyncio.get_running_loop()
    end = ("127.0.0.1", 0)
    transport, server = await loop.create_datagram_endpoint(
        NameServer, local_addr=end, family=socket.AF_INET
    )
    try:
        yield server
    finally:
        transport.close()
