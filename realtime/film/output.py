"""From finished pictures to a film: with the clip's sound, and marked as everything is that leaves this program."""

from __future__ import annotations

from pathlib import Path

from realtime.errors import BadFile
from realtime.film import Film, Progress
from realtime.sinks import SinkOptions, Tell, open_sink
from realtime.types import Picture


def write_film(film: Film, output: Path, mark: bool, progress: Progress, tell: Tell) -> int:
    """Write the film to `output`; gives how many frames. Raises BadFile, NotWritten."""
    audio = film.driving if film.driving is not None and film.driving.is_file() else None
    sink = open_sink(f"file:{output}", SinkOptions(fps=film.fps, live=False, audio=audio, mark=mark))
    sink.tell = tell
    if audio is None and film.driving is not None:
        tell(f"{film.driving} is gone, so the film has no sound")
    written, whole = 0, False
    sink.complete = lambda: whole
    try:
        for n, image in enumerate(film.kept.pictures()):
            if n == 0:
                sink.open(image.shape[1], image.shape[0], film.fps)
            sink.write(Picture(image, captured=0.0, pts=n / film.fps, index=n))
            written += 1
            progress("writing the film", written, film.kept.frames)
        whole = True
    finally:
        sink.close()
    if written == 0:
        raise BadFile(output, "there is nothing to write")
    return written
