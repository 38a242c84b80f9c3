"""The port of the REST front: HTTP/1.1 with a thread for each connection."""

import socket
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any

from control_plane.devserver.rest import Reply, Request, Rest

_QUIET_S = 50  # how long a connection may say nothing


def listen(host: str, port: int, rest: Rest) -> None:
    """Open the port and answer until the process ends.

    Raises:
        OSError: something else listens there, or it is not an address of this machine.
        OverflowError: there is no such port.
    """
    server = _Server((host, port), rest)
    threading.Thread(target=server.serve_forever, name="rest", daemon=True).start()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = socket.SOMAXCONN

    def __init__(self, address: tuple[str, int], rest: Rest) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.rest = rest
        super().__init__(address, _Connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about callers who hung up."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave together
    timeout = _QUIET_S
    server: _Server

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal():
            self.send_error(411)  # which also closes the connection: its next bytes mean nothing
            return
        body = self.rfile.read(int(length))
        uri = self.requestline.split()[1]  # self.path is tidied up
        origin = self.headers.get("Origin", "")
        self._send(self.server.rest.reply(Request(self.command, uri, body, origin)))

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = _serve  # noqa: N815

    def _send(self, reply: Reply) -> None:
        self.send_response_only(reply.status)
        self.send_header("Content-Type", reply.kind)
        self.send_header("Date", self.date_time_string())
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Keep no access log."""
