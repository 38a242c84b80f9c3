"""Sources whose fields fit, and addresses in their one spelling."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.address import Address, parse_address, parse_ip_addresses
from control_plane.domain.catalog import check_name
from control_plane.domain.errors import FieldInvalid
from control_plane.domain.source import Source, SourceKind, check_source

GOOD: dict[SourceKind, dict[str, Any]] = {
    SourceKind.DNS: {"host": "serving.models.svc", "port": 8500},
    SourceKind.SRV: {"host": "_grpc._tcp.serving.models.svc"},
    SourceKind.FILE: {"path": "/etc/servers"},
}


def a_source(kind: SourceKind, **more: Any) -> Source:
    return Source("default", "s", kind, datetime(2026, 1, 1, tzinfo=UTC), **(GOOD[kind] | more))


def test_a_source_is_stored_in_one_spelling() -> None:
    for kind in SourceKind:
        assert check_source(a_source(kind)) == a_source(kind)
    shouted = check_source(a_source(SourceKind.DNS, host="Serving.Models.SVC."))
    assert shouted.host == "serving.models.svc"


@pytest.mark.parametrize(
    ("kind", "wrong", "field"),
    [
        (SourceKind.DNS, {"host": ""}, "host"),
        (SourceKind.DNS, {"port": None}, "port"),
        (SourceKind.DNS, {"path": "/etc/servers"}, "path"),
        (SourceKind.DNS, {"host": "10.0.0.7"}, "host"),
        (SourceKind.DNS, {"host": "fd00::7"}, "host"),
        (SourceKind.DNS, {"host": "a..b"}, "host"),
        (SourceKind.DNS, {"host": f"{'a' * 64}.b"}, "host"),
        (SourceKind.SRV, {"port": 8500}, "port"),
        (SourceKind.SRV, {"family": "ipv4"}, "family"),
        (SourceKind.FILE, {"host": "h"}, "host"),
        (SourceKind.FILE, {"path": "servers"}, "path"),
        (SourceKind.FILE, {"path": "/a\x00b"}, "path"),
    ],
)
def test_a_field_that_does_not_fit_is_named(
    kind: SourceKind, wrong: dict[str, Any], field: str
) -> None:
    with pytest.raises(FieldInvalid) as refused:
        check_source(a_source(kind, **wrong))
    assert refused.value.field == field


HOSTS = st.one_of(
    st.ip_addresses().map(str),
    st.from_regex(r"[a-z_][a-z0-9]{0,20}(\.[a-z][a-z0-9-]{0,60}[a-z0-9]){0,4}", fullmatch=True),
)


@given(HOSTS, st.integers(1, 65_535))
def test_an_address_is_read_as_it_is_written(host: str, port: int) -> None:
    address = Address(host, port)
    assert parse_address("address", str(address)) == address
    assert check_name("name", address.server_name) == address.server_name


def test_long_hosts_get_names_of_their_own() -> None:
    names = {Address(f"{'a' * 60}.{'b' * 60}.{'c' * 20}.{x}", 8500).server_name for x in "xy"}
    assert len(names) == 2
    assert all(check_name("name", one) == one for one in names)


def test_dns_servers_are_ip_addresses() -> None:
    found = parse_ip_addresses("dns_servers", "10.0.0.2:53, [fd00::2]:5353")
    assert found == (Address("10.0.0.2", 53), Address("fd00::2", 5353))
    assert parse_ip_addresses("dns_servers", "") == ()
    with pytest.raises(FieldInvalid, match="ns is not an IP address"):
        parse_ip_addresses("dns_servers", "ns:53")
