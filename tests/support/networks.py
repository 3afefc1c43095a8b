"""Networks small enough for tests. Import it where torch is known to be installed."""

from __future__ import annotations

from realtime.engines.parts.animator import AnimatorConfig, GeneratorConfig, HourglassConfig
from realtime.engines.parts.motion_transformer import MotionTransformerConfig

TINY = AnimatorConfig(
    size=64,
    parts=4,
    transformer=MotionTransformerConfig(backbone="stem", dim=32, layers=2, heads=4, ffn=64),
    heat=HourglassConfig(base=8, blocks=2, limit=32),
    generator=GeneratorConfig(base=8, limit=32, bottleneck=1, mask=HourglassConfig(base=8, blocks=2, limit=32)),
)
