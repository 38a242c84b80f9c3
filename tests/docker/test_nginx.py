"""nginx passes on what the control plane promises: streams, long waits, large bodies, who calls."""

import inspect
import re
from typing import Any

import pytest
import uvicorn
import yaml

from control_plane.domain.request_set import MOST_BYTES
from control_plane.settings import Settings
from control_plane.web import live
from tests.docker import nginx
from tests.docker.dockerfile import DOCKER
from tests.docker.nginx import Directive, seconds, size_bytes
from tests.docker.routes import answers_get

STREAMS = ("/api/v1/events:stream", "/ui/events")
_SERVER = nginx.read(DOCKER / "nginx" / "control-plane.conf")


def default(setting: str) -> Any:
    return Settings.model_fields[setting].default


def tls() -> Directive:
    (found,) = (one for one in _SERVER.all("server") if "ssl" in one.one("listen").words)
    return found


def location(path: str) -> Directive:
    """The location that nginx takes for a path: an exact one, a pattern, then the rest."""
    found = {tuple(one.words[1:]): one for one in tls().all("location")}
    if exact := found.get(("=", path)):
        return exact
    patterns = [one for words, one in found.items() if words[0] == "~"]
    return next((one for one in patterns if re.search(one.words[2], path)), found["/",])


def of(path: str, name: str) -> str:
    """A directive's value for a path, inherited or its own."""
    own = location(path).all(name)
    return " ".join(own[0].words[1:]) if own else tls().value(name)


@pytest.mark.parametrize("path", STREAMS)
def test_event_streams_are_passed_on_as_they_come_and_outlast_silence(path: str) -> None:
    assert answers_get(path)
    assert location(path).value("proxy_buffering") == "off"
    assert seconds(of(path, "proxy_read_timeout")) > 4 * live.BEAT_S


def test_answers_may_take_as_long_as_the_settings_allow() -> None:
    promote = "/api/v1/fleets/default/deployments/m:promote"
    predict = "/api/v1/fleets/default/models/m/labels/stable:predict"
    assert seconds(of(promote, "proxy_read_timeout")) > default("wait_s")
    assert seconds(of(predict, "proxy_read_timeout")) > default("predict_timeout_s")


def test_bodies_may_be_as_large_as_the_settings_allow() -> None:
    predict = "/api/v1/fleets/default/models/m:predict"
    upload = "/api/v1/models/m/request-sets/day"
    assert size_bytes(of(predict, "client_max_body_size")) == default("predict_body_bytes")
    assert size_bytes(of(upload, "client_max_body_size")) == MOST_BYTES
    assert size_bytes(of("/api/v1/models", "client_max_body_size")) == default("body_bytes")


def test_only_what_asks_is_sent_to_a_second_replica_that_the_first_may_have_done() -> None:
    predict = "/api/v1/fleets/default/models/m:predict"
    promote = "/api/v1/fleets/default/deployments/m:promote"
    assert "non_idempotent" in of(predict, "proxy_next_upstream")
    assert "non_idempotent" not in of(promote, "proxy_next_upstream")


def test_who_calls_is_told_by_nginx_alone() -> None:
    headers = {one.words[1]: one.words[2] for one in tls().all("proxy_set_header")}
    assert headers["X-Forwarded-For"] == "$remote_addr"
    assert headers["X-Forwarded-Proto"] == "$scheme"
    assert headers["Host"] == "$http_host"
    assert headers["X-Request-ID"] == "$request_id"
    # Headers set in a location would take the place of all of these.
    assert not [one for each in tls().all("location") for one in each.all("proxy_set_header")]


def test_connections_to_replicas_are_closed_by_nginx_before_a_replica_does() -> None:
    kept_s = inspect.signature(uvicorn.Config).parameters["timeout_keep_alive"].default
    assert seconds(_SERVER.one("upstream").value("keepalive_timeout")) < kept_s
    assert tls().value("proxy_http_version") == "1.1"
    assert tls().value("proxy_set_header", "Connection") == ""


def test_plain_http_leads_to_tls_and_metrics_lead_nowhere() -> None:
    (plain,) = (one for one in _SERVER.all("server") if one is not tls())
    assert plain.value("return") == "308 https://$host$request_uri"
    assert tls().value("ssl_protocols") == "TLSv1.2 TLSv1.3"
    assert location("/metrics").value("return") == "404"
    passed = [one for one in tls().all("location") if one.all("proxy_pass")]
    name = _SERVER.one("upstream").words[1]
    assert {one.value("proxy_pass") for one in passed} == {f"http://{name}"}


def test_replicas_and_files_are_those_of_the_stack() -> None:
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    upstream = {one.words[1] for one in _SERVER.one("upstream").all("server")}
    replicas = [name for name, one in services.items() if "tfsctl" in str(one.get("environment"))]
    replicas = [name for name in replicas if "build" in services[name]]
    assert upstream == {f"{name}:8080" for name in replicas}
    mounted = {one.split(":")[1] for one in services["nginx"]["volumes"]}
    assert {"/etc/nginx/nginx.conf", "/etc/nginx/control-plane.conf"} <= mounted
    assert tls().value("ssl_certificate").startswith("/etc/nginx/tls/")
    port = tls().one("listen").words[1]
    assert [one.rpartition(":")[2] for one in services["nginx"]["ports"]] == [port]


def test_without_root_nginx_writes_below_tmp_and_binds_high_ports() -> None:
    whole = nginx.read(DOCKER / "nginx" / "nginx.conf")
    assert not whole.all("user")
    assert whole.value("pid").startswith("/tmp/")
    folders = [one for one in whole.one("http").inside if one.name.endswith("_temp_path")]
    assert len(folders) == 5
    assert all(one.words[1].startswith("/tmp/") for one in folders)
    assert whole.one("http").value("include") == "control-plane.conf"
    ports = [int(one.one("listen").words[1]) for one in _SERVER.all("server")]
    assert min(ports) > 1023
