"""Libraries from npm in a page of another origin: installed into a cache folder, bundled, and served."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.live.clients.seen import Absent

WEB = Path(__file__).with_name("web")


def bundled(faces: tuple[np.ndarray, np.ndarray]) -> Path:
    """A folder with the page. It is made once for each state of the files it is made of, in the user's cache; npm
    takes exactly what package-lock.json says. Raises Absent."""
    from platformdirs import user_cache_path

    if shutil.which("npm") is None:
        raise Absent("npm", "is not installed", "On Debian: apt-get install npm")
    files = [WEB / name for name in ("package.json", "package-lock.json", "strangers.js", "index.html")]
    state = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    folder = user_cache_path("realtime-avatar") / "clients" / state
    if not (folder / "bundle.js").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copy(file, folder)
        for command in (
            ["npm", "ci", "--silent", "--no-audit", "--no-fund"],
            ["node_modules/.bin/esbuild", "strangers.js", "--bundle", "--outfile=bundle.js", "--log-level=error"],
        ):
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode:
                said = (done.stderr or done.stdout).strip().splitlines() or ["failed"]
                raise Absent(" ".join(command[:2]), said[-1])
    for name, face in zip(("rest", "flash"), faces, strict=True):
        Image.fromarray(face).save(folder / f"{name}.png")
    return folder


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing is said."""


@contextlib.contextmanager
def served(folder: Path, port: int) -> Iterator[str]:
    """The folder under an origin of its own."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), functools.partial(_Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.shutdown()
