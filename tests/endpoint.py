"""A server of our own that answers as an OpenAI-compatible one does, well or badly."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, bytes]  # status, body; status 0 breaks the connection, -1 says nothing for a while


@contextmanager
def server(respond: Callable[[str, dict[str, Any]], Reply]) -> Iterator[str]:
    """Address of a server that answers POST requests with ``respond(path, body)``."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, body = respond(self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if status == -1:
                time.sleep(1)
            if status > 0:
                self.send_response(status)
                if status == 429:
                    self.send_header("Retry-After", "0.01")
                if status in (301, 302, 307, 308):
                    self.send_header("Location", body.decode())
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 2000

    served = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{served.server_port}/v1"
    finally:
        served.shutdown()


def good(value: Any) -> Reply:
    return 200, json.dumps(value).encode()
