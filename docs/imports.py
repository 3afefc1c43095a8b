"""Draws the rooms of the project and their imports: `python docs/imports.py [-o docs/imports.svg]`.

Says also, as a table, how many files and lines each room has; with `--check` it draws nothing, and fails where the
picture is out of date or two rooms import each other.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
DEEPER = ("engines", "engines.mesh", "server")
"""Packages of `realtime` whose own packages are rooms."""
GROUND = "ground"


def room_of(module: str) -> str:
    """The room that a module belongs to: "realtime.engines.latent.lia" is in "engines.latent"."""
    parts = module.split(".")
    if parts[0] != "realtime":
        return parts[0]
    room: list[str] = []
    for part in parts[1:]:
        inside = (ROOT / "realtime").joinpath(*room, part)
        if not inside.is_dir() or (room and ".".join(room) not in DEEPER):
            break
        room.append(part)
    if not room:
        return "cli" if parts[-1] in ("cli", "__main__") else GROUND
    return ".".join(room)


def arrows() -> dict[str, set[str]]:
    """For each room, the rooms that it imports at module level or later. Type-checking imports do not count."""
    sys.path.insert(0, str(ROOT))
    graph = grimp.build_graph("realtime", "benchmarks", exclude_type_checking_imports=True, cache_dir=None)
    found: dict[str, set[str]] = {room_of(module): set() for module in graph.modules}
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            if room_of(imported) != room_of(module) and imported != "realtime" and module != "realtime":
                found[room_of(module)].add(room_of(imported))
    return found


def circles(found: dict[str, set[str]]) -> list[list[str]]:
    """Rooms that import each other, directly or around a corner."""
    reach = {room: _reach(room, found) for room in found}
    rings = {frozenset(b for b in found if b in reach[a] and a in reach[b]) for a in found if a in reach[a]}
    return sorted(sorted(ring) for ring in rings)


def _reach(room: str, found: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    todo = list(found[room])
    while todo:
        if (at := todo.pop()) not in seen:
            seen.add(at)
            todo += found[at]
    return seen


def floors(found: dict[str, set[str]]) -> dict[str, int]:
    """How many rooms lie below each, on the longest way down."""
    level: dict[str, int] = {}

    def of(room: str, above: tuple[str, ...] = ()) -> int:
        if room not in level:
            level[room] = 1 + max((of(b, (*above, room)) for b in found[room] if b not in above), default=-1)
        return level[room]

    for room in sorted(found):
        of(room)
    return level


def sizes() -> dict[str, tuple[int, int]]:
    """Files and lines of each room."""
    count: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for top in ("realtime", "kernels", "clients", "benchmarks"):
        for path in (ROOT / top).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if path.is_symlink() or any((ROOT / Path(*parts[: n + 1])).is_symlink() for n in range(len(parts) - 1)):
                continue
            name = ".".join(parts if top in ("realtime", "benchmarks") else ("realtime", *parts))
            room = count[room_of(name.removesuffix(".__init__"))]
            room[0] += 1
            room[1] += len(path.read_text(encoding="utf-8").splitlines())
    return {room: (files, lines) for room, (files, lines) in count.items()}


def svg(found: dict[str, set[str]]) -> str:
    """The picture: a floor for each level, an arrow for each import that no longer way already shows."""
    level, size = floors(found), sizes()
    rows: dict[int, list[str]] = defaultdict(list)
    for room in sorted(found, key=lambda r: (level[r], r)):
        rows[level[room]].append(room)
    width, step, box = 1180, 92, 46
    height = step * (max(rows) + 1) + 20
    across: dict[str, float] = {}
    for _ in range(8):  # each room goes where its neighbours are, so that arrows are short
        for floor in sorted(rows):
            near = {r: [*found[r], *(o for o in found if r in found[o])] for r in rows[floor]}
            middle = {r: sum(across.get(o, 0.5) for o in near[r]) / max(1, len(near[r])) for r in near}
            rows[floor].sort(key=lambda r: (middle[r], r))
            across |= {r: (n + 1) / (len(rows[floor]) + 1) for n, r in enumerate(rows[floor])}
    at = {r: (width * across[r], height - 30 - step * floor - box / 2) for floor in rows for r in rows[floor]}
    lines, boxes = [], []
    for room, others in sorted(found.items()):
        for other in sorted(others):
            if any(other in _reach(via, found) for via in others if via != other):
                continue  # another arrow leads there already
            (x1, y1), (x2, y2) = at[room], at[other]
            lines.append(
                f'<path d="M{x1:.0f},{y1 + box / 2:.0f} C{x1:.0f},{y1 + step * 0.6:.0f} '
                f'{x2:.0f},{y2 - step * 0.6:.0f} {x2:.0f},{y2 - box / 2 - 4:.0f}" marker-end="url(#tip)"/>'
            )
    for room, (x, y) in at.items():
        files = size.get(room, (0, 0))[0]
        w = max(92, 8 * len(room) + 18)
        boxes.append(
            f'<g transform="translate({x:.0f},{y:.0f})"><rect x="{-w / 2:.0f}" y="{-box / 2:.0f}" width="{w}" '
            f'height="{box}" rx="6"/><text y="-2">{room}</text><text y="15" class="small">{files} files</text></g>'
        )
    said = "; ".join(f"{room} > {' '.join(sorted(others))}" for room, others in sorted(found.items()) if others)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="Rooms and their imports">\n<desc>{said.replace(">", "&gt;")}</desc>\n<style>'
        "svg{background:#fff}path{fill:none;stroke:#8a97a6;stroke-width:1.1}rect{fill:#eef3f8;stroke:#4a6078}"
        "text{font:13px sans-serif;text-anchor:middle;fill:#1d2733}.small{font-size:10px;fill:#5a6877}</style>\n"
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" style="fill:#8a97a6;stroke:none"/></marker></defs>\n'
        + "\n".join(lines + boxes)
        + "\n</svg>\n"
    )


def main() -> None:
    """Draw, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "imports.svg")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    found = arrows()
    rings = circles(found)
    for ring in rings:
        print(f"these rooms import each other: {', '.join(ring)}", file=sys.stderr)
    if options.check:
        same = options.output.read_text(encoding="utf-8").split("</desc>")[0] == svg(found).split("</desc>")[0]
        if not same:
            print(f"{options.output.name} is out of date: python docs/imports.py", file=sys.stderr)
        sys.exit(bool(rings) or not same)
    options.output.write_text(svg(found), encoding="utf-8")
    level, size = floors(found), sizes()
    for room in sorted(found, key=lambda r: (-level[r], r)):
        files, count = size.get(room, (0, 0))
        print(f"{level[room]:3d}  {room:18s} {files:4d} files {count:6d} lines   -> {' '.join(sorted(found[room]))}")
    print(f"{len(found)} rooms, {max(level.values()) + 1} floors, {sum(map(len, found.values()))} arrows")


if __name__ == "__main__":
    main()
