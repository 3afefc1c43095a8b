"""The microphones of this machine, through PortAudio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from realtime.errors import NoDevice


def portaudio() -> Any:
    """The module `sounddevice`. Raises NoDevice where PortAudio, which it calls, is not installed."""
    try:
        import sounddevice
    except (OSError, ImportError) as error:
        raise NoDevice(
            "microphone",
            "PortAudio, which hears it, is not installed",
            "On Debian: sudo apt-get install libportaudio2",
        ) from error
    return sounddevice


def choose_microphone(wanted: str, devices: Sequence[Any], default: int | None) -> tuple[int, str]:
    """Number and name of the microphone with this number or part of a name; "" is the system's own choice. Raises
    NoDevice."""
    inputs = {n: str(d["name"]) for n, d in enumerate(devices) if d["max_input_channels"] > 0}
    if not inputs:
        cure = "Plug one in, or take a recording: --source sound:talk.wav"
        raise NoDevice("microphone", "there is none on this system", cure)
    if not wanted:
        number = default if default in inputs else min(inputs)
        return number, f"microphone {number} ({inputs[number]})"
    for number, name in inputs.items():
        if wanted == str(number) or (not wanted.isdecimal() and wanted.lower() in name.lower()):
            return number, f"microphone {number} ({name})"
    listed = ", ".join(f"{number} ({name})" for number, name in inputs.items())
    raise NoDevice(f"microphone {wanted}", "there is no such microphone", f"There is {listed}")
