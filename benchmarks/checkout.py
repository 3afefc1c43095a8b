"""An engine as another checkout has it, in a process of its own, so that both are measured in one run.

What it sees and shows goes over two pipes, pickled; the reading of its pictures stays with whoever asks. Run as a
program, with that checkout as the working folder, this file is the other end: it imports nothing but what lies there.
"""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from realtime import load_engine
from realtime.errors import AvatarError, BadFile, BadPortrait
from realtime.types import Frame, MotionCode


class EngineElsewhere:
    """As far as `quality` asks, an engine of `realtime.engines.Engine`: that called `name` in the folder `checkout`.

    seconds: processor time of that process in the last `set_portrait`, `encode` or `render`.
    Raises BadFile where there is no checkout, or none that can load the engine.
    """

    def __init__(self, checkout: Path, name: str, **options: Any) -> None:
        if not (checkout / "realtime" / "__init__.py").is_file():
            raise BadFile(checkout, "is no checkout of realtime-avatar: there is no realtime/__init__.py in it")
        self._checkout = checkout
        self._reference: MotionCode | None = None
        self.seconds = 0.0
        command = [sys.executable, "-c", Path(__file__).read_text(encoding="utf-8")]
        self._process = subprocess.Popen(command, cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            self._ask("load", (name, {key: _absolute(value) for key, value in options.items()}))
        except BaseException:
            self.close()
            raise

    def set_portrait(self, image: np.ndarray) -> None:
        """Raises BadPortrait."""
        self._ask("set_portrait", image)

    @property
    def portrait_code(self) -> MotionCode:
        """The portrait's own motion code."""
        code = self._ask("portrait_code", None)
        assert code is not None
        return MotionCode(*code)

    @property
    def reference(self) -> MotionCode | None:
        """The driver's neutral code."""
        return self._reference

    @reference.setter
    def reference(self, code: MotionCode | None) -> None:
        self._reference = code
        self._ask("reference", plain(code))

    def encode(self, frame: Frame) -> MotionCode | None:
        """The code of a driving frame."""
        code = self._ask("encode", (frame.image, frame.captured, frame.index, frame.pts))
        return MotionCode(*code) if code is not None else None

    def render(self, code: MotionCode) -> np.ndarray:
        """The portrait in that motion."""
        picture: np.ndarray = self._ask("render", plain(code))
        return picture

    def reset(self) -> None:
        """Forget the driver."""
        self._ask("reset", None)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _ask(self, what: str, given: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            pickle.dump((what, given), self._process.stdin)
            self._process.stdin.flush()
            kind, answer, self.seconds = pickle.load(self._process.stdout)
        except (BrokenPipeError, EOFError) as error:
            raise BadFile(self._checkout, f"the engine of this checkout ended while asked to {what}") from error
        if kind == "ok":
            return answer
        if what == "set_portrait":
            raise BadPortrait(answer)
        raise BadFile(self._checkout, f"the engine of this checkout: {answer}")


def _absolute(value: Any) -> Any:
    """A file's name as it is understood in another folder, too."""
    return str(Path(value).absolute()) if isinstance(value, str) and Path(value).exists() else value


def plain(code: MotionCode | None) -> tuple | None:
    """A code as plain values, which another checkout's classes are made of."""
    return None if code is None else (code.kind, code.values, code.captured, code.pts, code.index)


def answer(asked: BinaryIO, said: BinaryIO) -> None:
    """Do what is asked of this checkout's engine until nobody asks any more."""
    engine: Any = None
    while True:
        try:
            what, given = pickle.load(asked)
        except EOFError:
            return
        began = time.process_time()
        try:
            if what == "load":
                engine, out = load_engine(given[0], **given[1]), None
            elif what == "reference":
                engine.reference, out = MotionCode(*given) if given is not None else None, None
            elif what == "portrait_code":
                out = plain(engine.portrait_code)
            elif what == "encode":
                image, captured, index, pts = given
                out = plain(engine.encode(Frame(image, captured=captured, index=index, pts=pts)))
            elif what == "render":
                out = engine.render(MotionCode(*given))
            else:
                out = getattr(engine, what)(*(() if given is None else (given,)))
            reply: tuple[str, Any, float] = ("ok", out, time.process_time() - began)
        except AvatarError as error:
            reply = ("error", str(getattr(error, "reason", error)), 0.0)
        pickle.dump(reply, said)
        said.flush()


if __name__ == "__main__":
    out = sys.stdout.buffer
    sys.stdout = sys.stderr  # what libraries print is no answer
    answer(sys.stdin.buffer, out)
