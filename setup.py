"""Which packages are installed; everything else about the project is in pyproject.toml.

`kernels` and `clients` lie at the top of the repository; installed they are parts of `realtime`, so that no name of
other people's packages is taken. In a checkout two links stand for them (realtime/kernels, realtime/clients); an
sdist has no links, so they are named here.

The face model that browsers run is fetched when the project is built or installed (`clients/browser_model.py`). Where
that cannot be, all else is built: the page then sends video, and says so.
"""

import runpy
import sys
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

PARTS = ("kernels", "clients")


class BuildWithModel(build_py):
    """Python files, and the face model beside the page that uses it."""

    def run(self) -> None:
        """Build; without the model where it cannot be fetched."""
        model = runpy.run_path(
            str(Path(__file__).with_name("clients") / "browser_model.py"), run_name="browser_model"
        )
        if model["main"]():
            cure = "python -m realtime.clients.browser_model"
            print(f"Built without it: the page sends video. Later: {cure}", file=sys.stderr)
        super().run()


setup(
    packages=[
        *find_packages(include=["realtime*"], exclude=[f"realtime.{part}*" for part in PARTS]),
        *(f"realtime.{name}" for part in PARTS for name in (part, *(f"{part}.{p}" for p in find_packages(part)))),
        "realtime.clients.web",  # the page: files, no Python
    ],
    package_dir={f"realtime.{part}": part for part in PARTS},
    cmdclass={"build_py": BuildWithModel},
)
