"""What a benchmark hands back: named figures with their samples, and the facts needed to repeat the run."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.report.machine import machine_facts
from realtime.errors import BadFile
from realtime.outputs import write_whole

Better = Literal["lower", "higher", ""]
FORMAT = 1


@dataclass(slots=True)
class Figure:
    """One measured number.

    name: dotted path, unique in the result: "self.mesh.l1", "mesh 512.total.p50".
    value: the figure itself; None where it could not be measured.
    better: which way is good, "" for a plain fact.
    target: what it should reach, where a target is set.
    samples: the independent repeats behind `value` (one per clip, per run, ...), for its interval of confidence.
    """

    name: str
    value: float | None
    unit: str = ""
    better: Better = ""
    target: float | None = None
    samples: list[float] = field(default_factory=list)
    about: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is none or nothing was measured."""
        if self.target is None or self.value is None or not self.better:
            return None
        return self.value <= self.target if self.better == "lower" else self.value >= self.target


@dataclass(slots=True)
class Result:
    """All figures of one run of one benchmark.

    series: named curves for plots, each a dict of equally long lists.
    pictures: uint8 RGB arrays for contact sheets; they stay in memory and never go into the JSON file.
    """

    benchmark: str
    settings: dict[str, Any] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    series: dict[str, dict[str, list]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    command: str = ""
    quick: bool = False
    started: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    machine: dict[str, Any] = field(default_factory=machine_facts)
    pictures: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, name: str, value: float | None, unit: str = "", **more: Any) -> Figure:
        """Append a figure. `value` None with `samples` takes their mean."""
        samples = [float(s) for s in more.pop("samples", []) if s is not None and math.isfinite(s)]
        if value is None and samples:
            value = float(np.mean(samples))
        value = float(value) if value is not None and math.isfinite(value) else None
        figure = Figure(name, value, unit, samples=samples, **more)
        self.figures.append(figure)
        return figure

    def get(self, name: str) -> Figure | None:
        """The figure of that name, None where it was not measured."""
        return next((f for f in self.figures if f.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: everything but the pictures."""
        out: dict[str, Any] = {"format": FORMAT}
        for key in ("benchmark", "quick", "command", "started", "seconds", "machine", "settings", "notes", "series"):
            out[key] = getattr(self, key)
        out["figures"] = [asdict(f) for f in self.figures]
        return out

    def save(self, path: str | Path) -> None:
        """Write the JSON form. Raises BadFile, NotWritten."""
        text = json.dumps(plain_json(self.to_dict()), indent=1, allow_nan=False)
        write_whole(path, text + "\n")

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Result:
        """The inverse of `to_dict`. Raises KeyError or TypeError where the form is another."""
        keep = ("benchmark", "quick", "command", "started", "seconds", "machine", "settings", "notes", "series")
        return cls(figures=[Figure(**f) for f in data["figures"]], **{k: data[k] for k in keep})

    @classmethod
    def load(cls, path: str | Path) -> Result:
        """Read a file written by `save`. Raises BadFile."""
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise BadFile(path, "there is no such file") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadFile(path, "is not the JSON result of a benchmark") from error


def plain_json(value: Any) -> Any:
    """Numpy numbers and NaN made fit for JSON."""
    if isinstance(value, dict):
        return {str(k): plain_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        return plain_json(value.tolist())
    if isinstance(value, float):
        return None if not math.isfinite(value) else round(value, 6)
    return value
