"""Facts about the machine and the code that a figure is worth nothing without."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "numpy", "mediapipe", "opencv-contrib-python", "numba", "scipy", "av", "aiortc", "pyvirtualcam", "playwright",
    "torch", "cupy-cuda12x", "cupy-cuda13x",
)  # fmt: skip
ROOT = Path(__file__).resolve().parents[2]


def machine_facts() -> dict[str, Any]:
    """Processor, cores, memory, system, Python, package versions, commit."""
    return {
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "memory_gib": memory_gib(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: v for name in PACKAGES if (v := _version(name))},
        "commit": commit(),
    }


def busy_share(seconds: float = 1.0) -> float | None:
    """Percent of all cores that run something now; None where psutil is absent. Sleeps so long."""
    try:
        import psutil
    except ImportError:
        return None
    return float(psutil.cpu_percent(interval=seconds))


def usable_cores() -> int:
    """Cores this process may run on (not those the board has)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_model() -> str:
    """The processor's own name for itself."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux: the platform module knows less, but something
    return platform.processor() or platform.machine()


def memory_gib() -> float | None:
    """Installed memory, None where the system does not say."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def commit(folder: Path = ROOT) -> str:
    """Short hash of the checked-out commit, with "+changes" where the working tree differs; "" outside git."""
    try:
        head = _git(folder, "rev-parse", "--short=12", "HEAD")
        return head + ("+changes" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
