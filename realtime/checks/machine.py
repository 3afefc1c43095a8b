"""What works on this machine, what does not, and the one command that mends it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from realtime.extras import install_command
from realtime.families import FAMILIES, target
from realtime.home import home as home_folder

Status = Literal["ok", "warn", "missing"]

BASE_PACKAGES = ("numpy", "mediapipe", "opencv-contrib-python", "numba", "scipy", "av", "rich", "typer")
SERVER_PACKAGES = ("aiortc", "fastapi", "uvicorn", "websockets")
PORTS = (8000,)
"""Ports that `avatar serve` and `avatar demo` listen on unless told otherwise."""
ROOM_FOR_WEIGHTS = 5 * 2**30


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    status: "ok"; "warn": the avatar runs, something is worse or slower without it; "missing": what it is for does
    not work. cure: the one command or act that mends it, "" where nothing needs mending.
    """

    name: str
    status: Status
    detail: str
    cure: str = ""


def examine() -> list[Check]:
    """All checks, in the order in which they matter. Never raises: a check that fails says so."""
    checks: list[Check] = []
    for look in LOOKS:
        try:
            found = look()
        except Exception as error:
            found = Check(look.__name__.replace("_", " "), "warn", f"could not be looked at ({error})")
        checks.extend([found] if isinstance(found, Check) else found)
    return checks


def python() -> Check:
    """The interpreter."""
    version = platform.python_version()
    where = f"{version} on {platform.system()} {platform.machine()}"
    if (3, 11) <= sys.version_info[:2] <= (3, 12):
        return Check("python", "ok", where)
    return Check("python", "missing", f"{where}; 3.11 or 3.12 is needed", "make demo PYTHON=python3.11")


def packages() -> Check:
    """What the base install brings."""
    lacking = [name for name in BASE_PACKAGES if _version(name) is None]
    if lacking:
        cure = "pip install --force-reinstall realtime-avatar"
        return Check("packages", "missing", f"not installed: {', '.join(lacking)}", cure)
    return Check("packages", "ok", ", ".join(f"{name} {_version(name)}" for name in BASE_PACKAGES))


def engine() -> Check:
    """The built-in engine's landmark model, which lies in the mediapipe wheel."""
    spec = find_spec("mediapipe")
    if spec is None or spec.origin is None:
        return Check("mesh engine", "missing", "mediapipe is not installed", "pip install mediapipe==0.10.21")
    model = Path(spec.origin).parent / "modules/face_landmark/face_landmark_with_attention.tflite"
    if not model.exists():
        version = _version("mediapipe")
        return Check(
            "mesh engine", "missing", f"mediapipe {version} has no models inside", "pip install mediapipe==0.10.21"
        )
    return Check("mesh engine", "ok", f"runs on the CPU, {os.cpu_count()} cores; {_mesh_on_gpu()}")


def _mesh_on_gpu() -> str:
    """Whether the mesh engine uses a GPU here."""
    if not _has_gpu():
        return "it needs no GPU"
    from realtime import kernels

    reason = kernels.why_unavailable()
    return f"not on the GPU: {reason}" if reason else "on the GPU with --device cuda"


def cameras() -> Check:
    """Webcams."""
    from realtime.errors import NoDevice
    from realtime.sources.camera import choose_camera, list_cameras

    found = list_cameras()
    if found:
        return Check("cameras", "ok", ", ".join(f"camera:{c.number} {c.name}" for c in found))
    try:
        choose_camera("", found)
    except NoDevice as error:
        return Check("cameras", "missing", error.reason, error.cure)
    raise AssertionError("unreachable")


def virtual_camera() -> Check:
    """What a call takes as its camera."""
    from realtime.sinks.virtual_camera import how_to_make_one, loopback_devices

    if find_spec("pyvirtualcam") is None:
        cure = install_command("vcam")
        return Check("virtual camera", "missing", "pyvirtualcam is not installed", cure)
    if sys.platform.startswith("linux"):
        devices = loopback_devices()
        if devices:
            return Check("virtual camera", "ok", ", ".join(devices))
        return Check("virtual camera", "missing", "no v4l2loopback device", how_to_make_one())
    return Check("virtual camera", "warn", "known once it is opened", how_to_make_one())


def display() -> Check:
    """Where a preview window could go."""
    from realtime.sinks.preview import has_display

    if has_display():
        return Check("display", "ok", "preview windows can be shown")
    return Check("display", "warn", "none here; films and browsers work", "avatar run --sink file:out.mp4")


def browser_model() -> Check:
    """Can pages find the face themselves, so that the camera's picture stays with the user?"""
    from realtime.clients import browser_model

    if browser_model.there():
        return Check("camera in the browser", "ok", f"pages find the face themselves ({browser_model.PACKAGE})")
    cure = "python -m realtime.clients.browser_model"
    return Check("camera in the browser", "warn", "pages send video: the face model for browsers is not here", cure)


def codecs() -> Check:
    """What videos are written with."""
    import av

    from realtime.sinks.file import ENCODERS

    encoder = next((name for name in ENCODERS if name in av.codecs_available), None)
    if encoder is None:
        return Check("codecs", "missing", "no encoder for H.264 or MPEG-4", "pip install --force-reinstall av")
    status: Status = "warn" if encoder == "mpeg4" else "ok"
    detail = f"PyAV {av.__version__} writes with {encoder}"
    return Check("codecs", status, detail, "pip install --force-reinstall av" if status == "warn" else "")


def gpu() -> Check:
    """An NVIDIA GPU and its driver. Only the neural engines want one."""
    tool = shutil.which("nvidia-smi")
    if tool is None and _nvidia_hardware():
        cure = "sudo ubuntu-drivers install" if shutil.which("ubuntu-drivers") else "install the NVIDIA driver"
        return Check("gpu", "warn", "there is an NVIDIA GPU, but no driver for it", cure)
    if tool is None:
        return Check("gpu", "warn", "no NVIDIA GPU; the mesh engine needs none, the neural engines are slow without")
    query = [tool, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=False)
    if answer.returncode != 0 or not answer.stdout.strip():
        return Check("gpu", "warn", f"nvidia-smi finds no GPU ({' '.join(answer.stderr.split())[:80]})", "nvidia-smi")
    return Check("gpu", "ok", "; ".join(answer.stdout.strip().splitlines()))


def torch() -> Check:
    """What the neural engines run on."""
    if find_spec("torch") is None:
        return Check("torch", "warn", "not installed; only the neural engines need it", install_command("torch"))
    import torch as library

    if library.cuda.is_available():
        return Check("torch", "ok", f"{library.__version__} with CUDA {library.version.cuda}")
    cure = install_command("cuda12") if shutil.which("nvidia-smi") else ""
    return Check("torch", "warn", f"{library.__version__} on the CPU: CUDA is not available", cure)


def cupy() -> Check:
    """What compiles the project's own CUDA kernels."""
    if find_spec("cupy") is None:
        cure = install_command("cuda12")
        return Check("cupy", "warn", "not installed; own CUDA kernels are not used", cure if _has_gpu() else "")
    import cupy as library

    try:
        count = library.cuda.runtime.getDeviceCount()
        library.zeros(1).sum().item()
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:100]
        return Check("cupy", "warn", f"{library.__version__} finds no working GPU ({reason})", "nvidia-smi")
    return Check("cupy", "ok", f"{library.__version__}, {count} GPU")


def rates() -> list[Check]:
    """What rate the engines that say so can be expected to have."""
    saying = {name: family.rate for name, family in FAMILIES.items() if family.rate}
    if find_spec("torch") is None:
        return [Check(name, "warn", "needs torch", install_command("torch")) for name in saying]
    import torch as library

    cuda = library.cuda.is_available()
    device = "cuda" if cuda else "cpu"
    return [Check(name, "ok" if cuda else "warn", target(rate)(device)) for name, rate in saying.items()]


def frame_path() -> Check:
    """How a frame of LIA or LIA-X runs here: one CUDA graph, eagerly, or on the CPU; and why."""
    from realtime.checks.gpu import describe_gpu

    found = describe_gpu()[-1]
    return Check(found.name, found.status, found.detail, found.cure if _has_gpu() or _nvidia_hardware() else "")


def server() -> Check:
    """What `avatar serve` needs."""
    lacking = [name for name in SERVER_PACKAGES if _version(name) is None]
    if lacking:
        names = ", ".join(lacking)
        return Check("server", "missing", f"not installed: {names}", install_command("serve"))
    return Check("server", "ok", ", ".join(f"{name} {_version(name)}" for name in SERVER_PACKAGES))


def live_video() -> Check:
    """Which encoder the server's video uses, by measurement at 512 x 512."""
    if _version("aiortc") is None:
        return Check("live video", "missing", "aiortc is not installed", install_command("serve"))
    from realtime.server.rtc import encoders

    times = {name: ms for name, ms in encoders.report().items() if ms is not None}
    listed = ", ".join(f"{name} {ms:.1f} ms a frame" for name, ms in times.items())
    return Check("live video", "ok" if times else "missing", f"{encoders.preferred_codec()} is preferred; {listed}")


def ports() -> list[Check]:
    """Whether the server could listen."""
    checks = []
    for port in PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                checks.append(Check(f"port {port}", "warn", "is in use", f"avatar serve --port {port + 1}"))
            else:
                checks.append(Check(f"port {port}", "ok", "is free"))
    return checks


def home() -> Check:
    """Where weights and settings are kept."""
    folder = home_folder()
    existing = next((parent for parent in (folder, *folder.parents) if parent.exists()), Path("/"))
    if not os.access(existing, os.W_OK):
        return Check("avatar home", "missing", f"{folder} may not be written", "export AVATAR_HOME=FOLDER")
    free = shutil.disk_usage(existing).free
    detail = f"{folder}, {free / 2**30:.0f} GiB free"
    if free < ROOM_FOR_WEIGHTS:
        detail += "; weights of neural engines need 5"
        return Check("avatar home", "warn", detail, "export AVATAR_HOME=FOLDER")
    return Check("avatar home", "ok", detail)


def films() -> Check:
    """What `avatar animate` needs: the extra, and which of its memory plans the GPU is for."""
    from realtime.film.wan import plans

    lacking = [name for name in ("diffusers", "transformers", "accelerate", "ftfy") if find_spec(name) is None]
    if lacking:
        about = f"{', '.join(lacking)} not installed; only avatar animate needs it"
        return Check("films of bodies", "warn", about, install_command("wan"))
    import torch as library

    if not library.cuda.is_available():
        return Check("films of bodies", "warn", "no CUDA GPU: avatar animate would take days here")
    memory = library.cuda.get_device_properties(0).total_memory / plans.GB
    if memory < plans.PLANS[-2].least:
        return Check("films of bodies", "warn", f"the GPU has {memory:.0f} GB; avatar animate wants 6 or more")
    return Check("films of bodies", "ok", f"{memory:.0f} GB of GPU memory: {plans.choose(memory).about}")


LOOKS: tuple[Callable[[], Check | list[Check]], ...] = (
    python, packages, engine, cameras, virtual_camera, display, codecs, gpu, torch, cupy, rates, films, frame_path,
    server, live_video, browser_model, ports, home,
)  # fmt: skip
"""All checks, in the order in which they matter."""


def _has_gpu() -> bool:
    return shutil.which("nvidia-smi") is not None


def _nvidia_hardware(devices: Path = Path("/sys/bus/pci/devices")) -> bool:
    """Whether a display controller of NVIDIA is on the bus (Linux)."""
    for device in devices.glob("*"):
        try:
            if (device / "vendor").read_text().strip() == "0x10de" and (device / "class").read_text()[:4] == "0x03":
                return True
        except OSError:
            continue
    return False


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
