"""VMC and OSC, received and sent by python-osc, against the published list of messages (protocol.vmc.info)."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
import time

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from realtime.errors import BadValue, DeviceError
from realtime.face.pose import rotation_matrix
from realtime.motion.vocabulary import Shapes, vocabulary_of
from realtime.session.local import Pipeline
from realtime.sinks import SinkOptions, open_sink
from realtime.sinks.vmc import quaternion
from realtime.sources import SourceOptions, open_source, parse_source
from realtime.sources.vmc import Heard
from realtime.types import MotionCode, Picture
from tests.motion.test_arkit import ARKIT, NOT_TOLD
from tests.support import plain

pytest.importorskip("pythonosc", reason="python-osc is not installed")
from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_server import BlockingOSCUDPServer
from pythonosc.udp_client import SimpleUDPClient

PUBLISHED = {
    "/VMC/Ext/OK": (int,),
    "/VMC/Ext/T": (float,),
    "/VMC/Ext/Root/Pos": (str, *[float] * 7),
    "/VMC/Ext/Bone/Pos": (str, *[float] * 7),
    "/VMC/Ext/Blend/Val": (str, float),
    "/VMC/Ext/Blend/Apply": (),
}
"""The messages of version 2.0 that a performer sends, and the types of their arguments."""
MESH = vocabulary_of("mesh")
REST = MESH.of_shapes(Shapes({}))


class Listener:
    """A program with python-osc: keeps what comes, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple] = []
        dispatcher = Dispatcher()
        dispatcher.set_default_handler(lambda address, *arguments: self.heard.append((address, *arguments)))
        self.server = BlockingOSCUDPServer(("127.0.0.1", 0), dispatcher)
        self.port = self.server.server_address[1]
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self) -> Listener:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.server.shutdown()
        self.server.server_close()

    def wait(self, address: str, count: int = 1) -> list[tuple]:
        end = time.monotonic() + 40
        while sum(each[0] == address for each in self.heard) < count:
            assert time.monotonic() < end, f"{address} did not come: {self.heard[:3]}"
            time.sleep(0.01)
        return list(self.heard)


def picture(amounts: dict[str, float], head=(0.0, 0.0, 0.0)) -> Picture:
    code = MotionCode("mesh", MESH.of_shapes(Shapes(amounts, head)))
    return Picture(plain(0), 0.0, code=code, reference=MotionCode("mesh", REST))


def sent(sink: str, shown: Picture, last: str) -> list[tuple]:
    with Listener() as listener:
        made = open_sink(f"{sink}:127.0.0.1:{listener.port}", SinkOptions())
        made.open(64, 64, 30.0)
        made.write(shown)
        heard = listener.wait(last)
        made.close()
    return heard


def test_every_vmc_message_is_a_published_one_with_its_arguments():
    heard = sent("vmc", picture({"jawOpen": 0.5}, (20.0, 0.0, 0.0)), "/VMC/Ext/Blend/Apply")
    for address, *arguments in heard:
        assert address in PUBLISHED
        assert tuple(map(type, arguments)) == PUBLISHED[address], address
    assert heard[-1] == ("/VMC/Ext/Blend/Apply",), "applied when all have come"
    assert heard[0] == ("/VMC/Ext/OK", 1)
    values = {name: amount for address, name, amount in (h for h in heard if h[0] == "/VMC/Ext/Blend/Val")}
    assert set(values) == {name[0].upper() + name[1:] for name in ARKIT - NOT_TOLD}
    assert values["JawOpen"] == pytest.approx(0.5, abs=0.02)
    assert max(amount for name, amount in values.items() if name != "JawOpen") < 0.1
    bones = {each[1]: each[5:] for each in heard if each[0] == "/VMC/Ext/Bone/Pos"}
    assert set(bones) == {"Head"}
    x, y, z, w = bones["Head"]
    # the nose goes to the person's left, which is -x in Unity: about -20 degrees around y, up
    assert (x, z) == pytest.approx((0.0, 0.0), abs=1e-5)
    assert math.degrees(2 * math.atan2(y, w)) == pytest.approx(-20.0, abs=0.1)


def test_the_head_lifts_and_leans_as_in_unity():
    """Around x, to the right, a head that looks up turns by less than nothing; leaning left, around z, by more."""
    x, _, _, w = quaternion(0.0, 15.0, 0.0)
    assert math.degrees(2 * math.atan2(x, w)) == pytest.approx(-15.0)
    _, _, z, w = quaternion(0.0, 0.0, 10.0)
    assert math.degrees(2 * math.atan2(z, w)) == pytest.approx(10.0)


def test_the_quaternion_is_that_of_our_own_rotation():
    for head in ((20.0, -10.0, 5.0), (-35.0, 24.0, -30.0)):
        ours = rotation_matrix(*head)
        assert Rotation.from_quat(quaternion(*head)).as_matrix() == pytest.approx(ours, abs=1e-6)


def test_datagrams_are_no_longer_than_a_packet():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(5)
        sink = open_sink(f"vmc:{listener.getsockname()[1]}", SinkOptions())
        sink.open(64, 64, 30.0)
        sink.write(picture({}))
        sizes = [len(listener.recv(65535)) for _ in range(2)]
        sink.close()
    assert max(sizes) <= 1472, sizes


def test_plain_osc_has_arkits_names_and_degrees():
    heard = sent("osc", picture({"mouthSmileLeft": 0.8}, (5.0, -3.0, 2.0)), "/avatar/shape/noseSneerLeft")
    assert heard[0][0] == "/avatar/head"
    assert heard[0][1:] == pytest.approx((5.0, -3.0, 2.0), abs=1e-4)
    amounts = {address.rpartition("/")[2]: value for address, value in heard[1:]}
    assert set(amounts) <= ARKIT
    assert amounts["mouthSmileLeft"] == pytest.approx(0.8, abs=0.02)


async def test_a_running_session_sends_what_it_shows():
    from realtime.engines import load_engine
    from realtime.media.portraits import builtin_portrait

    engine = load_engine("mesh", size=64)
    engine.set_portrait(builtin_portrait())
    with Listener() as listener:
        sink = open_sink(f"vmc:{listener.port}", SinkOptions())
        pipeline = Pipeline(open_source("motion:builtin", SourceOptions(loop=True)), engine, [sink])
        running = asyncio.create_task(pipeline.run())
        await asyncio.to_thread(listener.wait, "/VMC/Ext/Blend/Apply", 10)
        pipeline.control.express("laugh", on=True)
        end = time.monotonic() + 40
        while not any(
            h[:2] == ("/VMC/Ext/Blend/Val", "MouthSmileLeft") and h[2] > 0.6 for h in listener.heard[-150:]
        ):
            assert time.monotonic() < end, "what is put on is not sent"
            await asyncio.sleep(0.02)
        pipeline.control.stop()
        await running
    engine.close()


def test_codes_that_are_no_blend_shapes_are_said():
    sink = open_sink("vmc", SinkOptions())
    sink.open(64, 64, 30.0)
    with pytest.raises(BadValue, match="the codes of lia are no blend shapes"):
        sink.write(Picture(plain(0), 0.0, code=MotionCode("lia", REST), reference=MotionCode("lia", REST)))
    sink.close()
    with pytest.raises(BadValue, match="HOST:PORT"):
        open_sink("vmc:studio:port")


# In


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def source():
    made = open_source(f"vmc:{free_port()}", SourceOptions())
    made.open()
    yield made
    made.close()


def face(client: SimpleUDPClient, amounts: dict[str, float], head=(0.0, 0.0, 0.0)) -> None:
    client.send_message("/VMC/Ext/Bone/Pos", ["Head", 0.0, 0.0, 0.0, *quaternion(*head)])
    for name, amount in amounts.items():
        client.send_message("/VMC/Ext/Blend/Val", [name, amount])
    client.send_message("/VMC/Ext/Blend/Apply", [])


@pytest.mark.parametrize("spell", [str, str.lower, str.upper, lambda name: name[0].upper() + name[1:]])
def test_what_another_program_tracks_drives_the_avatar(source, spell):
    client = SimpleUDPClient("127.0.0.1", source.port)
    face(client, {spell("jawOpen"): 0.5, spell("eyeBlinkLeft"): 1.0}, (10.0, 5.0, -3.0))
    code = source.read()
    read = MESH.shapes(code.values, source.reference.values)
    assert read.amounts["jawOpen"] == pytest.approx(0.5, abs=0.02)
    assert read.amounts["eyeBlinkLeft"] == pytest.approx(1.0, abs=0.02)
    assert read.amounts["eyeBlinkRight"] < 0.05
    assert read.head == pytest.approx((10.0, 5.0, -3.0), abs=0.01)


def test_the_shapes_of_any_vrm_model_are_understood(source):
    face(SimpleUDPClient("127.0.0.1", source.port), {"A": 1.0, "Blink_R": 1.0, "Joy": 0.5, "MyOwn": 1.0})
    read = MESH.shapes(source.read().values, source.reference.values).amounts
    assert read["jawOpen"] == pytest.approx(0.7, abs=0.02)
    assert read["eyeBlinkRight"] > 0.9
    assert read["mouthSmileLeft"] == pytest.approx(0.5, abs=0.02)


def test_what_goes_out_by_vmc_comes_in_as_it_was(source):
    sink = open_sink(f"vmc:{source.port}", SinkOptions())
    sink.open(64, 64, 30.0)
    shown = picture({"mouthSmileLeft": 0.7, "browInnerUp": 0.4, "jawOpen": 0.2}, (-8.0, 2.0, 1.0))
    sink.write(shown)
    code = source.read()
    sink.close()
    there, here = (MESH.shapes(values, REST) for values in (shown.code.values, code.values))
    assert dict(here.amounts) == pytest.approx(dict(there.amounts), abs=0.05)
    assert here.head == pytest.approx(there.head, abs=0.05)


@pytest.mark.hostile
@pytest.mark.parametrize(
    "message",
    [
        ("/VMC/Ext/Blend/Val", ["jawOpen"]),
        ("/VMC/Ext/Blend/Val", ["jawOpen", "wide"]),
        ("/VMC/Ext/Blend/Val", ["jawOpen", float("nan")]),
        ("/VMC/Ext/Blend/Val", ["jawOpen", float("inf")]),
        ("/VMC/Ext/Blend/Val", [1.0, "jawOpen"]),
        ("/VMC/Ext/Bone/Pos", ["Head", *[0.0] * 7]),
        ("/VMC/Ext/Bone/Pos", ["Head", *[float("nan")] * 7]),
        ("/VMC/Ext/Bone/Pos", ["Head", 1.0]),
        ("/VMC/Ext/Bone/Pos", []),
        ("/elsewhere", [1]),
    ],
)
def test_messages_that_make_no_sense_are_left_out(message):
    heard = Heard()
    assert heard.hear((message[0], list(message[1]))) is None
    values = heard.hear(("/VMC/Ext/Blend/Apply", []))
    assert np.isfinite(values).all()
    assert values == pytest.approx(heard.rest, abs=1e-5)


def test_names_without_end_are_not_kept():
    heard = Heard()
    for n in range(5000):
        heard.hear(("/VMC/Ext/Blend/Val", [f"n{n}", 1.0]))
    assert len(heard._coming) <= 512


def test_the_source_is_named_checked_and_fits_the_mesh_engine_alone(source):
    assert parse_source("vmc") == ("vmc", "")
    assert parse_source("vmc:39540") == ("vmc", "39540")
    with pytest.raises(BadValue, match="a UDP port of this machine"):
        open_source("vmc:host:1")
    with pytest.raises(DeviceError, match="cannot be listened to"):
        open_source(f"vmc:{source.port}").open()
    source.fit("mesh", ())
    with pytest.raises(BadValue, match="--engine mesh"):
        source.fit("liveportrait", ())


def test_it_gives_up_when_told(source):
    began = time.monotonic()
    source.stopping = lambda: time.monotonic() - began > 0.3
    assert source.read() is None
