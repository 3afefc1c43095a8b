"""The camera that stays in the browser, beside video: landmarks, what the avatar makes of them, bytes, delay.

Pictures of each clip go one by one through the landmark model in a real Chromium, as the page does it, and through
our own tracker. Both readings then drive one avatar through the same filter, own shape and code, and the pictures are
compared with the driver (`quality` says what the measures are). What goes out is counted on the page of a running
server, driven by a camera that plays the clip, first with pictures kept at home, then as video: `getStats` says what
was sent, the page itself what it takes from glass to glass. Without a GPU the browser finds less than two faces a
second, so the bytes at 30 a second are our own writer's, for every frame of the clip, with answers 100 ms late.

  python -m benchmarks private --json private.json
"""

from __future__ import annotations

import argparse
import base64
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.progress import Progress

from benchmarks.live.browser import chromium, why_not, write_camera
from benchmarks.live.loopback import served
from benchmarks.live.subjects import clip_name, driving_clip, letterboxed
from benchmarks.report.result import Result
from realtime.clients import browser_model
from realtime.engines import load_engine
from realtime.engines.mesh.engine import MeshEngine
from realtime.errors import ConnectionLost, DeviceError
from realtime.face.face_model import CHIN, FOREHEAD
from realtime.face.landmarks import FaceTracker
from realtime.measures.faces import FaceReader
from realtime.measures.media import Clip
from realtime.measures.reenactment import at_rest, correlation, cross_reenactment
from realtime.media.portraits import builtin_portrait
from realtime.motion.landmark_wire import LandmarkReader, LandmarkWriter
from realtime.types import Landmarks, MotionCode

WEBGL = ("--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
HEADERS = 29 + 28 + 8 + 20
"""Bytes around each packet: DTLS record, SCTP header and chunk, UDP, IPv4."""
BACK_S = 0.1
"""The answer to a packet is known to the sender so much later."""
WAYS = ("here", "video")
FIND = """async ({ model, pictures }) => {
  const files = Object.fromEntries(await Promise.all(model.map(async at => (
    [at.replace(/^.*\\/|\\?.*$/g, ""), await (await fetch(at)).blob()]))));
  window.finder ??= new Promise((ready, failed) => {
    const worker = new Worker("/app/landmark-worker.js");
    worker.onmessage = ({ data }) => data.ready ? ready(worker) : failed(new Error(data.failed));
    worker.postMessage({ files });
  });
  const worker = await window.finder, out = [];
  for (const data of pictures) {
    const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0));
    const picture = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
    const said = await new Promise(done => {
      worker.onmessage = ({ data }) => done(data);
      worker.postMessage({ picture, captured: 0 }, [picture]);
    });
    if (said.failed) throw new Error(said.failed);
    out.push([said.result.took, said.result.points && [...said.result.points]]);
  }
  return out;
}"""
KEEP = """window.peers = []; window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...a) { super(...a); window.peers.push(this); } };"""
SENT = """async () => {
  const rows = [...(await window.peers.at(-1).getStats()).values()], now = performance.now();
  const sum = (keep, key) => rows.filter(keep).reduce((total, row) => total + row[key], 0);
  return { now, video: sum(r => r.type === "outbound-rtp", "bytesSent"),
    tracks: window.peers.at(-1).getSenders().filter(s => s.track).length,
    packets: sum(r => r.type === "data-channel" && r.label === "landmarks", "messagesSent"),
    bytes: sum(r => r.type === "data-channel" && r.label === "landmarks", "bytesSent"),
    figures: Object.fromEntries([...document.querySelectorAll("#live-figures > div")].map(row =>
      [row.querySelector("dt").textContent, row.querySelector("dd").textContent])) };
}"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `private`."""
    parser.add_argument("--clip", metavar="PATH", nargs="+", help="driving clips; default one of a webcam")
    parser.add_argument("--frames", type=int, help="pictures of each clip that the browser looks at (60; quick 12)")
    parser.add_argument("--seconds", type=float, help="measured seconds of each way (20; quick 8)")
    parser.add_argument("--size", type=int, default=256, help="size of the avatar's picture (256)")


def run(options: argparse.Namespace) -> Result:
    """Landmarks, then what goes out. Raises DeviceError where no browser can be driven, or the model is not here."""
    if (reason := why_not()) is not None:
        raise DeviceError("private", reason, "On Debian: apt-get install chromium; pip install playwright")
    if not browser_model.there():
        reason = "the face model for browsers is not here"
        raise DeviceError("private", reason, "python -m realtime.clients.browser_model")
    frames = options.frames or (12 if options.quick else 60)
    seconds = options.seconds or (8 if options.quick else 20)
    paths = options.clip or [None]
    names = [clip_name(path) for path in paths]
    result = Result("private", settings={"clips": names, "frames": frames, "seconds": seconds, "size": options.size})
    with (
        tempfile.TemporaryDirectory() as folder,
        Progress(console=Console(stderr=True), transient=True) as progress,
        served(options.size, 2, ["--engine", "mesh"]) as (address, _),
    ):
        clips = [driving_clip(path) for path in paths]
        camera = Path(folder) / "camera.y4m"
        write_camera(camera, letterboxed(clips[0].frames[:150], 640, 480), 30)
        task = progress.add_task("landmarks", total=len(clips) * frames + len(WAYS))
        with chromium(camera, *WEBGL) as browser:
            page = browser.new_context(permissions=["camera"]).new_page()
            page.goto(f"{address}/view/none")
            model = page.evaluate("async () => (await (await fetch('/api/config')).json()).faceModel")
            found = []
            for clip in clips:
                read = []
                nobody = np.zeros((64, 64, 3), np.uint8)  # the face before is lost: this one is looked for anew
                page.evaluate(FIND, {"model": model, "pictures": [_png(nobody)] * 2})
                step = max(1, len(clip.frames) // frames)
                chosen = Clip(clip.name, clip.frames[: step * frames : step], clip.fps / step)
                for picture in chosen.frames:
                    read += page.evaluate(FIND, {"model": model, "pictures": [_png(picture)]})
                    progress.advance(task)
                found.append((chosen, read))
            page.close()
            _landmarks(result, found)
            _follow(result, found, options.size)
            _bytes(result, clips)
            for way in WAYS:
                _sent(result, browser, address, way, seconds)
                progress.advance(task)
    result.notes.append("WebGL ran in software, on the processor: the browser's times are no user's")
    return result


def _png(picture: np.ndarray) -> str:
    return base64.b64encode(cv2.imencode(".png", picture[..., ::-1])[1].tobytes()).decode()


def _height(points: np.ndarray) -> float:
    return float(np.linalg.norm(points[FOREHEAD] - points[CHIN]))


def _landmarks(result: Result, found: Sequence[tuple[Clip, list[Any]]]) -> None:
    """The browser's landmarks beside our tracker's, of the same pictures, in percent of the face's height."""
    means, rests, took = [], [], []
    for clip, read in found:
        with FaceTracker() as tracker:
            for picture, (ms, points) in zip(clip.frames, read, strict=True):
                ours = tracker.track(picture)
                if ours is None or points is None:
                    continue
                took.append(ms)
                theirs = np.array(points, np.float32).reshape(-1, 3)
                apart = np.linalg.norm(theirs[:, :2] - ours[:, :2], axis=1) / _height(ours)
                means.append(100 * float(apart.mean()))
                rests.append(100 * float(np.percentile(apart, 95)))
    about = "the browser's landmarks from our tracker's of the same picture, mean of 478 points"
    result.add("landmarks.apart", float(np.mean(means)), "% fh", better="lower", target=0.5, about=about)
    result.add("landmarks.apart.p95 of pictures", float(np.percentile(means, 95)), "% fh", better="lower")
    result.add("landmarks.apart.p95 of points", float(np.mean(rests)), "% fh", better="lower")
    result.add("landmarks.pictures", float(len(means)), "")
    result.add("landmarks.took", float(np.median(took[1:])), "ms", about="one picture in the browser, without a GPU")


def _follow(result: Result, found: Sequence[tuple[Clip, list[Any]]], size: int) -> None:
    """What the avatar makes of both readings."""
    engine = load_engine("mesh", size=size)
    assert isinstance(engine, MeshEngine)
    portrait = builtin_portrait()
    engine.set_portrait(portrait)
    reader = FaceReader()
    rest = at_rest(engine, portrait, reader)[0]
    rows: dict[str, list[dict[str, float]]] = {"browser": [], "server": []}
    for clip, read in found:
        for side in rows:
            engine.reset()
            codes: dict[int, MotionCode | None] = {}
            with FaceTracker() as tracker:
                for n, (picture, (_, points)) in enumerate(zip(clip.frames, read, strict=True)):
                    height, width = picture.shape[:2]
                    theirs = None if points is None else np.array(points, np.float32).reshape(-1, 3)
                    seen = theirs if side == "browser" else tracker.track(picture)
                    codes[n] = engine.encode_landmarks(Landmarks(seen, width, height, captured=n / clip.fps))
            first = next(n for n, code in codes.items() if code is not None)
            kept = {n: code for n, code in codes.items() if n >= first}
            rows[side] += cross_reenactment(engine, clip, kept, rest, reader).rows
    engine.close()
    for side, many in rows.items():
        for name, unit, value in (
            ("pose", "deg", float(np.nanmean([row.get("pose", np.nan) for row in many]))),
            ("mouth", "fh", _error(many, "mouth")),
            ("mouth_r", "", correlation(many, "mouth_want", "mouth_got", 0.01)),
            ("eye", "", _error(many, "eye")),
            ("gaze", "eye w.", float(np.nanmean([row.get("gaze", np.nan) for row in many]))),
        ):
            result.add(f"cross.{side}.{name}", value, unit, better="higher" if name.endswith("_r") else "lower")


def _error(rows: Sequence[dict[str, float]], what: str) -> float:
    return float(np.mean([abs(row[f"{what}_want"] - row[f"{what}_got"]) for row in rows if f"{what}_want" in row]))


def _bytes(result: Result, clips: Sequence[Clip]) -> None:
    """What every frame's landmarks take, 30 a second, and what is lost."""
    sizes, lost = [], []
    late = round(BACK_S * 30)
    for clip in clips:
        writer, reader, answers = LandmarkWriter(), LandmarkReader(), []
        with FaceTracker() as tracker:
            for n, picture in enumerate(clip.frames):
                height, width = picture.shape[:2]
                ours = tracker.track(picture)
                data = writer.pack(Landmarks(ours, width, height, captured=n / 30))
                back, sequence, keep = reader.unpack(data)
                sizes.append(len(data))
                if ours is not None and back is not None and back.points is not None:
                    lost.append(100 * float(np.abs(back.points - ours).max()) / _height(ours))
                answers += [(n + late, sequence)] * keep
                while answers and answers[0][0] <= n:
                    writer.kept(answers.pop(0)[1])
    kbit = 8 * 30 / 1000
    result.add("wire.landmarks", kbit * float(np.mean(sizes)), "kbit/s", better="lower", target=250.0)
    result.add("wire.landmarks with all headers", kbit * (float(np.mean(sizes)) + HEADERS), "kbit/s", better="lower")
    result.add("wire.lost", max(lost), "% fh", better="lower", target=0.1, about="largest error of a coordinate")


def _sent(result: Result, browser: Any, address: str, way: str, seconds: float) -> None:
    """One way on the page: what goes out, and the page's own figures. Raises ConnectionLost where nothing does."""
    context = browser.new_context(permissions=["camera"])
    context.add_init_script(KEEP + f"localStorage.setItem('avatar.face', '{way}');")
    page = context.new_page()
    page.goto(address)
    page.wait_for_timeout(4000)
    page.evaluate("document.querySelector('#camera').click(); document.querySelector('#figures').click()")
    before: dict[str, Any] = {}
    for _ in range(90):
        page.wait_for_timeout(1000)
        before = page.evaluate(SENT)
        if before["packets"] >= 3 or before["video"] > 100_000:
            break
    else:
        raise ConnectionLost("the page", "nothing went out")
    glass = []
    for _ in range(round(seconds)):
        page.wait_for_timeout(1000)
        said = page.evaluate(SENT)["figures"].get("Glass to glass", "").removesuffix(" ms")
        glass += [float(said)] if said.isdigit() else []
    after = page.evaluate(SENT)
    span = (after["now"] - before["now"]) / 1000
    result.add(f"{way}.video sent", 8e-3 * (after["video"] - before["video"]) / span, "kbit/s")
    result.add(f"{way}.tracks sent", float(after["tracks"]), "")
    result.add(f"{way}.packets", (after["packets"] - before["packets"]) / span, "1/s")
    result.add(f"{way}.landmarks sent", 8e-3 * (after["bytes"] - before["bytes"]) / span, "kbit/s")
    if glass:
        result.add(f"{way}.glass to glass", float(np.median(glass)), "ms", samples=glass, about="the page's own sum")
    context.close()
