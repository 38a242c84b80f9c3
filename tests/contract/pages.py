"""A tiny HTTP server for tests: pages by path, and what was sent to them."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Pages:
    """What is answered; a status of 0 never answers."""

    url: str = ""
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    sent: list[bytes] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def pages() -> Iterator[Pages]:
    """Serve on 127.0.0.1 until the block ends."""
    made = Pages()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content = made.answers.get(self.path, (404, b""))
            made.sent.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            if status == 0:
                made.over.wait(30)
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            if 300 <= status < 400:
                self.send_header("Location", content.decode())
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(content)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        made.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield made
        finally:
            made.over.set()
            server.shutdown()
            thread.join()
