"""Where weights and settings are kept."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The folder in the environment variable AVATAR_HOME, else the platform's data folder. It may not exist yet."""
    chosen = os.environ.get("AVATAR_HOME")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_data_path

    return user_data_path("realtime-avatar", appauthor=False)
