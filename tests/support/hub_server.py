"""A small server with the shape of the Hugging Face hub, for the real client: listing, metadata, ranges, faults."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "c0ffee" * 6 + "c0ff"


class HubServer:
    """Serves `files`, name to content, as one model repository. Use it as a context manager; `url` is its address.

    cut_after: close the connection after that many bytes of the next file, once. checksum: state this instead of the
    true SHA-256. status: answer everything with it. log: what was asked, with the range.
    """

    def __init__(self, repository: str, files: dict[str, bytes]) -> None:
        self.repository, self.files = repository, files
        self.cut_after: int | None = None
        self.checksum: str | None = None
        self.status: int | None = None
        self.log: list[tuple[str, str, str]] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def _handler(server: Any) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                pass

            def do_HEAD(self) -> None:
                self._answer(body=False)

            def do_GET(self) -> None:
                self._answer(body=True)

            def _answer(self, body: bool) -> None:
                path = self.path.partition("?")[0]
                server.log.append((self.command, path, self.headers.get("Range", "")))
                if server.status is not None:
                    self._send(server.status, b"{}", {}, body)
                elif path.startswith(f"/api/models/{server.repository}"):
                    siblings = [{"rfilename": n} for n in server.files]
                    tree = [
                        {"type": "file", "path": n, "size": len(c), "oid": COMMIT} for n, c in server.files.items()
                    ]
                    model = {"id": server.repository, "sha": COMMIT, "siblings": siblings}
                    self._send(200, json.dumps(tree if "/tree/" in path else model).encode(), {}, body)
                else:
                    name = path.removeprefix(f"/{server.repository}/resolve/").partition("/")[2]
                    if name not in server.files:
                        self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"}, body)
                    else:
                        self._file(server.files[name], body)

            def _file(self, content: bytes, body: bool) -> None:
                digest = server.checksum or hashlib.sha256(content).hexdigest()
                headers = {
                    "ETag": f'"{digest}"',
                    "X-Linked-Etag": f'"{digest}"',
                    "X-Linked-Size": str(len(content)),
                    "X-Repo-Commit": COMMIT,
                    "Accept-Ranges": "bytes",
                }
                start, status = 0, 200
                wanted = self.headers.get("Range", "")
                if wanted.startswith("bytes=") and body:
                    start, status = int(wanted[6:].partition("-")[0]), 206
                    headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
                cut = server.cut_after
                if body and cut is not None:
                    server.cut_after = None
                    self._send(status, content[start:], headers, body, cut)
                    self.close_connection = True
                else:
                    self._send(status, content[start:], headers, body)

            def _send(self, status: int, content: bytes, headers: dict, body: bool, cut: int | None = None) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.send_header(
                    "Content-Type", "application/json" if content[:1] in b"[{" else "binary/octet-stream"
                )
                for key, value in headers.items():
                    self.send_header(key, value)
                self.end_headers()
                if body:
                    self.wfile.write(content if cut is None else content[:cut])

        return Handler
