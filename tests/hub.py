"""Stand-ins for the hub: a filled cache, and a server that answers what the hub's client asks."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def fill_cache(home: Path, repository: str, folder: Path) -> None:
    """Put a checkpoint into the cache under ``home`` as if it had been downloaded."""
    root = home / "hub" / f"models--{repository.replace('/', '--')}"
    shutil.copytree(folder, root / "snapshots" / COMMIT)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(COMMIT, encoding="utf-8")


@contextmanager
def serve(repositories: dict[str, Path], gated: tuple[str, ...] = ()) -> Iterator[str]:
    """Address of a hub that holds these checkpoints;
    those in ``gated`` exist but ask for a login.
    """

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def reply(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def do_GET(self) -> None:
            parts = self.path.partition("?")[0].strip("/").split("/")
            api = parts[:2] == ["api", "models"]
            repository = "/".join(parts[2:4] if api else parts[:2])
            if repository in gated:
                return self.reply(
                    401,
                    {
                        "X-Error-Code": "GatedRepo",
                        "X-Error-Message": "Access to this model is restricted.",
                    },
                )
            folder = repositories.get(repository)
            if folder is None:
                return self.reply(404, {"X-Error-Code": "RepoNotFound"})
            if api and "tree" in parts:
                files = [
                    {"type": "file", "path": p.name, "size": p.stat().st_size, "oid": COMMIT}
                    for p in folder.iterdir()
                    if parts[-1] in ("main", COMMIT)
                ]
                return self.reply(
                    200, {"Content-Type": "application/json"}, json.dumps(files).encode()
                )
            if api:
                about = {
                    "id": repository,
                    "sha": COMMIT,
                    "siblings": [{"rfilename": p.name} for p in folder.iterdir()],
                }
                return self.reply(
                    200, {"Content-Type": "application/json"}, json.dumps(about).encode()
                )
            file = folder / parts[-1]
            if len(parts) != 5 or not file.is_file():
                return self.reply(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            body = file.read_bytes()
            self.reply(
                200,
                {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha256(body).hexdigest()}"'},
                body,
            )

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
