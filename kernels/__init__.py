"""GPU kernels for warp-based avatars: CUDA C++ in `.cu` files, thin Python around it.

=====================  ============================================================================================
`warp_blend`           flow head, warp of the features and blend with the trunk, one pass (LIA-type decoders)
`bias_act`             bias, leaky ReLU, gain, with demodulation, next style and residual
`blur`, `upsample2`    FIR filters of StyleGAN-type networks, with the activation before or after
`picture_skip`         running picture of a decoder: activation, bias, up-sampled previous picture
`preprocess`           RGB24 / NV12 / I420 frame to normalised network input: crop and antialiased resize
`postprocess`          network output to RGB24 / NV12 / I420, pasted into a portrait with a feathered edge
`keypoint_warp`        a thin feature volume moved by each keypoint, with its heat (LivePortrait)
`mask_warp`            a feature volume moved by the masked mean of the keypoints' motions (LivePortrait)
`mesh_flow`, `remap`   triangles with depth to a backward flow; a picture through a flow
=====================  ============================================================================================

Every function takes tensors of torch (others by DLPack or `__cuda_array_interface__`), checks device, dtype, shape
and memory layout, takes an `out`, and launches on the caller's torch stream. With `out` (and every other result)
given, nothing is allocated and nothing waits, so the call can be captured in a CUDA graph. On CPU tensors the same
functions run PyTorch's own operators (`kernels.reference`). Importing this package loads neither torch nor CuPy.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "warp_blend": "warp",
    "bias_act": "activation",
    "blur": "fir",
    "upsample2": "fir",
    "picture_skip": "fir",
    "preprocess": "camera",
    "postprocess": "picture",
    "mesh_flow": "mesh",
    "remap": "mesh",
    "keypoint_warp": "volume",
    "mask_warp": "volume",
    "KernelError": "arrays",
    "available": "backends",
    "why_unavailable": "backends",
}

__all__ = [
    "KernelError",
    "available",
    "bias_act",
    "blur",
    "keypoint_warp",
    "mask_warp",
    "mesh_flow",
    "picture_skip",
    "postprocess",
    "preprocess",
    "remap",
    "upsample2",
    "warp_blend",
    "why_unavailable",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module 'kernels' has no attribute {name!r}")
