"""Memory plans: which is taken for which GPU, and what is said of its time."""

from __future__ import annotations

import pytest

from realtime.checks import machine
from realtime.errors import BadValue
from realtime.extras import install_command
from realtime.film.wan.plans import GB, PLANS, TRANSFORMER_BF16, choose, duration_words, figure_for


@pytest.mark.parametrize(
    ("memory", "name"),
    [(141, "80 GB"), (79.6, "80 GB"), (47.8, "48 GB"), (25.4, "24 GB"), (15.8, "16 GB"), (8.2, "less"), (0, "cpu")],
)
def test_each_gpu_gets_the_plan_of_its_size(memory, name):
    assert choose(memory).name == name


def test_a_gguf_file_makes_the_plan_where_there_is_room_for_it():
    assert choose(15.8, gguf=True).precision == "gguf"
    for memory in (0, 8):
        with pytest.raises(BadValue, match="a GPU of 14 GB or more"):
            choose(memory, gguf=True)


def test_a_gpu_that_is_too_small_is_refused():
    with pytest.raises(BadValue, match="needs 6 GB of GPU memory or more"):
        choose(4)


def test_what_lies_on_the_gpu_fits_into_it():
    share = {"bfloat16": 1.0, "fp8": 0.5, "float32": 2.0}
    for plan in PLANS:
        if plan.placing in ("whole", "by turns"):
            assert TRANSFORMER_BF16 * share[plan.precision] < 0.85 * plan.least * GB, plan.name


def test_a_time_is_given_only_with_whose_it_is():
    for plan in PLANS:
        seconds = figure_for(plan, 480 * 832, [81], 20)
        assert (seconds is None) == (not plan.source)
        assert seconds is None or seconds == plan.figure


def test_time_grows_with_pixels_frames_and_steps():
    plan = choose(8)
    once = figure_for(plan, 480 * 832, [77], 20)
    assert figure_for(plan, 2 * 480 * 832, [77, 77], 10) == pytest.approx(2 * once)


def test_durations_in_words():
    assert [duration_words(s) for s in (50, 720, 12600)] == ["50 s", "12 min", "3.5 h"]


def test_the_doctor_names_the_extra_and_the_plan_of_this_gpu(monkeypatch):
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    check = machine.films()
    assert (check.status, check.cure) == ("warn", install_command("wan"))
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(machine, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    gpu = type("Gpu", (), {"total_memory": 25.4 * GB})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: gpu)
    check = machine.films()
    assert check.status == "ok"
    assert check.detail == f"25 GB of GPU memory: {choose(25.4).about}"
    gpu.total_memory = 4 * GB
    assert machine.films().status == "warn"
