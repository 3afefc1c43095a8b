"""Edit, warp, render: one portrait, changed along named directions of the motion dictionary.

python examples/edit_portrait.py smile.png --set smile=0.6 --set yaw=-12
"""

from __future__ import annotations

import argparse

import numpy as np
from PIL import Image

from realtime import builtin_portrait, load_engine


def main() -> None:
    """Read the command line, edit, write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output")
    parser.add_argument("--portrait", help="a picture with one face (default: the built-in one)")
    parser.add_argument("--set", action="append", default=["smile=0.6"], metavar="NAME=VALUE", dest="edits")
    options = parser.parse_args()

    engine = load_engine("mesh", size=512)
    try:
        if options.portrait:
            engine.set_portrait(np.asarray(Image.open(options.portrait).convert("RGB")))
        else:
            engine.set_portrait(builtin_portrait())

        # A code is a vector; a direction says which entry it moves. The portrait's own code leaves it as it is.
        rest = engine.portrait_code
        values = rest.values.copy()
        directions = {d.name: d for d in engine.directions}
        for edit in options.edits:
            name, _, amount = edit.partition("=")
            direction = directions[name]
            values[direction.index] += float(np.clip(float(amount), direction.lo, direction.hi))

        engine.reference = rest
        Image.fromarray(engine.render(rest.with_values(values))).save(options.output)
    finally:
        engine.close()


if __name__ == "__main__":
    main()
