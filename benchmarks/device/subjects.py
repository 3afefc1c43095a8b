"""The networks of the GPU benchmark: how each is made, the loop of its authors, and what `torch.compile` is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.device import liveportrait_cpu
from benchmarks.device.device import Work
from realtime.engines.gpu.program import Programs
from realtime.engines.latent.engine import LatentEngine
from realtime.engines.latent.layers import LatentAnimator
from realtime.engines.latent.lia import FastLia, Lia
from realtime.engines.latent.lia_x import FastLiaX, LiaX
from realtime.engines.latent.prepared import Prepared
from realtime.engines.liveportrait import keypoints as kp
from realtime.engines.liveportrait.engine import LivePortraitEngine
from realtime.engines.liveportrait.networks import Networks
from realtime.engines.liveportrait.prepared import FastLivePortrait
from realtime.engines.liveportrait.weights import load_networks
from realtime.engines.neural.place import Placement
from realtime.engines.weights import recipe
from realtime.kernels import reference

Frame = Callable[[np.ndarray], np.ndarray]


class Subject(Protocol):
    """A network that is measured.

    A portrait is (1, 3, S, S) in [-1, 1]; the driver's neutral code is zeros in all ways, so that all draw the same.
    """

    @property
    def target_ms(self) -> float:
        """p50 of one frame on an H200."""

    @property
    def target_gain(self) -> float | None:
        """How much faster than the authors' loop a frame should be; None where nobody set a target."""

    def define(self) -> Any:
        """The network from its definition, with recipe weights, on the CPU."""

    def reads(self, net: Any) -> int:
        """Side of the pictures that the network reads."""

    def prepare(self, net: Any, place: Placement) -> Any:
        """The form that an engine holds."""

    def programs(self, net: Any) -> Programs:
        """What makes the frame programs of the prepared form."""

    def work(self, net: Any, device: torch.device) -> dict[str, float]:
        """Floating-point operations of a frame (2 per multiplication and addition), part by part, by definition."""

    def authors(self, net: Any, portrait: Tensor, device: torch.device) -> Frame:
        """The frame loop of the published scripts, from the definition: float32, eager, nothing prepared."""

    def whole(self, net: Any, portrait: Tensor) -> Callable[[Tensor], Tensor]:
        """A frame as one function of tensors on the device, uint8 (S, S, 3) both, from the prepared form."""

    def stages(self, net: Any, portrait: Tensor) -> dict[str, Work]:
        """The prepared form's networks one by one, where a frame has several."""


@dataclass(frozen=True)
class Latent:
    """LIA and LIA-X. encodes_source: the authors' loop encodes the portrait again for every frame."""

    make: Callable[[], LatentAnimator]
    prepared: Callable[[Any, Placement], Prepared]
    target_ms: float
    encodes_source: bool
    target_gain: float | None = 5.0

    def define(self) -> LatentAnimator:
        net = self.make().requires_grad_(False)
        recipe.fill(net, 1)
        return net

    def reads(self, net: LatentAnimator) -> int:
        return net.size

    def prepare(self, net: LatentAnimator, place: Placement) -> Prepared:
        return self.prepared(net, place)

    def programs(self, net: Prepared) -> Programs:
        return LatentEngine.programs(net)

    def work(self, net: LatentAnimator, device: torch.device) -> dict[str, float]:
        x = torch.zeros(1, 3, net.size, net.size, device=device)
        with torch.no_grad():
            with FlopCounterMode(display=False) as encoder:
                z, feats = net.to(device).encode(x)
            with FlopCounterMode(display=False) as decoder:
                net.decode(z, feats)  # type: ignore[operator]
        return {"encoder": float(encoder.get_total_flops()), "decoder": float(decoder.get_total_flops())}

    def authors(self, net: LatentAnimator, portrait: Tensor, device: torch.device) -> Frame:
        """Per frame: upload, normalise; LIA encodes the portrait again, LIA-X encodes it once per clip; the
        dictionary is orthonormalised for each of its three uses; every weight is scaled and modulated when it is
        used; clamp, download."""
        net, portrait = net.to(device), portrait.to(device)
        start = torch.zeros(1, net.motion_dim, device=device)
        with torch.inference_mode():
            encoded = net.encode(portrait)

        def direction(code: Tensor) -> Tensor:
            q, _ = torch.linalg.qr(net.dictionary().weight + 1e-8)
            return (torch.diag_embed(code) @ q.T).sum(1)

        @torch.inference_mode()
        def frame(picture: np.ndarray) -> np.ndarray:
            x = torch.from_numpy(picture).to(device).permute(2, 0, 1)[None].float().div(255).sub(0.5).mul(2)
            z, feats = net.encode(portrait) if self.encodes_source else encoded
            target, source = net.alpha(net.encode(x)[0]), net.alpha(z)
            moved = z + (direction(target) - direction(start)) + direction(source)
            rgb = net.decode(moved, feats)  # type: ignore[operator]
            return rgb[0].clamp(-1, 1).add(1).mul(127.5).byte().permute(1, 2, 0).cpu().numpy()

        return frame

    def whole(self, net: Prepared, portrait: Tensor) -> Callable[[Tensor], Tensor]:
        with torch.inference_mode():
            z, feats = net.encode(portrait)
            feats, source = net.features(feats), net.alpha(z)
        reference = torch.zeros_like(source)

        def frame(picture: Tensor) -> Tensor:
            code = net.alpha(net.latent(_normalised(picture)))
            return _bytes(net.decode(z + net.move(code - reference + source), feats))

        return frame

    def stages(self, net: Prepared, portrait: Tensor) -> dict[str, Work]:
        return {}


@dataclass(frozen=True)
class LivePortrait:
    """LivePortrait. size: side of its pictures."""

    size: int
    target_ms: float
    target_gain: float | None = None

    def define(self) -> Networks:
        return load_networks("recipe:1")

    def reads(self, net: Networks) -> int:
        return self.size // 2

    def prepare(self, net: Networks, place: Placement) -> FastLivePortrait:
        return FastLivePortrait(net, place, self.size)

    def programs(self, net: FastLivePortrait) -> Programs:
        return LivePortraitEngine.programs(net)

    def work(self, net: Networks, device: torch.device) -> dict[str, float]:
        counted = liveportrait_cpu.counted(self.size // 2)
        return {name: float(counted[name].get_total_flops()) for name in ("M", "W", "G")}

    def authors(self, net: Networks, portrait: Tensor, device: torch.device) -> Frame:
        """Per frame: upload, motion extractor, keypoints and stitching, warp, generator, download; the portrait's
        volume is kept."""
        net.parts.to(device)
        loop = liveportrait_cpu.Straightforward(net, device)
        with torch.inference_mode():
            loop.portrait((portrait.to(device) + 1) / 2)
        loop.start = torch.zeros_like(loop.code)

        @torch.inference_mode()
        def frame(picture: np.ndarray) -> np.ndarray:
            x = torch.from_numpy(picture).to(device).permute(2, 0, 1)[None].float().div(255)
            return loop.frame(x)[0].clamp(0, 1).mul(255).byte().permute(1, 2, 0).cpu().numpy()

        return frame

    def whole(self, net: FastLivePortrait, portrait: Tensor) -> Callable[[Tensor], Tensor]:
        """The warps by PyTorch's operators, which the compiler sees through."""
        with torch.inference_mode():
            source = net.source((portrait + 1) / 2)
        start, rules = torch.zeros_like(source.code), kp.Rules().tensor(portrait.device)

        def frame(picture: Tensor) -> Tensor:
            own, net.warp.ops = net.warp.ops, reference
            try:
                return _bytes(net.draw(source, net.latent(_normalised(picture)), start, rules))
            finally:
                net.warp.ops = own

        return frame

    def stages(self, net: FastLivePortrait, portrait: Tensor) -> dict[str, Work]:
        with torch.inference_mode():
            x = (portrait + 1) / 2
            source = net.source(x)
            rules = kp.Rules().tensor(portrait.device)
            home, driven = net.keypoints(source, source.code, torch.zeros_like(source.code), rules)
            home, driven = home.contiguous(), driven.contiguous()
            features = net.warp(source.volume, source.thin, home, driven)
        return {
            "M": lambda: net.motion(x),
            "keypoints": lambda: net.keypoints(source, source.code, source.code, rules),
            "W": lambda: net.warp(source.volume, source.thin, home, driven),
            "G": lambda: net.generate(features),
        }


def _normalised(picture: Tensor) -> Tensor:
    return picture.permute(2, 0, 1)[None].float() / 127.5 - 1


def _bytes(rgb: Tensor) -> Tensor:
    return (rgb[0] * 127.5 + 127.5).round().clamp(0, 255).byte().permute(1, 2, 0)


SUBJECTS: dict[str, Subject] = {
    "lia-256": Latent(lambda: Lia(256), FastLia, 1.5, True),
    "lia-x-1": Latent(lambda: LiaX(scale=1), FastLiaX, 5.0, False),
    "lia-x-2": Latent(lambda: LiaX(scale=2), FastLiaX, 18.0, False),
    "liveportrait": LivePortrait(512, 6.0),
}
DRY: dict[str, Subject] = {
    "lia-8": Latent(lambda: Lia(8), FastLia, 1.5, True),
    "liveportrait-256": LivePortrait(256, 6.0),
}
"""For dry runs. The second is as small as LivePortrait gets: a minute."""
