"""`avatar evaluate`: the tables, held-out frames of a run, the command."""

import itertools
import json

import av
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from realtime.cli import run as avatar  # noqa: E402
from realtime.measures.baselines import StillEngine  # noqa: E402
from realtime.measures.faces import FaceReader  # noqa: E402
from realtime.measures.media import Clip  # noqa: E402
from realtime.training import evaluate  # noqa: E402
from realtime.training.run import Run  # noqa: E402
from tests.support import made_up_frames  # noqa: E402
from tests.support.training import CPU, data, micro, one_thread  # noqa: E402, F401 (fixtures)


def test_figures_are_means_over_frames_that_have_them():
    rows = [
        {"l1": 0.1, "akd": 2.0, "aed": 0.3, "missing": 0.0},
        {"l1": 0.2, "missing": 1.0},
        {"l1": 0.6, "akd": 4.0, "aed": 0.5, "missing": 0.0},
    ]
    figures = evaluate.reconstruction_figures(rows)
    assert figures["l1"] == pytest.approx(0.3)
    assert figures["akd"] == pytest.approx(3)
    assert figures["mkr"] == pytest.approx(1 / 3)
    assert figures["aed"] == pytest.approx(0.4)
    assert np.isnan(evaluate.reconstruction_figures([])["l1"])


def test_cross_figures_compare_what_was_wanted_with_what_came():
    rows = [
        {"pose": 4.0, "mouth_want": 0.3, "mouth_got": 0.1, "eye_want": 1.0, "eye_got": 0.5, "identity": 0.2,
         "missing": 0.0},
        {"missing": 1.0},
    ]  # fmt: skip
    figures = evaluate.cross_figures(rows)
    assert figures["mouth"] == pytest.approx(0.2)
    assert figures["eyes"] == pytest.approx(0.5)
    assert figures["mkr"] == pytest.approx(0.5)


def test_the_total_weighs_every_frame_alike_and_json_has_no_nan():
    table = evaluate.Table("t", tuple(evaluate.RECONSTRUCTION))
    rows = [{"l1": 0.1}, {"l1": 0.1}, {"l1": 0.7}]
    table.rows.append(("a", 2, evaluate.reconstruction_figures(rows[:2])))
    table.add_total(rows, evaluate.reconstruction_figures)
    assert table.figures("all")["l1"] == pytest.approx(0.3)
    plain = json.loads(json.dumps(table.plain(), allow_nan=False))
    assert plain["rows"][1]["akd"] is None
    with pytest.raises(KeyError):
        table.figures("b")


def test_the_still_portrait_has_the_error_of_the_clip_itself():
    frames = [np.full((256, 256, 3), value, np.uint8) for value in (100, 100, 151)]
    with FaceReader() as reader:
        table = evaluate.reconstruct(StillEngine(256), [Clip("c", frames, 30)], 0, reader, lambda: None, [])
    assert table.figures("c")["l1"] == pytest.approx(0.1, abs=1e-3)
    assert table.rows[-1][:2] == ("all", 2)


def test_a_run_is_measured_on_what_it_held_out(data, tmp_path, capsys):  # noqa: F811
    Run(micro(steps=2), tmp_path / "run", data, CPU, say=lambda text: None).go()
    out, sheet = tmp_path / "t.json", tmp_path / "s.png"
    arguments = ["evaluate", "--run", str(tmp_path / "run"), "--data", str(data), "--json", str(out)]
    assert avatar([*arguments, "--sheet", str(sheet)]) == 0
    still, ours = json.loads(out.read_text())
    assert [row["frames"] for row in still["rows"]] == [4, 3, 7]
    assert ours["rows"][-1]["name"] == "all"
    assert still["rows"][-1]["l1"] > 0
    assert still["rows"][-1]["akd"] is None  # there is no face in these pictures
    assert sheet.exists()
    shown = capsys.readouterr().out
    assert "still portrait" in shown
    assert "akd" in shown


def test_an_engine_is_measured_beside_the_still_portrait(tmp_path):
    clip, out = tmp_path / "short.mp4", tmp_path / "t.json"
    few = itertools.islice(made_up_frames(size=512), 0, 100, 20)
    with av.open(str(clip), "w") as file:
        stream = file.add_stream("mpeg4", rate=30, options={"qscale": "2"})
        stream.width = stream.height = 512
        for frame in few:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        file.mux(stream.encode())
    assert avatar(["evaluate", str(clip), "--engine", "mesh", "--frames", "2", "--json", str(out)]) == 0
    still, mesh = json.loads(out.read_text())
    assert mesh["title"] == "reconstruction by mesh"
    assert still["rows"][0]["frames"] == mesh["rows"][0]["frames"] == 2
    assert 0 < mesh["rows"][0]["akd"] < still["rows"][0]["akd"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate"],
        ["evaluate", "nowhere.mp4"],
        ["evaluate", "x.mp4", "--engine", "gan"],
        ["evaluate", "--run", "nowhere"],
        ["evaluate", "x.mp4", "--json", "no/such/folder/t.json"],
        ["evaluate", "x.mp4", "--sheet", "s.gif"],
        ["evaluate", "x.mp4", "--size", "640x480"],
    ],
)
def test_wrong_usage_is_one_sentence(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert avatar(arguments) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("avatar: ")]
    assert len(said) == 1
