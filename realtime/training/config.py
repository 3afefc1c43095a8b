"""One typed, printable object per training run, kept beside its weights.

Every field can be set on the command line by its dotted name (``--set optimiser.rate=1e-4``) and is written to
``config.json`` in the run's folder; a run is repeated by giving that file back.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from realtime.engines.neural.crop import MARGIN
from realtime.engines.parts.animator import AnimatorConfig, GeneratorConfig, HourglassConfig, config_from
from realtime.engines.parts.motion_transformer import MotionTransformerConfig
from realtime.engines.unimotion.decoder import STRAIGHT
from realtime.engines.unimotion.network import FIXED, UniMotionConfig
from realtime.errors import BadFile, BadValue
from realtime.families import trained
from realtime.training.data.puppets import DRAWING

PRESETS = ("paper", "small", "tiny")
DRAWN = ("unimotion",)
"""Systems that draw what they are trained on: they take no videos."""


@dataclass(frozen=True)
class DataConfig:
    """What a run sees.

    margin: side of the square crop in lengths of the face's longer side; the engines look at such squares too, so a
    network sees at work what it was trained on. flip: mirror half of the pairs. jitter: greatest change of
    brightness, contrast and saturation (hue a tenth of it), the same for both pictures of a pair. hold_out: the
    last share of every clip's frames, never trained on and used to watch the run. workers: processes that read
    pictures. shuffle: pairs kept in memory to draw from while shards stream in.
    """

    margin: float = MARGIN
    flip: bool = True
    jitter: float = 0.1
    hold_out: float = 0.0
    workers: int = 2
    shuffle: int = 512


@dataclass(frozen=True)
class LossConfig:
    """Weights of the losses; zero leaves one out.

    perceptual: equation 9, the mean absolute difference of every VGG-19 map at every scale, summed (FOMM and MRAA
    weigh it by 10). scales: of that sum, as shares of the picture. features: "vgg19" demands VGG-19's weights;
    "gradients" takes colours and gradients instead, which need none; "auto" takes VGG-19 where its weights are on
    this machine and says so where they are not. equivariance: equation 10. equivariance_affine: FOMM's further
    condition on the Jacobians. background: lambda of equation 13, which weighs 11 and 12. pixels: L1 (LIA).
    adversarial: non-saturating logistic loss (LIA). sparsity: mean absolute value of the motion code; the papers
    give no formula, so it is off.

    Of unimotion, which has no others (all choices): flow: of the speed, see `flow_loss`; details: how much more hands
    and face weigh in it. joints, normals: of the auxiliary heads. seen: of the eye's maps, on driver and reference.
    reading: of the reader, which shares no weights with the rest.
    """

    perceptual: float = 10.0
    scales: tuple[float, ...] = (1.0, 0.5, 0.25, 0.125)
    features: Literal["auto", "vgg19", "gradients"] = "auto"
    equivariance: float = 10.0
    equivariance_affine: float = 0.0
    background: float = 0.0
    pixels: float = 0.0
    adversarial: float = 0.0
    sparsity: float = 0.0
    flow: float = 1.0
    details: float = 4.0
    joints: float = 0.05
    seen: float = 0.05
    normals: float = 0.1
    reading: float = 0.05


@dataclass(frozen=True)
class WarpConfig:
    """The random thin-plate transform of the equivariance loss (FOMM): standard deviations of the affine part and of
    the bending at points x points control points."""

    affine: float = 0.05
    bending: float = 0.005
    points: int = 5


@dataclass(frozen=True)
class OptimiserConfig:
    """Adam and its schedule.

    rate: learning rate at the start. drops: shares of the run after which it is divided by ten (the paper: epochs
    60 and 90 of 100). warmup: steps over which it rises from zero. clip: greatest norm of the gradient (0: none).
    average: decay of the moving average of the weights, which is what is saved for use (0: none). cosine: the rate
    falls along half a cosine to a hundredth of itself, in the place of drops, which must then be empty.
    """

    rate: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    drops: tuple[float, ...] = (0.6, 0.9)
    warmup: int = 0
    clip: float = 10.0
    average: float = 0.999
    cosine: bool = False


@dataclass(frozen=True)
class LatentConfig:
    """Sizes of LIA and LIA-X. directions: entries of the motion dictionary (LIA 20, LIA-X 40). scale: LIA-X's width
    factor (published: 2). width: channels of LIA-X's coarse levels at scale 1 (published: 512, at 512 pixels)."""

    directions: int = 20
    scale: int = 1
    width: int = 512


@dataclass(frozen=True)
class PuppetConfig:
    """The drawn characters of unimotion, and how their pictures are put together (numbers are choices).

    characters: how many are trained on. cross: share of the scenes whose driver is another character, in the same
    pose elsewhere; the others take reference and driver from one character's frames. augment: whether the driver is
    recoloured and moved, colour and spatial: how strongly. shown: share of a batch that is drawn; the diffusion
    transformer, the bones and the normal head learn from that alone. Of the whole batch learn the reader, the eye
    (losses.seen) and, by where the joints are (losses.joints), the encoders, D and the joint head: what hands and
    face do is taught by what is drawn. joints_first: share of the run in which a quarter of that is drawn, as a
    picture without a pose teaches little; of no use without losses.joints. drawing: version of what is drawn, no
    setting: a run goes on only where scenes are drawn as it began.
    """

    characters: int = 100_000
    cross: float = 0.5
    augment: bool = True
    colour: float = 0.6
    spatial: float = 0.15
    shown: float = 1.0
    joints_first: float = 0.0
    drawing: int = DRAWING


@dataclass(frozen=True)
class TrainConfig:
    """A whole run.

    system: what is trained. size: side of the pictures. steps: optimiser steps; 0 takes `epochs` passes in which
    every clip gives `repeats` pairs. batch: pairs per step and process. precision: "fp32", "bf16", or "fp16" with
    loss scaling. shard: under torchrun, split weights, gradients and moments over the processes (FSDP) instead of
    keeping them whole in each (DistributedDataParallel); not with fp16. imagenet: start the HRNet backbone from
    timm's ImageNet weights where they are on this machine. log_every, check_every, sample_every, save_every: steps
    between lines of the log, looks at the held-out frames, sample sheets and checkpoints. keep: weight files kept
    besides the last. patience: consecutive steps without a finite loss after which the run gives up.
    """

    system: str = "motrans"
    size: int = 256
    seed: int = 0
    steps: int = 0
    epochs: int = 100
    repeats: int = 75
    batch: int = 5
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    shard: bool = False
    imagenet: bool = True
    log_every: int = 20
    check_every: int = 500
    sample_every: int = 500
    save_every: int = 1000
    keep: int = 3
    patience: int = 50
    tensorboard: bool = True
    data: DataConfig = field(default_factory=DataConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    warp: WarpConfig = field(default_factory=WarpConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    animator: AnimatorConfig = field(default_factory=AnimatorConfig)
    latent: LatentConfig = field(default_factory=LatentConfig)
    unimotion: UniMotionConfig = field(default_factory=UniMotionConfig)
    puppets: PuppetConfig = field(default_factory=PuppetConfig)

    def total_steps(self, clips: int, processes: int) -> int:
        """Optimiser steps of the whole run, for so many clips and processes."""
        return self.steps or max(1, self.epochs * self.repeats * clips // (self.batch * processes))

    def rate_at(self, step: int, total: int) -> float:
        """Learning rate of step number `step` (from 0) of `total`."""
        o = self.optimiser
        if o.cosine:
            rate = o.rate * (0.01 + 0.99 * (0.5 + 0.5 * math.cos(math.pi * min(1.0, step / total))))
        else:
            rate = o.rate * 0.1 ** sum(step >= share * total for share in o.drops)
        return rate * min(1.0, (step + 1) / o.warmup) if o.warmup else rate

    @property
    def backbone(self) -> str:
        """The HRNet that reads the pictures, "" for a network without one."""
        name = self.animator.transformer.backbone if self.system == "motrans" else ""
        return "hr-w32" if name == "stem" else name

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> TrainConfig:
        """Raises BadValue where a name or a type is wrong."""
        try:
            return config_from(TrainConfig, values).checked()
        except (ValueError, TypeError) as error:
            raise BadValue("the configuration", "...", str(error)) from error

    @staticmethod
    def read(path: str | Path) -> TrainConfig:
        """The configuration that a file holds; what a table did not name yet when it was written is as it was then.

        Raises BadFile, BadValue."""
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise BadFile(path, f"cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise BadFile(path, f"is no JSON ({error})") from error
        if not isinstance(values, dict):
            raise BadFile(path, "holds no table of values")
        return TrainConfig.from_dict(_as_written(values))

    def with_settings(self, settings: Sequence[str]) -> TrainConfig:
        """With NAME=VALUE settings of dotted names, e.g. "losses.features=gradients". Raises BadValue."""
        values = dataclasses.asdict(self)
        for setting in settings:
            name, found, text = setting.partition("=")
            if not found:
                raise BadValue("--set", setting, "it must be NAME=VALUE, as in optimiser.rate=1e-4")
            table, *rest = name.split(".")
            place: Any = values
            path = [table, *rest]
            for part in path[:-1]:
                place = place.get(part) if isinstance(place, dict) else None
            if not isinstance(place, dict) or path[-1] not in place:
                raise BadValue("--set", name, "there is no such field; --print-config shows them all")
            place[path[-1]] = _parsed(text)
        return TrainConfig.from_dict(values)

    def checked(self) -> TrainConfig:
        """Itself. Raises BadValue for values that no run can have."""
        positive = {
            "size": self.size,
            "batch": self.batch,
            "log_every": self.log_every,
            "save_every": self.save_every,
        }
        for name, value in positive.items():
            if value < 1:
                raise BadValue(name, value, "it must be 1 or more")
        if self.system not in trained():
            raise BadValue("system", self.system, f"it may be {', '.join(trained())}")
        if self.shard and self.precision == "fp16":
            raise BadValue("shard", True, "not with precision=fp16, whose loss scale is per process; bf16 needs none")
        if self.optimiser.cosine and self.optimiser.drops:
            raise BadValue(
                "optimiser.drops", list(self.optimiser.drops),
                "not with optimiser.cosine, whose rate falls without them: set drops=[] or cosine=false",
            )  # fmt: skip
        if not 0 <= self.data.hold_out < 1:
            raise BadValue("data.hold_out", self.data.hold_out, "a share of the frames, from 0 to below 1")
        if self.system in ("motrans", "fomm", "mraa"):
            if self.animator.estimator != self.system or self.animator.size != self.size:
                fixed = replace(self.animator, estimator=self.system, size=self.size)  # type: ignore[arg-type]
                return replace(self, animator=fixed).checked()
            if self.size % self.animator.multiple:
                raise BadValue(
                    "size", self.size, f"with these networks it must be a multiple of {self.animator.multiple}"
                )
        for name, number in FIXED.items():
            if (value := getattr(self.unimotion, name)) != number:
                raise BadValue(f"unimotion.{name}", value, f"it is always {number}, as of the drawn characters")
        if self.system in DRAWN and self.unimotion.size != self.size:
            return replace(self, unimotion=replace(self.unimotion, size=self.size)).checked()
        return self


def _as_written(values: dict[str, Any]) -> dict[str, Any]:
    """Values of a file; where the tables, all of which a run writes, do not say it, what held as it was written."""
    tokens, drawn = values.get("unimotion"), values.get("puppets")
    if not (isinstance(tokens, dict) and isinstance(drawn, dict)):
        return values
    drawing = 2 if "placing" in tokens else 1  # drawings were numbered last
    return values | {"unimotion": {"placing": STRAIGHT} | tokens, "puppets": {"drawing": drawing} | drawn}


def _parsed(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return tuple(value) if isinstance(value, list) else value


def preset(system: str, name: str) -> TrainConfig:
    """The configuration `name` of `system`: "paper" as published, "small" for one GPU and an evening, "tiny" for a
    few minutes on a CPU. Raises BadValue."""
    if system not in trained():
        raise BadValue("--system", system, f"it may be {', '.join(trained())}")
    if name not in PRESETS:
        raise BadValue("--preset", name, f"it may be {', '.join(PRESETS)}")
    if system in DRAWN:
        return _unimotion(name)
    latent = system in ("lia", "lia-x")
    config = TrainConfig(system=system)
    if latent:
        config = replace(
            config,
            losses=LossConfig(equivariance=0.0, pixels=1.0, adversarial=1.0),
            optimiser=OptimiserConfig(rate=2e-3, beta1=0.0, beta2=0.99, drops=()),
        )
        if system == "lia-x":
            width = {"paper": 512, "small": 256, "tiny": 64}[name]
            config = replace(config, size=512, latent=LatentConfig(40, 2 if name == "paper" else 1, width))
    elif system in ("fomm", "mraa"):
        config = replace(config, losses=LossConfig(equivariance_affine=10.0))
    if name == "small":
        config = replace(config, size=128, steps=20000, batch=16, optimiser=replace(config.optimiser, warmup=200))
        if not latent:
            config = replace(
                config,
                animator=AnimatorConfig(
                    transformer=MotionTransformerConfig(layers=4),
                    heat=HourglassConfig(base=32, blocks=4, limit=256),
                    generator=GeneratorConfig(base=32, limit=256, bottleneck=3, mask=HourglassConfig(32, 4, 256)),
                ),
            )
    elif name == "tiny":
        config = replace(
            config,
            size=64,
            steps=800,
            batch=8,
            imagenet=False,
            check_every=100,
            sample_every=300,
            save_every=300,
            data=replace(config.data, workers=0, flip=False, hold_out=0.2),
            losses=replace(config.losses, scales=(1.0, 0.5), features="gradients", adversarial=0.0),
            optimiser=replace(config.optimiser, rate=1e-3, warmup=50, average=0.99),
        )
        if not latent:
            config = replace(
                config,
                animator=AnimatorConfig(
                    parts=6,
                    transformer=MotionTransformerConfig(backbone="stem", dim=64, layers=2, heads=4, ffn=128),
                    heat=HourglassConfig(base=16, blocks=3, limit=64),
                    generator=GeneratorConfig(base=16, limit=64, bottleneck=2, mask=HourglassConfig(16, 3, 64)),
                ),
            )
    return config.checked()


def _unimotion(name: str) -> TrainConfig:
    """Presets of unimotion: "tiny" for half an hour of one CPU core, "small" for half an hour of one GPU, "paper" for
    a real run, which is on paper: see README.md."""
    config = TrainConfig(
        system="unimotion",
        size=64,
        steps=2500,
        batch=32,
        check_every=150,
        sample_every=150,
        save_every=150,
        imagenet=False,
        data=DataConfig(workers=0, flip=False, jitter=0.0),
        losses=LossConfig(perceptual=0.0, equivariance=0.0, features="gradients"),
        optimiser=OptimiserConfig(
            rate=2e-3, beta1=0.9, beta2=0.99, drops=(), cosine=True, warmup=50, clip=1.0, average=0.99
        ),
        puppets=PuppetConfig(shown=0.5, joints_first=0.35),
    )
    if name == "tiny":
        return config.checked()
    config = replace(
        config,
        steps=15_000,
        batch=256,
        precision="bf16",
        check_every=500,
        sample_every=500,
        save_every=1000,
        data=replace(config.data, workers=14),
        optimiser=replace(config.optimiser, rate=5e-4, warmup=500, average=0.999),
        unimotion=UniMotionConfig(
            patch=4, body=128, hand=32, face=64, width=256, heads=8, eye=64, decoder=6, dit_width=384, dit_layers=8
        ),
        puppets=PuppetConfig(),
    )
    if name == "small":
        return config.checked()
    return replace(
        config,
        size=256,
        steps=200_000,
        batch=32,
        check_every=2000,
        sample_every=2000,
        save_every=5000,
        optimiser=replace(config.optimiser, rate=1e-4, warmup=2000, average=0.9999),
        unimotion=UniMotionConfig(
            size=256, patch=16, crop=96, body=256, hand=64, face=128, width=768, heads=12, eye=128, decoder=12,
            dit_width=1152, dit_layers=28, detail=64, marks=16,
        ),
    ).checked()  # fmt: skip
