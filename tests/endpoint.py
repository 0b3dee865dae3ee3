"""A server of our own that answers as an OpenAI-compatible one does, well or badly."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# status, body; status 0 breaks the connection, -1 says nothing for a while
Reply = tuple[int, bytes]


@contextmanager
def server(respond: Callable[[str, dict[str, Any]], Reply]) -> Iterator[str]:
    """Address of a server that answers POST requests with ``respond(path, body)``."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, body = respond(
                self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            )
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


def chat_reply(text: str | None, finish: str = "stop") -> Reply:
    """A reply of the chat interface."""
    return good(
        {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}]}
    )


def refuses(field: str, style: str) -> Reply:
    """What servers say to a field that they do not take: hosted ones,
    those that check a schema, and the rest.
    """
    instead = (
        "Use 'max_completion_tokens' instead."
        if field == "max_tokens"
        else "Only the default (1) value is supported."
    )
    message = f"Unsupported parameter: '{field}' is not supported with this model. {instead}"
    bodies: dict[str, tuple[int, Any]] = {
        "openai": (
            400,
            {
                "error": {
                    "message": message,
                    "type": "invalid_request_error",
                    "param": field,
                    "code": "unsupported_parameter",
                }
            },
        ),
        "fastapi": (
            422,
            {
                "detail": [
                    {
                        "type": "extra_forbidden",
                        "loc": ["body", field],
                        "msg": "Extra inputs are not permitted",
                        "input": 1,
                    }
                ]
            },
        ),
        "words": (400, f"Unrecognized request argument supplied: {field}"),
    }
    status, said = bodies[style]
    return status, (said if isinstance(said, str) else json.dumps(said)).encode()
