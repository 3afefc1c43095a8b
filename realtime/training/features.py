"""What the perceptual loss looks at: VGG-19's maps, or, without its weights, colours and gradients.

VGG-19: Simonyan and Zisserman, 2015; which maps: Johnson et al., 2016, as FOMM takes them (the first ReLU after each
change of size). The weights are torchvision's, by its key names; they come from a file that the user gives or from
the folders where PyTorch and the Hugging Face hub keep what they have downloaded.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realtime.errors import BadFile, first_line

VGG_FILE = "vgg19-dcbb9e9d.pth"
VGG_URL = f"https://download.pytorch.org/models/{VGG_FILE}"
HRNET_REPOSITORIES = {"hr-w32": "timm/hrnet_w32.ms_in1k", "hr-w48": "timm/hrnet_w48.ms_in1k"}
_WIDTHS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512, 512)
_TAPS = (1, 6, 11, 20, 29)
"""Indices, in torchvision's numbering, of the ReLU outputs that are compared."""


class Vgg19(nn.Module):
    """Five maps of VGG-19, from fine to coarse. Picture (B, 3, H, W) in 0..1, H and W 16 at least."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for width in _WIDTHS:
            if width == 0:
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
            inputs = width
        self.features = nn.Sequential(*layers[: _TAPS[-1] + 1])
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def forward(self, picture: Tensor) -> list[Tensor]:
        maps = []
        x = (picture - self.mean) / self.std
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in _TAPS:
                maps.append(x)
        return maps


class GradientFeatures(nn.Module):
    """Maps that need no weights: colours, and the gradients and the Laplacian of each colour.

    The stand-in for VGG-19 where its weights are not at hand. It sees edges in their place but nothing of texture
    or meaning, so that pictures come out softer.
    """

    kernels: Tensor

    def __init__(self) -> None:
        super().__init__()
        across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4
        peak = torch.tensor([[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]]) / 2
        self.register_buffer("kernels", torch.stack([across, across.T, peak])[:, None], persistent=False)

    def forward(self, picture: Tensor) -> list[Tensor]:
        each = picture.flatten(0, 1).unsqueeze(1)  # (3 B, 1, H, W)
        edges = F.conv2d(F.pad(each, (1, 1, 1, 1), mode="replicate"), self.kernels.to(picture.dtype))
        edges = edges.unflatten(0, (picture.shape[0], 3)).flatten(1, 2)  # (B, 9, H, W)
        return [picture, edges]


def cached(name: Literal["vgg19", "hr-w32", "hr-w48"]) -> Path | None:
    """The weight file in PyTorch's or the Hugging Face hub's folder, None where it is not there."""
    if name == "vgg19":
        path = Path(torch.hub.get_dir()) / "checkpoints" / VGG_FILE
        return path if path.is_file() else None
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    found = try_to_load_from_cache(HRNET_REPOSITORIES[name], "model.safetensors")
    return Path(found) if isinstance(found, str) else None


def download(name: Literal["vgg19", "hr-w32", "hr-w48"]) -> Path:
    """Fetch the weights into the folder where `cached` looks. Raises OSError where the network fails."""
    if name == "vgg19":
        path = Path(torch.hub.get_dir()) / "checkpoints" / VGG_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(VGG_URL, str(path), hash_prefix="dcbb9e9d")
        return path
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(HRNET_REPOSITORIES[name], "model.safetensors"))


def load_vgg(path: Path) -> Vgg19:
    """VGG-19 with torchvision's weights. Raises BadFile."""
    import pickle

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network = Vgg19()
        own = {key: state[key] for key in network.state_dict()}
        network.load_state_dict(own)
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise BadFile(path, f"holds no VGG-19 by torchvision's names ({first_line(error)})") from error
    return network.eval()


def make_features(
    wanted: Literal["auto", "vgg19", "gradients"], file: Path | None, say: Callable[[str], None]
) -> tuple[nn.Module, str]:
    """The feature extractor and its name. `say` is told when VGG-19 is replaced.

    Raises BadFile where "vgg19" is wanted and its weights are not here."""
    path = file or (cached("vgg19") if wanted != "gradients" else None)
    if wanted != "gradients" and path is not None:
        return load_vgg(path), "vgg19"
    if wanted == "vgg19":
        raise BadFile(VGG_FILE, f"not in {Path(torch.hub.get_dir()) / 'checkpoints'}: give --vgg PATH or --download")
    if wanted == "auto":
        say(
            "VGG-19's weights are not on this machine: the perceptual loss compares colours and gradients instead, "
            "and pictures come out softer. Give --vgg PATH, or --download to fetch them (550 MB)."
        )
    return GradientFeatures(), "gradients"
