"""How an extra of this package is installed here: a checkout wants another command than a release does."""

from __future__ import annotations

import json
import os
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit

PACKAGE = "realtime-avatar"


def install_command(extra: str) -> str:
    """The command that adds an extra: "pip install -e '.[vcam]'" in a checkout, with the pip of the checkout's own
    environment where that is not the active one; else "pip install 'realtime-avatar[vcam]'"."""
    checkout = _checkout()
    if checkout is None:
        return f"pip install '{PACKAGE}[{extra}]'"
    pip = "pip"
    if "VIRTUAL_ENV" not in os.environ and checkout in Path(sys.prefix).parents:
        pip = (Path(sys.prefix) / ("Scripts" if os.name == "nt" else "bin") / "pip").relative_to(checkout).as_posix()
    return f"{pip} install -e '.[{extra}]'"


@lru_cache(maxsize=1)
def _checkout() -> Path | None:
    """The folder that this package is installed from as it stands there (`pip install -e`); None for a release."""
    try:
        said = distribution(PACKAGE).read_text("direct_url.json")
    except PackageNotFoundError:
        return None
    origin = json.loads(said) if said else {}
    if not origin.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlsplit(origin["url"]).path))
