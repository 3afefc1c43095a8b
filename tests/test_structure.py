"""How the parts hang together, beyond what the import contracts in pyproject.toml hold (`lint-imports`)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from realtime.families import FAMILIES

ROOT = Path(__file__).resolve().parents[1]
OWN = {ROOT.joinpath(*(f.engine or f.weights).partition(":")[0].split(".")[:3]) for f in FAMILIES.values()}
"""The folders of the families."""
SYSTEMS = ROOT / "realtime" / "training"
"""What can be trained is a registry of its own, of systems, see `realtime.training.systems`."""
MAKERS = ROOT / "realtime" / "film"
"""So is what makes films, see `realtime.film.MAKERS`."""


def sources() -> dict[str, Path]:
    """The modules of `realtime`, by name; kernels and clients through the links that stand for them."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for folder in ("realtime", "realtime/kernels", "realtime/clients")
        for path in (ROOT / folder).rglob("*.py")
    }


def imported_at_once(module: str, path: Path, known: set[str]) -> set[str]:
    """Modules that importing `path` imports: not those inside functions or for type checking."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()

    def visit(statements: list[ast.stmt]) -> None:
        for node in statements:
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
                origin = ".".join([*above, *filter(None, [node.module])])
                found.update(f"{origin}.{a.name}" if f"{origin}.{a.name}" in known else origin for a in node.names)
            elif isinstance(node, ast.If):
                visit(node.orelse if "TYPE_CHECKING" in ast.unparse(node.test) else node.body + node.orelse)
            elif isinstance(node, ast.Try):
                visit(node.body + [s for handler in node.handlers for s in handler.body])
            elif isinstance(node, ast.ClassDef):
                visit(node.body)

    visit(ast.parse(path.read_text(encoding="utf-8")).body)
    return (found & known) - {module}


def test_no_module_imports_itself_around_a_corner() -> None:
    modules = sources()
    assert {"realtime.kernels.backends", "realtime.engines.latent.lia"} <= set(modules)
    graph = {name: imported_at_once(name, path, set(modules)) for name, path in modules.items()}
    assert "realtime.kernels.arrays" in set().union(*graph.values())
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" <- ".join(error.args[1])) from None


NAMES = frozenset(FAMILIES)
"""As they are before tests add families of their own."""


def names_in(path: Path) -> Iterator[tuple[int, str]]:
    """Texts in a file that are exactly a family's name, with their lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and node.value in NAMES:
            yield node.lineno, node.value


def test_no_file_names_a_family_but_its_own_and_the_registry() -> None:
    named = {
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in [*(ROOT / "realtime").rglob("*.py"), *(ROOT / "clients").rglob("*.py")]
        if path != ROOT / "realtime" / "families.py"
        and not any(path.is_relative_to(room) for room in {*OWN, SYSTEMS, MAKERS})
        for line, name in names_in(path)
    }
    assert named == set()
    assert list(names_in(ROOT / "realtime" / "families.py"))


def test_listing_families_weights_and_help_takes_neither_torch_nor_the_face_tracker() -> None:
    program = """if True:
        import sys
        from realtime.commands import options
        from realtime.engines.weights.registry import catalogue
        from realtime.families import ENGINES, listed
        assert "mesh" in listed() and "lia-x" in catalogue() and len(ENGINES) >= 4
        heavy = {"torch", "mediapipe", "numba", "scipy"} & {name.partition(".")[0] for name in sys.modules}
        sys.exit(f"loaded {heavy}" if heavy else 0)
    """
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
