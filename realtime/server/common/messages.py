"""What a client and the server say to each other on the data channel `control`. JSON, one object per message.

The same messages go to `POST /api/sessions/{id}/control`, for clients without a data channel (WHIP, a fallback
picture). `schema()` gives the JSON schema of all of them; it is served at `/api/control.schema.json`.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from realtime.media.backgrounds import STRONGEST, Chosen

Source = Literal["camera", "landmarks", "sample", "motion", "voice"]
Face = Literal["tracking", "holding", "easing", "resting", "waiting"]
Shape = Literal["", "1:1", "16:9", "9:16", "4:3", "3:4"]
Name = Annotated[str, Field(min_length=1, max_length=64)]
Amount = Annotated[float, Field(ge=-1000, le=1000, allow_inf_nan=False)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SetEdits(_Message):
    """Move sliders: amounts of named directions, added to the motion. Directions left out keep their amount."""

    type: Literal["set_edits"]
    values: Annotated[dict[Name, Amount], Field(max_length=128)]


class ResetEdits(_Message):
    """All sliders back to zero."""

    type: Literal["reset_edits"]


class Calibrate(_Message):
    """Learn the driver's neutral face from his next few seconds; or take one that was learnt in an earlier session
    with the same engine, as `State.neutral` told it."""

    type: Literal["calibrate"]
    neutral: Annotated[list[Annotated[float, Field(allow_inf_nan=False)]] | None, Field(max_length=1024)] = None


class ChoosePortrait(_Message):
    """Show another portrait, by its id in the gallery."""

    type: Literal["portrait"]
    id: Name


class Pause(_Message):
    """Stop following the driver: the avatar eases to neutral. False: follow again."""

    type: Literal["pause"]
    paused: bool = True


class ChooseSource(_Message):
    """What drives the avatar: the camera track, landmark packets, the built-in sample, motion packets, or the sound
    track alone: lips follow the voice, head and eyes are alive by themselves."""

    type: Literal["source"]
    source: Source


class Mirror(_Message):
    """Flip the driving frames, so that the avatar moves like a mirror."""

    type: Literal["mirror"]
    on: bool


class ChooseBackground(_Message):
    """What is behind the portrait: its own background, plain green (for keying), its own, blurred (by `strength`), or
    the picture or clip that the session was brought (`POST /api/sessions/{id}/background`)."""

    type: Literal["background"]
    background: Chosen
    strength: Annotated[float, Field(gt=0, le=STRONGEST, allow_inf_nan=False)] = 1.0


class ChooseShape(_Message):
    """Another shape of the picture, width to height; "" that which the server was started with. At the panel of a
    running camera it is kept for the next start: a camera keeps its size while it runs."""

    type: Literal["shape"]
    shape: Shape


class Amplitude(_Message):
    """More or less of the driver's motion, by part: head, mouth, eyes, brows, body. 1 as driven, 0 still. Parts left
    out keep theirs."""

    type: Literal["amplitude"]
    values: Annotated[dict[Name, Amount], Field(max_length=16)]


class HoldGaze(_Message):
    """Keep the eyes on the viewer, whatever the driver's do."""

    type: Literal["hold_gaze"]
    on: bool


class Smoothing(_Message):
    """Follow the driver more calmly: 0 at once, 1 within about a third of a second."""

    type: Literal["smoothing"]
    amount: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Express(_Message):
    """Put an expression of the board (`Hello.expressions`) on: for `seconds`, or with `on` true until the same comes
    with `on` false. It eases in and out. Who only drives may say this too."""

    type: Literal["expression"]
    name: Name
    on: bool | None = None
    seconds: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = 1.2


class Ping(_Message):
    """Answered at once by a pong with the same `t`; measures the way there and back."""

    type: Literal["ping"]
    t: Annotated[float, Field(allow_inf_nan=False)]


Command = Annotated[
    SetEdits
    | ResetEdits
    | Calibrate
    | ChoosePortrait
    | Pause
    | ChooseSource
    | Mirror
    | ChooseBackground
    | ChooseShape
    | Amplitude
    | HoldGaze
    | Smoothing
    | Express
    | Ping,
    Field(discriminator="type"),
]


class DirectionInfo(BaseModel):
    """One slider: a direction of the engine's motion dictionary."""

    name: str
    lo: float
    hi: float
    about: str
    group: str
    unit: str


class ExpressionInfo(BaseModel):
    """One key of the board of expressions."""

    name: str
    about: str


class PortraitInfo(BaseModel):
    """One picture of the gallery. `image` is where its small picture is."""

    id: str
    title: str
    image: str
    uploaded: bool = False
    views: list[str] = Field(default_factory=list)
    """The ids of further pictures of its person, in the order in which they came."""


class BackgroundInfo(BaseModel):
    """What was brought to lie behind the portrait. moving: it is a clip. seconds: of it that go round. cut: it is
    longer than that."""

    moving: bool
    seconds: float
    cut: bool


class FaceInfo(BaseModel):
    """One face in a picture. Left, top, width and height as shares of the picture's; cut: its border goes through
    the face."""

    x: float
    y: float
    width: float
    height: float
    cut: bool


class Look(BaseModel):
    """What is in a picture that might become a portrait. image: it, upright, as a `data:` address."""

    image: str
    width: int
    height: int
    turned: bool
    faces: list[FaceInfo]


class State(BaseModel):
    """What the session shows now. Sent after the channel opens and after each change."""

    type: Literal["state"] = "state"
    portrait: str
    edits: dict[str, float]
    paused: bool
    mirror: bool
    background: Chosen
    source: Source
    calibrated: bool
    face: Face
    calibration: float = 1.0
    """How well the driver's neutral face is known, 0 to 1."""
    neutral: list[float] | None = None
    """The driver's neutral code, once it is known after `calibrate`."""
    amplitude: dict[str, float] = Field(default_factory=dict)
    """What of the driver's motion is more or less than 1, by part."""
    hold_gaze: bool = False
    smoothing: float = 0.0
    blur: float = 1.0
    """How strong the blur is, where that is the background."""
    shape: str = ""
    """Of the picture, width to height; "" that which the server was started with."""
    preparing: bool = False
    """True while a portrait or background that was asked for is not shown yet."""


class Hello(BaseModel):
    """First message of the server: what this session can do."""

    type: Literal["hello"] = "hello"
    session: str
    engine: str
    device: str
    size: int
    fps: float
    panel: bool
    """True where the page is the control panel of a running virtual camera: it has its own camera."""
    directions: list[DirectionInfo]
    portraits: list[PortraitInfo]
    expressions: list[ExpressionInfo] = Field(default_factory=list)
    """The board, in the order of its keys; empty where the engine's directions have no names."""
    state: State
    view: str = ""
    """Path at which the avatar is seen. It opens nothing else."""
    drive: str = ""
    """Key that only drives, for `/api/motion?session=`; told to those who control."""
    shapes: list[str] = Field(default_factory=list)
    """Shapes of the picture that can be chosen, beside that which the server was started with."""
    landmarks: bool = False
    """True where landmark packets can drive: the engine needs no more of a driving frame."""
    views: int = 0
    """How many further pictures of its person an uploaded portrait may have; 0 where the engine takes one picture."""


class Stats(BaseModel):
    """Once a second: how it goes. Times in milliseconds, None where nothing was measured."""

    type: Literal["stats"] = "stats"
    fps: float
    received: int
    rendered: int
    dropped: int
    no_face: int
    encode_ms: float | None
    render_ms: float | None
    server_ms: float | None
    """Median time from the arrival of a driving frame to the hand-over of its picture to the video encoder."""
    sent_ms: float | None = None
    """The same until its last packet has left, of the slowest of the session's connections."""
    engine: str
    device: str
    codec: str | None
    bitrate: int | None
    """Bits per second that the video encoder aims at."""
    sessions: int
    face: Face
    calibration: float = 1.0
    """How well the driver's neutral face is known, 0 to 1."""
    held_to: float | None = None
    """Pictures a second that all sessions are held to, because the machine is full; None where they are not."""
    sparing: bool = False
    """The machine is full, and what pictures can do without is left out: shoulders rest, video has half the bits."""

    fit: float | None = None
    """How well that neutral face still sits: 1 wholly, 0 not at all; None before enough of a calm driver was seen."""
    off: Literal["", "head", "face"] = ""
    """What of him sits worse, where anything does: how he holds his head, or how his face looks at rest."""


class Error(BaseModel):
    """A message could not be followed; `error` says why in one sentence."""

    type: Literal["error"] = "error"
    error: str


class Pong(BaseModel):
    """Answer to a ping."""

    type: Literal["pong"] = "pong"
    t: float


class Kept(BaseModel):
    """A landmark packet is remembered: later ones may be told by what differs from it."""

    type: Literal["kept"] = "kept"
    sequence: int


class Portraits(BaseModel):
    """The gallery has changed."""

    type: Literal["portraits"] = "portraits"
    portraits: list[PortraitInfo]


class Ended(BaseModel):
    """Last message: the session ends, and why. The page does not reconnect by itself after `too_long`."""

    type: Literal["ended"] = "ended"
    reason: str
    limit_s: float | None = None
    """How long a session may last, seconds; with `too_long`."""


Event = Hello | State | Stats | Error | Pong | Kept | Portraits | Ended

_COMMANDS: TypeAdapter[Any] = TypeAdapter(Command)
_EVENTS: TypeAdapter[Any] = TypeAdapter(Annotated[Event, Field(discriminator="type")])


class BadMessage(ValueError):
    """A message that is no command; `str()` is one sentence for the client."""


def parse(text: str | bytes, limit: int = 8 * 1024) -> Command:
    """The command in `text`. Raises BadMessage for anything else."""
    if len(text) > limit:
        raise BadMessage(f"message has {len(text)} characters; at most {limit}")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise BadMessage("message is not JSON") from None
    if not isinstance(data, dict):
        raise BadMessage("message is not a JSON object")
    try:
        return _COMMANDS.validate_python(data, strict=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part)[:64] for part in first["loc"])
        raise BadMessage(f"{where or 'message'}: {first['msg']}") from None


def schema() -> dict[str, Any]:
    """JSON schema: `commands` a client sends, `events` the server sends."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Messages of the data channel `control`",
        "commands": _COMMANDS.json_schema(),
        "events": _EVENTS.json_schema(),
    }
