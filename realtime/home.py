"""Where weights and settings are kept, and what `~` means in a path."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The folder in the environment variable AVATAR_HOME, else the platform's data folder. It may not exist yet."""
    chosen = os.environ.get("AVATAR_HOME")
    if chosen:
        return user_path(chosen)
    from platformdirs import user_data_path

    return user_data_path("realtime-avatar", appauthor=False)


def user_path(path: str | Path) -> Path:
    """`path` with a leading `~` or `~name` as the shell has it; as it stands where there is no such user (a file may
    be called `~x.mp4`)."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)
