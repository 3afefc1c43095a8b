"""From a portrait and a clip to a folder of pictures that Wan-Animate can be fed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from realtime.engines.weights.registry import sha256_of
from realtime.errors import BadFile
from realtime.face.landmarks import find_faces
from realtime.film.clip import Clip, images, look_at
from realtime.film.wan import crops
from realtime.film.wan.judge import Finding, Seen, judge
from realtime.film.wan.people import PeopleReader, Person, hide_outside
from realtime.film.wan.prepared import (
    BACKGROUND,
    DRIVING,
    FACE,
    MASK,
    PORTRAIT,
    POSE,
    SHEET,
    About,
    Prepared,
    Progress,
    make_folder,
    picture_digest,
)
from realtime.film.wan.retarget import Fit, centred, fit
from realtime.film.wan.sizes import film_size
from realtime.film.wan.skeleton import draw_skeleton
from realtime.home import user_path
from realtime.media.pictures import fit_into, write_picture
from realtime.sheets.contact import contact_row

MODES = ("animate", "replace")
COUNTED = 12
"""In so many frames, evenly spread, faces are counted."""
SHOWN = 8
"""Frames of a contact sheet."""
CELL = 176
"""Height of its pictures."""
FILLED = 0.95
"""A person's rectangle that takes up more of the picture leaves nothing to be put into."""
GRAIN = 1.0
"""A pixel whose 5 x 5 surroundings spread by less than this (of 255) has no grain."""


@dataclass(frozen=True)
class Wish:
    """What is to be prepared. driving: the clip. portrait: uint8 (H, W, 3) RGB. size: see `sizes.film_size`.
    fps: None for the clip's own. duration: only the first seconds. anyway: also where the clip is refused."""

    driving: Path
    portrait: np.ndarray
    mode: str = "animate"
    size: str = "480p"
    fps: float | None = None
    duration: float | None = None
    anyway: bool = False


def prepare(wish: Wish, folder: Path, on_frame: Progress = lambda done, total: None) -> Prepared:
    """Read the clip, draw the skeletons, cut out what is needed, and write it all into `folder`.

    What is wrong with the clip is in `about.findings`; a contact sheet is there also where the clip is refused.
    Raises BadFile (nobody in the clip, several people, a drawing, ... in most of it), BadValue, NotWritten.
    """
    clip = look_at(wish.driving, wish.fps, wish.duration)
    shape = wish.portrait.shape if wish.mode == "animate" else (clip.height, clip.width)
    height, width = film_size(wish.size, *shape[:2])
    kinds = (POSE, FACE) if wish.mode == "animate" else (POSE, FACE, BACKGROUND, MASK)
    about = About(
        "wan", wish.mode, width, height, clip.fps, 0, str(user_path(wish.driving).resolve()),
        sha256_of(user_path(wish.driving)), picture_digest(wish.portrait), wish.duration, kinds,
    )  # fmt: skip
    make_folder(folder)
    prepared = Prepared(folder, about)
    write_picture(folder / PORTRAIT, wish.portrait)
    total = 2 * (clip.frames or 0)
    seen, places = [], []
    with PeopleReader() as reader:
        for n, image in enumerate(images(wish.driving, clip.fps, wish.duration)):
            person = reader.read(image)
            seen.append(_seen(image, person, counted=n % max(1, (clip.frames or 100) // COUNTED) == 0))
            places.append(None if person is None else crops.person_box(person.outline, person.points()))
            prepared.write(FACE, n, crops.face_crop(image, None if person is None else person.face))
            on_frame(n + 1, max(total, n + 1))
    people = [s.person for s in seen]
    findings = judge(seen)
    if not any(person is not None and person.sure for person in people):
        raise BadFile(wish.driving, f"no person is found in any of its {len(seen)} frames, so nothing moves the film")
    prepared = Prepared(folder, replace(about, frames=len(seen)))
    sheet = _Sheet(len(seen))
    fitting, notes = _fitting(wish, people, clip, height, width)
    under = fit_into(wish.portrait, width, height) // 3 if wish.mode == "animate" else np.uint8(0)
    boxes = crops.bridged(places, longest=round(clip.fps / 2))
    for n, image in enumerate(images(wish.driving, clip.fps, wish.duration)):
        pose = _pose(people[n], fitting, clip, height, width)
        prepared.write(POSE, n, pose)
        parts = {"driving": _overlaid(image, people[n], boxes[n]), "pose": np.maximum(pose, under)}
        parts["face"] = prepared.picture(FACE, n)
        if wish.mode == "replace":
            mask = crops.mask_of(_scaled(boxes[n], clip, height, width), height, width)
            background = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
            background[mask > 0] = 0
            prepared.write(MASK, n, mask)
            prepared.write(BACKGROUND, n, background)
            parts["background"] = background
        sheet.add(n, parts)
        on_frame(len(seen) + n + 1, 2 * len(seen))
    if wish.mode == "replace":
        shown = tuple(n for n, box in enumerate(boxes) if box is None)
        filled = tuple(n for n, box in enumerate(boxes) if box is not None and _share(box, clip) > FILLED)
        if filled:
            findings.append(Finding("the person fills the picture, so next to nothing is kept of it", filled, False))
        if shown:
            findings.append(Finding("nobody is found for long, so whoever is there is shown as filmed", shown, False))
    said = (*(finding.sentence() for finding in findings), *notes)
    write_picture(folder / SHEET, sheet.picture(about, said))
    grave = next((finding for finding in findings if finding.grave), None)
    if grave is not None and not wish.anyway:
        cure = f"look at {folder / SHEET}; --anyway goes on all the same"
        raise BadFile(wish.driving, f"{grave.sentence()} of {len(seen)}; {cure}")
    finished = Prepared(folder, replace(prepared.about, findings=said))
    finished.finish()
    return finished


def prepare_frames(wish: Wish, folder: Path, engine: str, on_frame: Progress = lambda done, total: None) -> Prepared:
    """Prepare for a network that is driven by the clip itself: its frames, no larger than the film, and the portrait.
    Raises BadFile, BadValue, NotWritten."""
    clip = look_at(wish.driving, wish.fps, wish.duration)
    height, width = film_size(wish.size, *wish.portrait.shape[:2])
    about = About(
        engine, wish.mode, width, height, clip.fps, 0, str(user_path(wish.driving).resolve()),
        sha256_of(user_path(wish.driving)), picture_digest(wish.portrait), wish.duration, (DRIVING,),
    )  # fmt: skip
    make_folder(folder)
    write_picture(folder / PORTRAIT, wish.portrait)
    prepared, frames = Prepared(folder, about), 0
    scale = min(1.0, height / clip.height, width / clip.width)
    sheet = _Sheet(clip.frames or 1)
    for frames, image in enumerate(images(wish.driving, clip.fps, wish.duration), start=1):
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        prepared.write(DRIVING, frames - 1, small)
        sheet.add(frames - 1, {"frames": small})
        on_frame(frames, max(frames, clip.frames or 0))
    finished = Prepared(folder, replace(about, frames=frames))
    write_picture(folder / SHEET, sheet.picture(finished.about, ()))
    finished.finish()
    return finished


def _seen(image: np.ndarray, person: Person | None, counted: bool) -> Seen:
    faces = None
    if counted:
        faces = tuple(sorted((float(np.ptp(face[:, 1])) for face in find_faces(image)), reverse=True))
    if person is None:
        return Seen(None, 0.0, faces)
    return Seen(person.light(), flatness(image, person.outline), faces)


def flatness(image: np.ndarray, outline: np.ndarray) -> float:
    """Share of the person's pixels that have no grain: films have some everywhere, drawings hardly any."""
    scale = min(1.0, 640 / max(image.shape))
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    inside = cv2.resize(outline.astype(np.uint8), grey.shape[::-1]) > 0
    if inside.sum() < 100:
        return 0.0
    values = grey.astype(np.float32)
    mean = cv2.blur(values, (5, 5))
    spread = np.sqrt(np.maximum(cv2.blur(values * values, (5, 5)) - mean * mean, 0))
    return float((spread[inside] < GRAIN).mean())


def _fitting(
    wish: Wish, people: list[Person | None], clip: Clip, height: int, width: int
) -> tuple[Fit | None, tuple[str, ...]]:
    """How skeletons are carried into the film (None: they stay where the driver is), and what is to be said of it."""
    if wish.mode == "replace":
        return None, ()
    with PeopleReader(still=True) as reader:
        own = reader.read(fit_into(wish.portrait, width, height))
    if own is not None and own.sure:
        return fit(own, people), ()
    note = "no body is found in the portrait, so the driver's proportions and place are kept"
    return centred((clip.height, clip.width), (height, width)), (note,)


def _pose(person: Person | None, fitting: Fit | None, clip: Clip, height: int, width: int) -> np.ndarray:
    """The skeleton of one frame, uint8 (height, width, 3); black where nobody is found."""
    if person is None:
        return np.zeros((height, width, 3), np.uint8)
    if fitting is not None:
        return draw_skeleton(*fitting.carry(person, height, width), height, width)
    scale = np.array([width / clip.width, height / clip.height, 1.0])
    body = hide_outside(person.body * scale, height, width)
    left, right = (None if h is None else hide_outside(h * scale, height, width) for h in (person.left, person.right))
    return draw_skeleton(body, left, right, height, width)


def _scaled(box: crops.Box | None, clip: Clip, height: int, width: int) -> crops.Box | None:
    """A box of the clip in the film's pixels."""
    if box is None:
        return None
    across, down = width / clip.width, height / clip.height
    return int(box[0] * across), int(box[1] * down), round(box[2] * across), round(box[3] * down)


def _share(box: crops.Box, clip: Clip) -> float:
    """How much of the picture a box takes up."""
    return (box[2] - box[0]) * (box[3] - box[1]) / (clip.height * clip.width)


class _Sheet:
    """Collects a few moments of the film, evenly spread."""

    def __init__(self, frames: int) -> None:
        last = max(0, frames - 1)
        self._wanted = sorted({round(k * last / (SHOWN - 1)) for k in range(SHOWN)})
        self._rows: dict[str, list[np.ndarray]] = {}

    def add(self, frame: int, parts: dict[str, np.ndarray]) -> None:
        """parts: pictures of this moment by what they show, (H, W, 3)."""
        if frame in self._wanted:
            for kind, image in parts.items():
                side = round(CELL * image.shape[1] / image.shape[0])
                self._rows.setdefault(kind, []).append(cv2.resize(image, (side, CELL), interpolation=cv2.INTER_AREA))

    def picture(self, about: About, said: tuple[str, ...]) -> np.ndarray:
        """uint8 (H, W, 3)."""
        moments = ", ".join(map(str, self._wanted))
        heads = [f"{about.mode}, {about.width}x{about.height}, {about.fps:.3g} fps; frames {moments}", *said]
        rows = [contact_row(pictures, _ROWS[kind]) for kind, pictures in self._rows.items()]
        wide = max([row.shape[1] for row in rows] + [640])
        blank = np.full((2, wide, 3), 255, np.uint8)
        rows = [*(contact_row([blank], head) for head in heads), *rows]
        return np.vstack([np.pad(r, ((0, 0), (0, wide - r.shape[1]), (0, 0)), constant_values=255) for r in rows])


_ROWS = {
    "driving": "the clip, with the person's place and what was read of body and hands",
    "pose": "the skeleton that the network is given; where the portrait is to move, it has to lie on its body",
    "face": "the face that it is given",
    "frames": "the clip, as the network is given it",
    "background": "what is kept of the clip; the person of the portrait is put into the black",
}


def _overlaid(image: np.ndarray, person: Person | None, box: crops.Box | None) -> np.ndarray:
    """A driving picture at about the film's size with what was read drawn over it."""
    scale = min(1.0, 720 / max(image.shape))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    if person is not None:
        to = np.array([scale, scale, 1.0])
        left, right = (None if hand is None else hand * to for hand in (person.left, person.right))
        drawn = draw_skeleton(person.body * to, left, right, *small.shape[:2])
        small = np.where(drawn.any(-1, keepdims=True), drawn, small)
    if box is not None:
        corners = [round(side * scale) for side in box]
        cv2.rectangle(small, (corners[0], corners[1]), (corners[2] - 1, corners[3] - 1), (255, 255, 255), 2)
    return small
