"""The CUDA sources: where they are, their text as it is compiled, and the kernels in them."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
"""The folder of the `.cu` files."""

MODULES = ("warp", "activation", "fir", "camera", "picture", "mesh", "volume")
"""The `.cu` files, without their ending."""


def source(module: str) -> str:
    """The CUDA source of `module` with its own headers put in place, so that no include path is needed."""
    text = (HERE / f"{module}.cu").read_text()
    for header in ("resample.cuh", "common.cuh"):
        body = (HERE / header).read_text().replace("#pragma once", "")
        text = text.replace(f'#include "{header}"', body, 1).replace(f'#include "{header}"', "")
    return re.sub(r"#ifndef __CUDACC__\n#include .*?\n#else\n(.*?)#endif\n", r"\1", text, count=1, flags=re.DOTALL)


def kernel_names(module: str) -> list[str]:
    """Names of the kernels in a `.cu` file."""
    text = (HERE / f"{module}.cu").read_text()
    plain = re.findall(r"^EXPORT\((\w+)\)", text, re.MULTILINE)
    made = re.findall(r"^(?:[A-Z_0-9]+)\((\w+_f(?:16|32)), ", text, re.MULTILINE)
    return plain + made
