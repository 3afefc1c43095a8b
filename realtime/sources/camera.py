"""The webcam, through FFmpeg's input devices: v4l2 (Linux), avfoundation (macOS), dshow (Windows)."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realtime.errors import DeviceError, NoDevice
from realtime.sources import SourceOptions
from realtime.sources.reconnecting import ReconnectingSource

SIZE = "1280x720"
"""What a camera is asked for first: more than a face needs, and what every webcam offers as MJPEG."""


@dataclass(frozen=True)
class CameraInfo:
    """number: what `camera:N` means. name: what the system calls it. address: what FFmpeg opens."""

    number: int
    name: str
    address: str


class CameraSource(ReconnectingSource):
    """Frames of a webcam. `argument`: "", a number, a part of its name, or a device path."""

    def __init__(self, argument: str, options: SourceOptions) -> None:
        super().__init__(options)
        self.wanted = argument.strip()
        self.name = f"camera {self.wanted or 0}"

    def check(self) -> None:
        """Raises NoDevice where the camera is not listed by the system."""
        choose_camera(self.wanted, list_cameras())

    def connect(self) -> Any:
        import av

        camera = choose_camera(self.wanted, list_cameras())
        self.name = f"camera {camera.number} ({camera.name})"
        problem: Exception | None = None
        for options in formats_to_try(self.options.fps):
            try:
                return av.open(camera.address, format=input_format(), options=options)
            except (av.FFmpegError, OSError, ValueError) as error:
                problem = error
        raise _explain(self.name, problem)


def input_format(platform: str = sys.platform) -> str:
    """FFmpeg's name of the system's camera interface."""
    return {"win32": "dshow", "darwin": "avfoundation"}.get(platform, "v4l2")


def formats_to_try(fps: float, platform: str = sys.platform) -> list[dict[str, str]]:
    """FFmpeg options, best first: MJPEG at the wanted rate (raw 720p is often 10 fps over USB 2), then any pixel
    format, then another size, then whatever the camera gives by itself."""
    rate = {"framerate": f"{fps:g}"}
    big, small = {"video_size": SIZE}, {"video_size": "640x480"}
    if platform == "darwin":
        return [{**rate, **big}, {"framerate": "30", **big}, {"framerate": "30", **small}, {"framerate": "30"}]
    mjpeg = {"vcodec": "mjpeg"} if platform == "win32" else {"input_format": "mjpeg"}
    buffer = {"rtbufsize": "64M"} if platform == "win32" else {}
    tries = [{**rate, **big, **mjpeg}, {**rate, **small, **mjpeg}, {**rate, **small}, big, small, {}]
    return [{**one, **buffer} for one in tries]


def list_cameras(platform: str = sys.platform) -> list[CameraInfo]:
    """The cameras of this system, in the order in which they are numbered. Virtual cameras of v4l2loopback, which
    the avatar writes to, are left out."""
    if platform in ("win32", "darwin"):
        return _cameras_of_ffmpeg(platform)
    return _cameras_of_linux(Path("/sys/class/video4linux"))


def choose_camera(wanted: str, cameras: list[CameraInfo]) -> CameraInfo:
    """The camera with this number, path, or part of a name. Raises NoDevice."""
    if not cameras:
        cure = "Plug one in, or take a clip: --source clip.mp4"
        if sys.platform.startswith("linux") and Path("/dev/video0").exists():
            cure = "It may need permission: sudo usermod -aG video $USER, then log in again"
        raise NoDevice("camera", "there is none on this system", cure)
    for camera in cameras:
        if wanted in ("", str(camera.number), camera.address):
            return camera
    by_name = [camera for camera in cameras if wanted and wanted.lower() in camera.name.lower()]
    if by_name:
        return by_name[0]
    listed = ", ".join(f"{camera.number} ({camera.name})" for camera in cameras)
    raise NoDevice(f"camera {wanted}", "there is no such camera", f"There is {listed}")


def _cameras_of_linux(folder: Path) -> list[CameraInfo]:
    """Each camera appears as several nodes; the one with index 0 gives pictures."""
    found: list[CameraInfo] = []
    for entry in sorted(folder.glob("video*"), key=lambda e: int(re.sub(r"\D", "", e.name) or 0)):
        if "/virtual/" in str(entry.resolve()):
            continue
        try:
            index = int((entry / "index").read_text())
            name = (entry / "name").read_text().strip()
        except (OSError, ValueError):
            continue
        if index == 0:
            found.append(CameraInfo(len(found), name, f"/dev/{entry.name}"))
    return found


def _cameras_of_ffmpeg(platform: str) -> list[CameraInfo]:
    import av

    listing = getattr(av, "enumerate_input_devices", None)
    if listing is None:  # an older PyAV: the first camera can be opened all the same
        return [CameraInfo(0, "default", "0" if platform == "darwin" else "video=default")]
    try:
        devices = listing(input_format(platform))
    except (av.FFmpegError, ValueError, OSError):
        return []
    videos = [d for d in devices if not d.media_types or any("video" in str(m).lower() for m in d.media_types)]
    prefix = "video=" if platform == "win32" else ""
    return [
        CameraInfo(n, d.description or d.name, f"{prefix}{d.name if platform == 'win32' else n}")
        for n, d in enumerate(videos)
    ]


def _explain(name: str, error: Exception | None) -> DeviceError:
    text = str(getattr(error, "strerror", None) or error)
    if isinstance(error, PermissionError):
        cure = "Allow this program to use the camera in the system's privacy settings"
        if sys.platform.startswith("linux"):
            cure = "sudo usermod -aG video $USER, then log in again"
        return DeviceError(name, "may not be used (permission denied)", cure)
    if "busy" in text.lower():
        return DeviceError(name, "is in use by another program", "Close that program, or choose another camera")
    return DeviceError(name, f"cannot be opened ({text})")
