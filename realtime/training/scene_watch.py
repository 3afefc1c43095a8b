"""Looking at a run of unimotion: unseen characters, driven by other unseen characters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from realtime.engines.unimotion.joint_head import joints_of
from realtime.engines.unimotion.network import UniMotion
from realtime.media.pictures import write_picture
from realtime.sinks import SinkOptions, open_sink
from realtime.training.config import TrainConfig
from realtime.training.data.pairs import draw
from realtime.training.data.puppets import draw_place, draw_pose, moving, render
from realtime.training.data.scenes import UNSEEN, Scene, SceneSet, character
from realtime.training.watch import SHOWN, sheet, to_uint8
from realtime.types import Picture


def unseen_scenes(config: TrainConfig, count: int, cross: bool) -> Scene:
    """A batch of `count` scenes of characters that are not trained on, the driver as it is. cross: it is another
    character than the reference's; else the same one."""
    puppets = replace(config.puppets, cross=1.0 if cross else 0.0)
    scenes = SceneSet(puppets, config.size, config.unimotion.crop, config.seed, unseen=True)
    return default_collate([scenes[n] for n in range(count)])


def on_device(scene: Scene, device: torch.device) -> Scene:
    return Scene(*(part.to(device) for part in scene))


def noise_like(pictures: Tensor, seed: int = 0) -> Tensor:
    """Unit normals in the shape of pictures, the same on every device."""
    return torch.randn(pictures.shape, generator=torch.Generator().manual_seed(seed)).to(pictures)


class UnseenScenes:
    """A fixed choice of such scenes."""

    def __init__(self, config: TrainConfig, count: int = 48) -> None:
        self.scene = unseen_scenes(config, count, cross=True)

    def look(
        self, system: nn.Module, network: nn.Module, device: torch.device
    ) -> tuple[dict[str, float], np.ndarray]:
        """L1 of the network ("l1") and of the still reference ("still_l1"), how far D's head puts the joints from
        where they should be ("joints_px"), and a sheet of some: reference, driver, what should come out, what comes
        out, and where the head puts the joints (dots, on what should come out)."""
        assert isinstance(network, UniMotion)
        scene = on_device(self.scene, device)
        with torch.no_grad():
            tokens = network.encode(network.look(scene.driver), scene.crops)
            made = network.draw(scene.reference, tokens, noise_like(scene.reference))
            guided = network.guide(network.look(scene.reference), tokens)
            joints = joints_of(network.joint_head(guided.features))
        pick = slice(0, SHOWN)
        rows = [list(to_uint8(x[pick])) for x in (scene.reference, scene.driver, scene.target, made)]
        rows.append([dotted(picture, at) for picture, at in zip(rows[2], joints[pick].cpu().numpy(), strict=True)])
        figures = {
            "l1": float((made - scene.target).abs().mean()),
            "still_l1": float((scene.reference - scene.target).abs().mean()),
            "joints_px": float((joints - scene.joints).norm(dim=2).mean()) * scene.target.shape[3],
        }
        return figures, sheet(rows)


def dotted(picture: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """A copy of an uint8 (S, S, 3) picture with a red pixel at each of the joints (J, 2), in sides."""
    shown = picture // 2 + 100
    at = np.clip((joints * len(picture)).astype(int), 0, len(picture) - 1)
    shown[at[:, 1], at[:, 0]] = (255, 0, 0)
    return shown


EXAMPLE = ("character.png", "driver.mp4")
"""What `write_example` writes."""
EXAMPLE_SIDE, EXAMPLE_FRAMES, EXAMPLE_FPS = 256, 36, 12.0


def write_example(folder: Path, seed: int) -> None:
    """Something to try the weights with (`avatar animate`): the picture of an unseen character, and a clip of three
    seconds of another one. Raises BadFile, NotWritten."""
    rng = draw(seed, UNSEEN)
    who, driver = (character(seed, UNSEEN + n) for n in (1, 2))
    picture, clip = (folder / name for name in EXAMPLE)
    write_picture(picture, render(who, draw_pose(rng), draw_place(rng), EXAMPLE_SIDE).picture)
    place = draw_place(rng)
    sink = open_sink(f"file:{clip}", SinkOptions(fps=EXAMPLE_FPS, live=False, mark=False))
    sink.open(EXAMPLE_SIDE, EXAMPLE_SIDE, EXAMPLE_FPS)
    try:
        for n, pose in enumerate(moving(rng, EXAMPLE_FRAMES)):
            at = n / EXAMPLE_FPS
            sink.write(Picture(render(driver, pose, place, EXAMPLE_SIDE).picture, captured=at, pts=at, index=n))
    finally:
        sink.close()
