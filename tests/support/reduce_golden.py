"""Makes the golden sets of `tests/data` from the full ones: `python -m tests.support.reduce_golden FOLDER`.

FOLDER holds the full sets by family (`lia`, `lia_x`, `wan_face`, `liveportrait`). What is left out, and how numbers
are rounded, is in `tests/data/README.md`.
"""

from __future__ import annotations

import re
import shutil
import sys
import zlib
from pathlib import Path

import numpy as np

from tests.support.golden import DATA, made_picture

SETS = {
    "lia": ("vectors_seed1.npz",),
    "lia_x": ("vectors_seed1.npz", "vectors_scale1_seed1.npz"),
    "wan_face": ("vectors_seed1.npz",),
    "liveportrait": ("vectors_seed1.npz", "vectors_size128_seed1.npz"),
}
# Summaries of maps and pictures: rounded. Latents, codes, keypoints and the like are kept to the last bit.
SUMMARY = re.compile(r"\.(mean|std|tl|ctr|br|pool|sub|d8|occlusion|image_\w+)$")
OTHER_MODES = re.compile(r"^(e2e\.)?(abs|edit|none|edit_img|edit_vid|animate_edit|nostitch|face)\.")
# Inner maps of the large sets: the smaller set of the same network holds them, from the same code.
INNER = {
    "lia_x/vectors_seed1.npz": re.compile(r"^rel\.(conv1|c1|frb0|hpre|warp|hpost|hw|up)"),
    "liveportrait/vectors_seed1.npz": re.compile(
        r"^(warp\.(compress|heat|deformed|down|up|hourglass)|gen\.(fc|G_|up))"
    ),
}
KEPT_OF_OTHER_MODES = re.compile(r"\.(latent|image_pool)$")


def rounded(x: np.ndarray) -> np.ndarray:
    """float32 to 16 significant bits (7.6e-6 of the value), so that a third of the bytes are zero."""
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + 0x80) & np.uint32(0xFFFFFF00)).view(np.float32)


def reduced(family: str, name: str, vectors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """One set without what the others cover."""
    out = {}
    inner = INNER.get(f"{family}/{name}")
    for key, value in vectors.items():
        if key.endswith(("_f16", "_stride4")) or (inner and inner.match(key)):
            continue
        if OTHER_MODES.match(key) and not KEPT_OF_OTHER_MODES.search(key):
            continue
        if family == "lia_x" and name == "vectors_seed1.npz" and OTHER_MODES.match(key) and "latent" not in key:
            continue
        if family != "liveportrait" and re.fullmatch(r"in\.\w+_(q|dx)", key):
            tag = key[3:].rsplit("_", 1)[0]
            q = value if key.endswith("_q") else np.cumsum(value.astype(np.int32), axis=2).astype(np.int8)
            made = made_picture(f"wan:{tag}" if family == "wan_face" else tag, q.shape[-1], int(vectors["meta.seed"]))
            assert np.array_equal(made, q), key
            out[f"in.{tag}_made"] = np.array([q.shape[-1], zlib.crc32(q.tobytes())], np.int64)
        elif value.dtype == np.float32 and SUMMARY.search(key):
            out[key] = rounded(value)
        else:
            out[key] = value
    return out


def main(folder: Path) -> None:
    for family, names in SETS.items():
        (DATA / family).mkdir(exist_ok=True)
        for name in names:
            out = reduced(family, name, dict(np.load(folder / family / name)))
            np.savez_compressed(DATA / family / name, **out)
            print(f"{family}/{name}: {len(out)} arrays, {(DATA / family / name).stat().st_size / 1e3:.0f} kB")
        for manifest in sorted((folder / family).glob("manifest*.json")):
            shutil.copyfile(manifest, DATA / family / manifest.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
