"""The virtual camera: what Zoom, Meet, Teams, OBS and browsers see as a webcam. By pyvirtualcam (GPL-2.0), which is
an optional extra for that reason."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from realtime.errors import DeviceError, MissingExtra, NoDevice
from realtime.flow.pacing import Repeater
from realtime.media.pictures import fit_into
from realtime.sinks import SinkBase, SinkOptions
from realtime.types import Picture


class VirtualCameraSink(SinkBase):
    """Sends each picture as it comes, no faster than its rate; repeats the last one while none comes, for apps take
    a camera that stops sending for a broken one."""

    def __init__(self, argument: str, options: SinkOptions) -> None:
        super().__init__(options)
        self.device = argument or None
        self.name = f"virtual camera {argument}".rstrip()
        self._camera: Any = None
        self._last: Any = None
        self._finish: Callable[[np.ndarray], np.ndarray] = lambda image: image

    def check(self) -> None:
        """Raises MissingExtra without pyvirtualcam, NoDevice where there surely is no virtual camera."""
        backends = _pyvirtualcam().camera.BACKENDS
        if self.device is not None and self.device.startswith("/dev/") and not Path(self.device).exists():
            raise NoDevice(self.name, f"there is no {self.device}", f"Make one: {how_to_make_one()}")
        if set(backends) == {"v4l2loopback"} and not loopback_devices():
            raise NoDevice("virtual camera", "there is none on this system", f"Make one: {how_to_make_one()}")

    def open(self, width: int, height: int, fps: float) -> None:
        library = _pyvirtualcam()
        if self.options.mark:
            from realtime.media.watermark import marked

            self._finish = marked
        self._width, self._height = width - width % 2, height - height % 2
        try:
            self._camera = library.Camera(
                self._width, self._height, fps, fmt=library.PixelFormat.RGB, device=self.device
            )
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            if "busy" in reason.lower():
                raise DeviceError(self.name, f"is in use by another program ({reason})") from error
            raise NoDevice(self.name, f"cannot be opened ({reason})", f"Make one: {how_to_make_one()}") from error
        self.name = f"virtual camera {self._camera.device}"
        self._repeat = Repeater(fps)
        self.tell(f"{self.name} is on: choose it as the camera in your call")

    def write(self, picture: Picture) -> None:
        now = time.monotonic()
        time.sleep(self._repeat.earliest(now) - now)
        self._last = self._finish(fit_into(self.shown(picture), self._width, self._height))
        self._send()

    def idle(self, now: float) -> float:
        if self._last is None:
            return 1.0
        wait = self._repeat.wait(now)
        if wait <= 0.0:
            self._send()
            wait = self._repeat.wait(time.monotonic())
        return wait

    def close(self) -> None:
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.close()

    def _send(self) -> None:
        try:
            self._camera.send(self._last)
        except (RuntimeError, OSError) as error:
            raise DeviceError(self.name, f"takes no more pictures ({error})") from error
        self._repeat.sent(time.monotonic())


def loopback_devices() -> list[str]:
    """Names of the v4l2loopback devices of this Linux, as paths: "/dev/video10"."""
    return sorted(f"/dev/{entry.name}" for entry in Path("/sys/devices/virtual/video4linux").glob("video*"))


def how_to_make_one(platform: str = sys.platform) -> str:
    """The one command, or act, that makes a virtual camera on this system."""
    if platform == "win32":
        return "winget install OBSProject.OBSStudio, then in OBS press Start Virtual Camera once and Stop"
    if platform == "darwin":
        return "brew install --cask obs, then in OBS press Start Virtual Camera once and Stop"
    load = "sudo modprobe v4l2loopback exclusive_caps=1 card_label=Avatar"
    if shutil.which("modinfo") and any(Path("/lib/modules").glob("*/**/v4l2loopback.ko*")):
        return load
    for manager, install in (
        ("apt-get", "sudo apt-get install -y v4l2loopback-dkms"),
        ("dnf", "sudo dnf install -y akmod-v4l2loopback"),
        ("pacman", "sudo pacman -S --noconfirm v4l2loopback-dkms"),
        ("zypper", "sudo zypper install -y v4l2loopback-kmp-default"),
    ):
        if shutil.which(manager):
            return f"{install} && {load}"
    return load


def _pyvirtualcam() -> Any:
    try:
        import pyvirtualcam
    except ImportError as error:
        raise MissingExtra("the virtual camera", "pyvirtualcam", "vcam") from error
    return pyvirtualcam
