"""Sound as a driver: a recording to the end, a microphone that goes away and comes back."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest

from realtime.engines import load_engine
from realtime.errors import BadFile, BadValue, DeviceError, NoDevice
from realtime.media.microphones import choose_microphone
from realtime.sources import SourceOptions, open_source, parse_source
from realtime.sources import sound as sounds
from realtime.sources.sound import MicrophoneSource, SoundSource
from realtime.types import MotionCode
from realtime.voice.hearing import RATE
from tests.voice.test_voice import tone, write_wav

MESH = load_engine("mesh", size=64)
FAST = SourceOptions(paced=False)


def read_all(source) -> list[MotionCode]:
    source.fit(MESH.kind, MESH.directions)
    source.open()
    items = []
    while (item := source.read()) is not None:
        items.append(item)
    source.close()
    source.close()
    return items


def test_a_recording_is_a_source_by_its_name(tmp_path):
    path = write_wav(tmp_path / "talk.wav", tone(1.0))
    assert parse_source(str(path)) == ("sound", str(path))
    assert parse_source("mic") == ("mic", "")
    assert parse_source("mic:USB") == ("mic", "USB")
    assert isinstance(open_source(f"sound:{path}"), SoundSource)
    with pytest.raises(BadValue, match="sound:talk"):
        parse_source("sound")


def test_a_recording_gives_a_code_for_each_picture_of_its_length(tmp_path):
    source = open_source(str(write_wav(tmp_path / "talk.wav", tone(1.0))), FAST)
    codes = read_all(source)
    assert (source.fps, source.frames, len(codes)) == (30.0, 30, 30)
    assert [code.index for code in codes] == list(range(30))
    assert [code.pts for code in codes] == pytest.approx([n / 30 for n in range(30)])
    assert source.kind == codes[0].kind == "mesh"
    assert np.ptp([code.values for code in codes], axis=0).max() > 0
    again = read_all(open_source(str(tmp_path / "talk.wav"), FAST))
    assert all(np.array_equal(a.values, b.values) for a, b in zip(codes, again, strict=True))


def test_a_recording_that_loops_goes_on(tmp_path):
    source = SoundSource(str(write_wav(tmp_path / "talk.wav", tone(0.2))), SourceOptions(loop=True))
    source.check()
    source.fit(MESH.kind, MESH.directions)
    source.open()
    source.sleep_until = lambda due: None
    codes = [source.read() for _ in range(20)]
    source.close()
    assert [code.index for code in codes] == list(range(20))
    assert [code.pts for code in codes] == pytest.approx([n / 30 for n in range(20)])


def test_what_sound_cannot_drive_is_refused(tmp_path):
    path = write_wav(tmp_path / "talk.wav", tone(0.2))
    with pytest.raises(BadValue, match="sound cannot drive it"):
        open_source(str(path)).fit("lia", ())
    with pytest.raises(BadFile, match="no such file"):
        open_source(f"sound:{tmp_path / 'none.wav'}")


class Library:
    """sounddevice with one microphone, whose sound the test gives."""

    PortAudioError = type("PortAudioError", (Exception,), {})

    def __init__(self) -> None:
        self.devices = [{"name": "Speakers", "max_input_channels": 0}, {"name": "USB Mic", "max_input_channels": 1}]
        self.default = SimpleNamespace(device=(1, 0))
        self.streams: list[Library] = []
        self.fails, self.started = False, 0

    def query_devices(self):
        return self.devices

    def InputStream(self, *, callback, **asked):
        if self.fails:
            raise self.PortAudioError("Device unavailable")
        self.callback, self.asked = callback, asked
        return self

    def start(self) -> None:
        self.started += 1

    def close(self) -> None:
        pass

    def _terminate(self) -> None:
        pass

    _initialize = _terminate

    def hear(self, samples: np.ndarray) -> None:
        for begin in range(0, len(samples), 160):
            self.callback(samples[begin : begin + 160, None], 160, None, None)


@pytest.fixture
def microphone():
    source = MicrophoneSource("", SourceOptions(), Library())
    source.check()
    source.fit(MESH.kind, MESH.directions)
    source.open()
    yield source
    source.close()


def test_a_microphone_gives_codes_of_what_it_hears(microphone):
    library = microphone._audio
    assert library.asked["samplerate"] == RATE
    assert library.asked["device"] == 1
    assert microphone.name == "microphone 1 (USB Mic)"
    library.hear(tone(0.4))
    code = microphone.read()
    assert isinstance(code, MotionCode)
    assert code.captured <= time.monotonic() - sounds.DELAY  # of the moment whose mouth it is
    assert code.pts == pytest.approx(0.4 - sounds.DELAY)
    assert microphone.read().index == 1


def test_old_sound_gives_way_where_nobody_reads(microphone):
    microphone._audio.hear(tone(3.0))
    assert microphone._heard.qsize() == sounds.MOST_WAITING
    assert microphone.read().pts < 1.0


def test_a_microphone_that_goes_silent_is_waited_for(microphone, monkeypatch):
    told: list[str] = []

    def tell(text: str) -> None:
        told.append(text)
        microphone._audio.fails = False  # once its silence was noticed

    microphone.tell = tell
    monkeypatch.setattr(sounds, "SILENT_SECONDS", 0.05)
    monkeypatch.setattr(microphone._back_off, "next", lambda: 0.01)
    microphone._audio.fails = True
    time.sleep(0.1)
    assert isinstance(microphone.read(), MotionCode)
    assert "gives no more sound" in told[0]
    assert told[-1].endswith("is back")
    assert microphone._audio.started == 2


def test_a_stop_ends_the_wait(microphone, monkeypatch):
    monkeypatch.setattr(sounds, "SILENT_SECONDS", 0.05)
    microphone._audio.fails = True
    time.sleep(0.1)
    asked = iter([False, False, False])
    microphone.stopping = lambda: next(asked, True)
    assert microphone.read() is None


def test_microphones_that_are_not_there_are_named_in_a_sentence(monkeypatch):
    devices = Library().devices
    assert choose_microphone("usb", devices, None) == (1, "microphone 1 (USB Mic)")
    with pytest.raises(NoDevice, match="There is 1 \\(USB Mic\\)"):
        choose_microphone("7", devices, None)
    with pytest.raises(NoDevice, match=r"sound:talk\.wav"):
        choose_microphone("", devices[:1], None)
    library = Library()
    library.fails = True
    source = MicrophoneSource("", SourceOptions(), library)
    source.check()
    with pytest.raises(DeviceError, match="cannot be opened"):
        source.open()
