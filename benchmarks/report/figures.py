"""Plots, drawn without a display."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from benchmarks.report.result import Figure, Result
from realtime.outputs import replacing

INK, BLUE, ORANGE, GREEN, GREY = "#1f2933", "#2563eb", "#ea7317", "#15803d", "#9aa5b1"


def canvas(rows: int = 1, columns: int = 1, width: float = 9.0, height: float = 2.6, **more: Any) -> tuple[Any, Any]:
    """A figure and its axes (always a 2-D array), `height` inches a row."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        rows, columns, figsize=(width, height * rows), squeeze=False, layout="constrained", **more
    )
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", color="#e4e7eb", linewidth=0.8)
        axis.set_axisbelow(True)
        axis.tick_params(labelsize=8, colors=INK)
        axis.title.set_fontsize(9)
    return figure, axes


def save(figure: Any, path: str) -> None:
    """Write into a file, and close."""
    with replacing(path) as at:
        draw(figure, at)


def draw(figure: Any, into: Any) -> None:
    """Write into a path or an open file as PNG (or as a path's ending says), and close."""
    from matplotlib import pyplot

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figure.savefig(into, dpi=110)
    pyplot.close(figure)


def latency_figure(result: Result) -> Any:
    """Latency over time, one panel per case."""
    figure, axes = canvas(max(1, len(result.series)), height=1.9)
    for axis, (name, curve) in zip(axes[:, 0], result.series.items(), strict=False):
        axis.plot(curve["seconds"], curve["total_ms"], color=BLUE, linewidth=0.7, label="camera to sink")
        axis.plot(curve["seconds"], curve["encode_ms"], color=ORANGE, linewidth=0.5, alpha=0.8, label="encode")
        axis.plot(curve["seconds"], curve["render_ms"], color=GREEN, linewidth=0.5, alpha=0.8, label="render")
        for q, style in (("p50", "-"), ("p99", ":")):
            wanted = result.get(f"{name}.total.{q}")
            if wanted is not None and wanted.target is not None:
                axis.axhline(wanted.target, color=GREY, linestyle=style, linewidth=1)
                start = (curve["seconds"][0], wanted.target)
                axis.annotate(f"{q} target", start, fontsize=7, color=GREY, va="bottom")
        high = max(1.0, sorted(curve["total_ms"])[int(0.995 * (len(curve["total_ms"]) - 1))])
        axis.set_ylim(0, 1.5 * high)
        axis.set_title(name, loc="left", color=INK)
        axis.set_ylabel("ms", fontsize=8)
    if result.series:
        axes[0, 0].legend(fontsize=7, frameon=False, ncols=3, loc="upper right")
    axes[-1, 0].set_xlabel("seconds", fontsize=8)
    return figure


def vcam_figure(result: Result) -> Any:
    """Intervals between pictures at the virtual camera, one panel per rate."""
    figure, axes = canvas(max(1, len(result.series)), height=1.7)
    for axis, (name, curve) in zip(axes[:, 0], result.series.items(), strict=False):
        axis.plot(curve["seconds"], curve["interval_ms"], ".", color=BLUE, markersize=2)
        axis.axhline(1000 / float(name.split()[0]), color=GREY, linewidth=1)
        axis.set_title(f"{name}: time between two pictures", loc="left", color=INK)
        axis.set_ylabel("ms", fontsize=8)
        axis.set_ylim(bottom=0)
    axes[-1, 0].set_xlabel("seconds", fontsize=8)
    return figure


def stages_figure(result: Result) -> Any:
    """Encode and render time by size, stacked."""
    figure, axes = canvas(height=2.4)
    axis = axes[0, 0]
    for row, name in enumerate(result.series):
        left = 0.0
        for part, color in (("encode", ORANGE), ("render", GREEN)):
            measured = result.get(f"{name}.{part}.cpu.p50")
            value = measured.value or 0.0 if measured is not None else 0.0
            axis.barh(row, value, left=left, color=color, height=0.55, label=part if row == 0 else None)
            middle = (left + value / 2, row)
            axis.annotate(f"{value:.1f}", middle, ha="center", va="center", fontsize=8, color="white")
            left += value
    axis.set_yticks(range(len(result.series)), list(result.series), fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel("processor time of one frame on one core, median, ms", fontsize=8)
    axis.legend(fontsize=7, frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
    return figure


def bars_figure(figures: list[Figure], unit: str) -> Any:
    """One bar per figure, its samples as dots, its target as a line."""
    figure, axes = canvas(height=0.6 + 0.35 * len(figures))
    axis = axes[0, 0]
    for row, measured in enumerate(figures):
        axis.barh(row, measured.value or 0.0, color=BLUE, height=0.55, alpha=0.85)
        axis.plot(measured.samples, [row] * len(measured.samples), ".", color=INK, markersize=3)
        if measured.target is not None:
            axis.plot([measured.target] * 2, [row - 0.4, row + 0.4], color=ORANGE, linewidth=2)
    axis.set_yticks(range(len(figures)), [f.name for f in figures], fontsize=8)
    axis.invert_yaxis()
    axis.grid(axis="x", color="#e4e7eb", linewidth=0.8)
    axis.set_xlabel(unit, fontsize=8)
    return figure


def glass_figure(result: Result) -> Any:
    """Camera-to-display delay of every picture, and how often each delay is met."""
    figure, axes = canvas(1, 2, height=2.8, width_ratios=(3, 1), sharey=True)
    for side, color in (("echo", GREY), ("prompt", ORANGE), ("avatar", BLUE)):
        curve = result.series.get(side)
        if not curve:
            continue
        axes[0, 0].plot(curve["seconds"], curve["delay_ms"], ".", color=color, markersize=2.5, label=side)
        axes[0, 1].hist(curve["delay_ms"], bins=40, orientation="horizontal", color=color, alpha=0.6)
        median = result.get(f"{side}.camera to display.p50")
        if median is not None and median.value is not None:
            axes[0, 0].axhline(median.value, color=color, linewidth=1)
    axes[0, 0].set_ylim(bottom=0)
    axes[0, 0].set_ylabel("camera to display, ms", fontsize=8)
    axes[0, 0].set_xlabel("seconds", fontsize=8)
    axes[0, 1].set_xlabel("pictures", fontsize=8)
    axes[0, 0].legend(fontsize=7, frameon=False, ncols=3, markerscale=3)
    return figure


def sessions_figure(result: Result) -> Any:
    """Rate, latency and processor time over the number of sessions."""
    figure, axes = canvas(1, 3, height=2.6)
    counts = result.settings["counts"]

    def line(axis: Any, key: str, color: str, label: str) -> None:
        values = [f.value if (f := result.get(f"{n}.{key}")) is not None else None for n in counts]
        axis.plot(counts, values, "o-", color=color, label=label, markersize=4)

    for axis, unit, lines in (
        (axes[0, 0], "fps", (("fps", BLUE, "mean"), ("fps least", GREY, "least"))),
        (axes[0, 1], "ms", (("latency.p50", BLUE, "p50"), ("latency.p95", GREY, "p95"))),
        (axes[0, 2], "% of a core", (("server cpu", BLUE, "server"), ("clients cpu", GREY, "clients"))),
    ):
        for key, color, label in lines:
            line(axis, key, color, label)
        axis.set_ylim(bottom=0)
        axis.set_xticks(counts)
        axis.set_xlabel("sessions", fontsize=8)
        axis.set_ylabel(unit, fontsize=8)
        axis.legend(fontsize=7, frameon=False)
    return figure


def soak_figure(result: Result, units: dict[str, str]) -> Any:
    """What a server holds and how late its pictures are, over time, each with its growth per hour."""
    figure, axes = canvas(2, 2, height=2.0)
    for axis, (name, unit) in zip(axes.flat, units.items(), strict=True):
        curve, grown = result.series[name], result.get(f"{name}.growth")
        low, high = (result.get(f"{name}.growth at {end}") for end in ("least", "most"))
        axis.plot([t / 60 for t in curve["seconds"]], curve["values"], color=BLUE, linewidth=0.8)
        title = f"{name}, {unit}" if unit else name
        if grown is not None and grown.value is not None:
            title += f": {grown.value:+.2g} an hour ({low.value:.2g} to {high.value:.2g})"
        axis.set_title(title, loc="left", color=INK)
        values = sorted(curve["values"])
        axis.set_ylim(0, 1.2 * values[int(0.995 * (len(values) - 1))])
        axis.set_xlabel("minutes", fontsize=8)
    return figure


def quality_figure(result: Result, turns: Sequence[tuple[int, int]]) -> Any:
    """L1 and AKD of self-reenactment over the head's turn from the portrait, one line per engine."""
    figure, axes = canvas(1, 2, height=2.8)
    engines = list(dict.fromkeys(f.name.split(".")[1] for f in result.figures if f.name.startswith("turn.")))
    colors = dict(zip(engines, (GREY, ORANGE, BLUE, GREEN, INK), strict=False))
    for axis, key, label in ((axes[0, 0], "l1", "L1, 0 to 1"), (axes[0, 1], "akd", "AKD, px at 256")):
        for engine in engines:
            found = [(f"{lo}-{hi}", result.get(f"turn.{engine}.{lo}-{hi}.{key}")) for lo, hi in turns]
            points = [(name, f.value) for name, f in found if f is not None and f.value is not None]
            axis.plot(*zip(*points, strict=True), "o-", label=engine, color=colors.get(engine), markersize=4)
        axis.set_xlabel("head turned from the portrait, degrees", fontsize=8)
        axis.set_ylabel(label, fontsize=8)
        axis.legend(fontsize=7, frameon=False)
    axes[0, 0].set_ylim(bottom=0)
    axes[0, 1].set_yscale("log")
    return figure
