"""Looks at sources: a real DNS server on loopback, real files."""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dns.rcode
import pytest

from control_plane.domain.discovery import Answer
from control_plane.domain.source import Source, SourceKind
from control_plane.serving.lookup import Lookup
from tests.contract.name_server import NameServer, name_server

NAME = "serving.models.svc.cluster.local"


def a_source(kind: SourceKind, **more: Any) -> Source:
    return Source("default", "s", kind, datetime(2026, 1, 1, tzinfo=UTC), **more)


DNS = a_source(SourceKind.DNS, host=NAME, port=8500)
SRV = a_source(SourceKind.SRV, host=f"_grpc._tcp.{NAME}")


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    async with name_server() as running:
        yield running


async def found(names: NameServer, source: Source) -> Answer:
    return await Lookup([names.address]).find(source)


async def listed(names: NameServer, source: Source) -> list[str]:
    answer = await found(names, source)
    assert not answer.fault
    return sorted(str(one) for one in answer.addresses)


async def test_every_address_of_a_name_is_a_server(names: NameServer) -> None:
    names.records[NAME] = {"A": ["10.0.0.7", "10.0.0.8"], "AAAA": ["fd00:0::7"]}
    assert await listed(names, DNS) == ["10.0.0.7:8500", "10.0.0.8:8500", "[fd00::7]:8500"]


@pytest.mark.parametrize(("family", "kind"), [("ipv4", "A"), ("ipv6", "AAAA")])
async def test_one_family_alone_may_be_asked_for(names: NameServer, family: Any, kind: str) -> None:
    names.records[NAME] = {"A": ["10.0.0.7"], "AAAA": ["fd00::7"]}
    source = a_source(SourceKind.DNS, host=NAME, port=8500, family=family)
    assert len(await listed(names, source)) == 1
    assert {one for _, one in names.asked} == {kind}


async def test_many_addresses_fit_into_one_answer(names: NameServer) -> None:
    names.records[NAME] = {"A": [f"10.0.1.{number}" for number in range(60)]}
    assert len(await listed(names, DNS)) == 60


async def test_srv_records_tell_the_ports_too(names: NameServer) -> None:
    targets = [f"0 0 8500 TF-0.{NAME}.", f"0 0 8510 tf-1.{NAME}."]
    names.records[SRV.host] = {"SRV": targets}
    assert await listed(names, SRV) == [f"tf-0.{NAME}:8500", f"tf-1.{NAME}:8510"]


async def test_a_service_that_is_said_not_to_be_there_lists_nothing(names: NameServer) -> None:
    names.records[SRV.host] = {"SRV": ["0 0 0 ."]}
    assert await found(names, SRV) == Answer()


async def test_a_name_that_does_not_exist_and_one_without_records_list_nothing(
    names: NameServer,
) -> None:
    assert await found(names, DNS) == Answer()
    names.records[NAME] = {"TXT": ["x"]}
    assert await found(names, DNS) == Answer()


async def test_a_dns_server_out_of_order_is_a_fault_and_not_an_empty_list(
    names: NameServer,
) -> None:
    names.records[NAME] = {"A": ["10.0.0.7"]}
    names.rcode = dns.rcode.SERVFAIL
    assert "as if it were out of order" in (await found(names, DNS)).fault
    names.rcode = dns.rcode.NOERROR
    assert await listed(names, DNS) == ["10.0.0.7:8500"]


async def test_a_dns_server_that_does_not_answer_is_a_fault(names: NameServer) -> None:
    names.silent = True
    answer = await Lookup([names.address], timeout_s=0.2).find(DNS)
    assert "did not answer within 0.2 s" in answer.fault


async def test_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    file, looking = tmp_path / "servers", Lookup()
    source = a_source(SourceKind.FILE, path=str(file))
    file.write_text("# blue\n10.0.0.7:8500\n\nmodels.example:8500  # green\n")
    first = await looking.find(source)
    assert {str(one) for one in first.addresses} == {"10.0.0.7:8500", "models.example:8500"}
    file.write_text("")
    assert await looking.find(source) == Answer()
    looking.close()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"10.0.0.7:8500\nroot:secret\n", "line 2 is no address"),
        (b"10.0.0.7:8500\n\n10.0.0.7:08500\n", "line 3 is the address of line 1"),
        (b"\xff\xfe", "no text"),
        (b"#" * (1 << 20) + b"\n", "larger than"),
        (b"".join(b"h:%d\n" % number for number in range(1, 10_002)), "more than 10000"),
    ],
)
async def test_a_file_that_is_wrong_somewhere_lists_nothing_and_is_not_quoted(
    tmp_path: Path, content: bytes, fault: str
) -> None:
    file = tmp_path / "servers"
    file.write_bytes(content)
    answer = await Lookup().find(a_source(SourceKind.FILE, path=str(file)))
    assert fault in answer.fault
    assert "secret" not in answer.fault
    assert not answer.addresses


async def test_a_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    answer = await Lookup().find(a_source(SourceKind.FILE, path=str(tmp_path / "none")))
    assert "cannot be read: No such file" in answer.fault


async def test_a_file_that_hangs_is_waited_for_again_and_not_opened_twice(
    tmp_path: Path,
) -> None:
    pipe, looking = tmp_path / "pipe", Lookup(timeout_s=0.1)
    os.mkfifo(pipe)
    source = a_source(SourceKind.FILE, path=str(pipe))
    for _ in range(2):
        assert "did not answer" in (await looking.find(source)).fault
    looking.timeout_s = 10.0
    waiting = asyncio.create_task(looking.find(source))
    writer = await asyncio.to_thread(pipe.open, "w")
    with writer:
        writer.write("10.0.0.7:8500\n")
    assert [str(one) for one in (await waiting).addresses] == ["10.0.0.7:8500"]
    looking.close()
