"""The face model that browsers run: MediaPipe's Face Mesh, by which no picture has to leave the user.

It is an npm package (Apache License 2.0, copyright The MediaPipe Authors). `setup.py` fetches it when the project is
built or installed; `python -m realtime.clients.browser_model` does so later. It is verified before anything of it is
kept, and the page does without it where it is missing. Nothing but Python's own library is used here.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

PACKAGE, VERSION = "@mediapipe/face_mesh", "0.4.1633559619"
"""Newer ones fail in their face detection."""
INTEGRITY = "sha512-Vc8cdjxS5+O2gnjWH9KncYpUCVXT0h714KlWAsyqJvJbIgUJBqpppbIx8yWcAzBDxm/5cYSuBI5p5ySIPxzcEg=="
"""Of the package, as npm writes it."""
REGISTRY = "https://registry.npmjs.org"
FOLDER = Path(__file__).with_name("web") / "face_mesh"
"""Where the page's server looks for it."""
FILES = (
    "face_mesh.binarypb",
    "face_mesh.js",
    "face_mesh_solution_packed_assets.data",
    "face_mesh_solution_packed_assets_loader.js",
    "face_mesh_solution_simd_wasm_bin.js",
    "face_mesh_solution_simd_wasm_bin.wasm",
)
"""What browsers load, 10.5 MB; the rest of the package is for those without SIMD."""
NOTICE = "NOTICE.txt"
_NOTICE = f"""The files in this folder are parts of the npm package {PACKAGE}, version {VERSION}, unchanged.
Copyright The MediaPipe Authors. Licensed under the Apache License, Version 2.0, the text of which is in the file
LICENSE of this project and at https://www.apache.org/licenses/LICENSE-2.0
"""
TIMEOUT_S = 60.0


class NotFetched(RuntimeError):
    """The package cannot be had; `str()` says why."""


def there(folder: Path = FOLDER) -> bool:
    """Is the model in this folder?"""
    return all((folder / name).is_file() for name in FILES)


def fetch(folder: Path = FOLDER) -> None:
    """Put the model into `folder`, where it is not there yet. Raises NotFetched, and leaves nothing then."""
    if there(folder):
        return
    files = unpack(_download())
    new = folder.with_name(f"{folder.name}.new")
    try:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        for name, data in files.items():
            (new / name).write_bytes(data)
        (new / NOTICE).write_text(_NOTICE)
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        raise NotFetched(f"{folder} cannot be written: {error.strerror}") from error


def unpack(package: bytes) -> dict[str, bytes]:
    """The files of a package. Raises NotFetched where it is not the very one that was asked for."""
    if integrity(package) != INTEGRITY:
        raise NotFetched(f"what came is not {PACKAGE} {VERSION}: its hash differs")
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        members = {name: archive.extractfile(f"package/{name}") for name in FILES}
        return {name: member.read() for name, member in members.items() if member is not None}


def integrity(package: bytes) -> str:
    """The hash of a package, as npm writes it."""
    return "sha512-" + base64.b64encode(hashlib.sha512(package).digest()).decode()


def _download() -> bytes:
    """The package: from npm, which knows this machine's registry, where there is one; else straight from there."""
    if npm := shutil.which("npm"):
        with tempfile.TemporaryDirectory() as folder:
            command = [npm, "pack", "--json", "--fetch-retries=0", f"{PACKAGE}@{VERSION}"]
            try:
                done = subprocess.run(command, cwd=folder, capture_output=True, timeout=TIMEOUT_S, check=True)
                name = json.loads(done.stdout)[0]["filename"].replace("@", "").replace("/", "-")
                return (Path(folder) / name).read_bytes()
            except (OSError, subprocess.SubprocessError, ValueError, LookupError):
                pass  # said below, where the other way fails too
    registry = os.environ.get("NPM_CONFIG_REGISTRY", REGISTRY).rstrip("/")
    address = f"{registry}/{PACKAGE}/-/{PACKAGE.partition('/')[2]}-{VERSION}.tgz"
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:
            return bytes(answer.read(64 << 20))
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise NotFetched(f"npm's registry does not give {PACKAGE}: {reason}") from error


def main() -> int:
    """Fetch it, and say so."""
    try:
        fetch()
    except NotFetched as error:
        print(f"The face model for browsers is not here: {error}", file=sys.stderr)
        return 1
    print(f"The face model for browsers is in {FOLDER}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
