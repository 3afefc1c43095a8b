"""Which packages are installed; everything else about the project is in pyproject.toml.

`kernels` and `clients` lie at the top of the repository; installed they are parts of `realtime`, so that no name of
other people's packages is taken. In a checkout two links stand for them (realtime/kernels, realtime/clients); an
sdist has no links, so they are named here.
"""

from setuptools import find_packages, setup

PARTS = ("kernels", "clients")

setup(
    packages=[
        *find_packages(include=["realtime*"], exclude=[f"realtime.{part}*" for part in PARTS]),
        *(f"realtime.{name}" for part in PARTS for name in (part, *(f"{part}.{p}" for p in find_packages(part)))),
        "realtime.clients.web",  # the page: files, no Python
    ],
    package_dir={f"realtime.{part}": part for part in PARTS},
)
