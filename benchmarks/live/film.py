"""A film made by the page's own Record button, in a real Chromium: how far is its sound from its picture?

The browser's camera plays a clip in which the driver's face changes once a second; its microphone beeps as often. The
page records the avatar with the voice. Beside it the browser records camera and microphone as they are: what the
two devices are apart at their source, and what the browser's recorder does by itself, is in both films, so that the
difference, change by change, is what the page's film has of its own. Positive: the sound is late. People notice sound
that is more than 45 ms early or 125 ms late (ITU-R BT.1359).

  python -m benchmarks film --json film.json --plot film.png
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import tempfile
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.progress import Progress

from benchmarks.live.browser import chromium, why_not
from benchmarks.live.loopback import child, free_port
from benchmarks.live.sync import BEEP_S, FLASH_S, LEVEL, PERIOD_S, RATE, faces
from benchmarks.report.result import Result
from realtime.errors import ConnectionLost, DeviceError

CAMERA_FPS = 15
"""A machine that is busy drawing a browser's pictures in software keeps up with these."""
CALM_S = 12
"""Seconds for which the driver rests first: it is his neutral face."""
MOST_MS = 45.0

LONGEST_GAP = 0.12
"""Seconds between two pictures of a film beyond which it is not known when what the second shows came about."""

BESIDE = """
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wish) => {
    const stream = await ask(wish);
    if (wish.audio && !wish.video) {
      const camera = document.querySelector("#camera-view").srcObject.getVideoTracks()[0];
      const tracks = [camera.clone(), stream.getAudioTracks()[0].clone()], parts = [];
      const kind = { mimeType: "video/webm;codecs=vp8,opus", videoBitsPerSecond: 1000000 };
      const recorder = window.beside = new MediaRecorder(new MediaStream(tracks), kind);
      recorder.ondataavailable = ({ data }) => parts.push(data);
      window.besideFilm = new Promise((done) => {
        recorder.onstop = () => {
          for (const track of tracks) track.stop();
          const reader = new FileReader();
          reader.onload = () => done(reader.result.split(",")[1]);
          reader.readAsDataURL(new Blob(parts));
        };
      });
      recorder.start(1000);
    }
    return stream;
  };
"""
"""Records the camera and the microphone themselves, from the moment at which the page takes the microphone."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `film`."""
    parser.add_argument("--seconds", type=float, help="length of the film (60; quick 15)")
    parser.add_argument("--size", type=int, default=512, help="size of the avatar's picture (512)")
    parser.add_argument("--camera", type=int, default=320, help="width of the camera's picture (320)")
    parser.add_argument("--keep", metavar="FOLDER", help="keep the two films here")


def write_faces(path: Path, rest: np.ndarray, flash: np.ndarray, seconds: float) -> None:
    """The camera's clip, Y4M: the second face for `FLASH_S` at the begin of each period, once it is time."""
    import av

    planes = [av.VideoFrame.from_ndarray(face, format="rgb24").reformat(format="yuv420p").to_ndarray().tobytes()
              for face in (rest, flash)]  # fmt: skip
    with path.open("wb") as out:
        out.write(f"YUV4MPEG2 W{rest.shape[1]} H{rest.shape[0]} F{CAMERA_FPS}:1 Ip A1:1 C420jpeg\n".encode())
        for n in range(round(seconds * CAMERA_FPS)):
            at = n / CAMERA_FPS
            out.write(b"FRAME\n" + planes[at >= CALM_S and at % PERIOD_S < FLASH_S - 1e-6])


def write_beeps(path: Path) -> None:
    """One period of the microphone's sound, 16 bits."""
    t = np.arange(round(RATE * PERIOD_S)) / RATE
    tone = 4 * LEVEL * np.sin(2 * np.pi * 1000 * t) * (t < BEEP_S)
    with contextlib.closing(wave.open(str(path), "wb")) as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(tone.astype("<i2").tobytes())


def read_film(path: Path) -> tuple[list[tuple[float, np.ndarray]], list[float]]:
    """The pictures of a film, small, with their times; and when each of its beeps begins. Seconds."""
    import av

    seen: list[tuple[float, np.ndarray]] = []
    with av.open(str(path)) as film:
        for frame in film.decode(video=0):
            assert frame.pts is not None
            assert frame.time_base is not None
            small = frame.reformat(width=frame.width // 4, height=frame.height // 4, format="rgb24").to_ndarray()
            seen.append((float(frame.pts * frame.time_base), small.astype(np.int16)))
    sound: list[tuple[float, np.ndarray, int]] = []
    with av.open(str(path)) as film:
        if not film.streams.audio:
            return seen, []
        resampler = av.AudioResampler("s16", "mono")
        for heard in film.decode(audio=0):
            for part in resampler.resample(heard):
                assert part.pts is not None
                assert part.time_base is not None
                sound.append((float(part.pts * part.time_base), part.to_ndarray().reshape(-1), part.sample_rate))
    return seen, beeps(sound)


def beeps(sound: Sequence[tuple[float, np.ndarray, int]]) -> list[float]:
    """When each beep begins: the first loud sample after a quarter of a second without one."""
    out: list[float] = []
    last_loud = -1.0
    for begin, samples, rate in sound:
        for n in np.flatnonzero(np.abs(samples.astype(int)) > LEVEL):
            at = begin + n / rate
            if at - last_loud > PERIOD_S / 4:
                out.append(at)
            last_loud = at
    return out


def changes(seen: Sequence[tuple[float, np.ndarray]]) -> list[float]:
    """When the face turns into the other one: the first picture that is more like it, after a while without one. A
    change whose picture comes long after the one before is left out: nobody knows when it was.

    Raises DeviceError where there are too few pictures."""
    if len(seen) < 30:
        raise DeviceError("the film", f"holds {len(seen)} pictures")
    times, images = np.array([at for at, _ in seen]), np.stack([image for _, image in seen])
    level = np.abs(images - np.median(images, axis=0)).mean(axis=(1, 2, 3))
    over = level > (np.percentile(level, 5) + np.percentile(level, 95)) / 2
    begins = np.flatnonzero(over[1:] & ~over[:-1]) + 1
    out: list[float] = []
    for n in begins:
        before = times[:n][over[:n]]
        alone = not len(before) or times[n] - before[-1] > FLASH_S / 2
        if alone and times[n] - times[n - 1] < LONGEST_GAP:
            out.append(float(times[n]))
    return out


def lateness(turns: Sequence[float], heard: Sequence[float]) -> list[tuple[float, float]]:
    """(When a change was, by how much a beep came after it), for changes with one. Seconds, within half a period:
    both come once in each, and which beep belongs to which change nobody can tell."""
    pairs = [(at, min((beep - at for beep in heard), key=abs)) for at in turns] if heard else []
    return [(at, late) for at, late in pairs if abs(late) <= PERIOD_S / 2]


def apart(film: Sequence[tuple[float, float]], devices: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The film's own lateness: without what the devices are apart, the middle of theirs. Within half a period."""
    turns = np.exp(2j * np.pi * np.array([late for _, late in devices]) / PERIOD_S)
    about = PERIOD_S * float(np.angle(turns.mean())) / (2 * np.pi)
    theirs = about + float(np.median([_within(late - about) for _, late in devices]))
    return [(at, _within(late - theirs)) for at, late in film]


def _within(seconds: float) -> float:
    """The same moment of a period, from minus half of it to half."""
    return (seconds + PERIOD_S / 2) % PERIOD_S - PERIOD_S / 2


def run(options: argparse.Namespace) -> Result:
    """One film. Raises DeviceError where no browser can be driven, or too little can be read off the films."""
    if (reason := why_not()) is not None:
        raise DeviceError("film", reason, "On Debian: apt-get install chromium; pip install playwright")
    seconds = options.seconds or (15.0 if options.quick else 60.0)
    result = Result("film", settings={"seconds": seconds, "size": options.size, "camera": options.camera})
    with (
        tempfile.TemporaryDirectory() as folder,
        Progress(console=Console(stderr=True), transient=True) as progress,
    ):
        task = progress.add_task("film", total=3)
        camera, sound = Path(folder) / "camera.y4m", Path(folder) / "beeps.wav"
        wanted = (options.camera, options.camera * 3 // 4)
        rest, flash = (cv2.resize(face, wanted, interpolation=cv2.INTER_AREA) for face in faces())
        write_faces(camera, rest, flash, seconds + 30)
        write_beeps(sound)
        progress.advance(task)
        film, devices, facts = record(Path(folder), camera, sound, seconds, options.size)
        progress.advance(task)
        for kept in (film, devices) if options.keep else ():
            (Path(options.keep) / kept.name).write_bytes(kept.read_bytes())
        seen, heard = read_film(film)
        pairs = lateness(changes(seen), heard)
        own_seen, own_heard = read_film(devices)
        truth = lateness(changes(own_seen), own_heard)
        progress.advance(task)
    if min(len(pairs), len(truth)) < 5:
        raise DeviceError("film", f"{len(pairs)} changes with a beep in the film, {len(truth)} beside it: too few")
    begun = seen[0][0]
    _figures(result, apart(pairs, truth), pairs, truth, len(seen) / (seen[-1][0] - begun), seen[-1][0] - begun, facts)
    return result


def record(folder: Path, camera: Path, sound: Path, seconds: float, size: int) -> tuple[Path, Path, dict[str, Any]]:
    """The page's film, the one of the devices, and what the page held its sound back by. Raises ConnectionLost."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    arguments = ["-m", "realtime", "serve", "--port", str(port), "--size", str(size), "--quiet"]
    flags = (f"--use-file-for-fake-audio-capture={sound}",)
    with child(arguments, f"{url}/api/health"), chromium(camera, *flags) as browser:
        small = {"width": 480, "height": 400}  # to draw a larger page in software takes the time of what is measured
        context = browser.new_context(permissions=["camera", "microphone"], accept_downloads=True, viewport=small)
        context.add_init_script(f"localStorage.setItem('avatar.face', 'video'); {BESIDE}")
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(url)
        _until(page, "document.querySelector('#status').textContent === 'Live'")
        page.click("#camera")
        _until(page, "document.querySelector('#camera-view').videoWidth > 0")
        page.wait_for_timeout(1000 * CALM_S)  # the neutral face is learnt, delays settle
        page.click("#record")
        _until(page, "document.querySelector('#record').textContent.includes('Stop')")
        page.wait_for_timeout(1000 * seconds)
        with page.expect_download() as download:
            page.click("#record")
        film = folder / download.value.suggested_filename
        download.value.save_as(film)
        page.evaluate("window.beside.stop()")
        devices = folder / "devices.webm"
        devices.write_bytes(base64.b64decode(page.evaluate("window.besideFilm")))
        held = page.get_attribute("#record", "data-delay")
        return film, devices, {"held_back_ms": float(held or 0), "name": film.suffix}


def _until(page: Any, expression: str, seconds: float = 60) -> None:
    for _ in range(round(10 * seconds)):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(100)
    raise ConnectionLost(page.url, f"never came: {expression}")


def _figures(
    result: Result,
    own: Sequence[tuple[float, float]],
    film: Sequence[tuple[float, float]],
    devices: Sequence[tuple[float, float]],
    fps: float,
    seconds: float,
    facts: dict[str, Any],
) -> None:
    at, late = np.array(own).T
    late = 1000 * late
    result.add("film.sound_late.p50", float(np.median(late)), "ms", samples=list(late),
               about="beep after the avatar's change, without what the devices are apart")  # fmt: skip
    result.add("film.apart.p50", float(np.median(np.abs(late))), "ms", better="lower", target=MOST_MS,
               samples=list(np.abs(late)), about="whichever comes first")  # fmt: skip
    result.add("film.apart.p95", float(np.percentile(np.abs(late), 95)), "ms", better="lower", about="the same")
    result.add("film.apart.worst", float(np.abs(late).max()), "ms", better="lower", about="the same")
    drift = 60 * float(np.polyfit(at, late, 1)[0])
    result.add("film.drift", drift, "ms/min", about="of the sound against the picture, by a straight line")
    result.add("film.pairs", len(late), about="changes with a beep")
    result.add("film.length", seconds, "s", about="from its first picture to its last")
    result.add("film.fps", fps, "1/s", better="higher", about="pictures in the film")
    result.add("film.held_back", facts["held_back_ms"], "ms", about="what the page held the voice back by")
    raw = 1000 * np.array([x for _, x in film])
    result.add("film.as_it_is.p50", float(np.median(raw)), "ms", about="the beep after the change in the film itself")
    there = 1000 * np.array([x for _, x in devices])
    result.add("devices.sound_late.p50", float(np.median(there)), "ms", samples=list(there),
               about="the same in the film of camera and microphone, recorded beside it")  # fmt: skip
    result.series["film"] = {"seconds": [float(x - at[0]) for x in at], "ms": [float(x) for x in late]}


def passed(result: Result) -> bool:
    """Whether the film's sound is where it belongs."""
    figure = result.get("film.apart.p50")
    return figure is not None and bool(figure.met)


def figure(result: Result) -> Any:
    """Each change of the film: by how much its sound is late."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(6.4, 2.8), layout="constrained")
    axes = drawn.add_subplot()
    series = result.series["film"]
    axes.axhspan(-MOST_MS, MOST_MS, color="0.92", label=f"within {MOST_MS:g} ms")
    axes.plot(series["seconds"], series["ms"], "o", markersize=3)
    axes.set(xlabel="seconds of the film", ylabel="sound late, ms", ylim=(-150, 150))
    axes.legend(loc="upper right", frameon=False)
    return drawn
