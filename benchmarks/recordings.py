"""Where the real clips and portraits lie that figures are taken from."""

from __future__ import annotations

import os
from pathlib import Path


def test_data_folder() -> Path | None:
    """The folder in the environment variable AVATAR_TEST_DATA, else `shared/data` beside the repository, as in the
    tests; None where it is absent."""
    root = os.environ.get("AVATAR_TEST_DATA")
    folder = Path(root) if root else Path(__file__).resolve().parents[2] / "shared" / "data"
    return folder if folder.is_dir() else None


test_data_folder.__test__ = False  # type: ignore[attr-defined]
