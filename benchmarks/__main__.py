"""`python -m benchmarks NAME [--json PATH] [--quick] [--plot PATH]`."""

from __future__ import annotations

import argparse
import importlib
import shlex
import sys
import time
from types import ModuleType
from typing import Any

from benchmarks import BENCHMARKS
from realtime.errors import AvatarError, BadValue, UnknownName


def first_line(module: ModuleType) -> str:
    """The first line of a module's docstring."""
    return (module.__doc__ or "").strip().splitlines()[0]


def listing() -> str:
    """One line per benchmark. A benchmark whose libraries are absent is listed all the same."""
    lines = ["usage: python -m benchmarks NAME [--json PATH] [--quick] [--plot PATH]   (NAME --help for more)", ""]
    for name, target in BENCHMARKS.items():
        try:
            about = first_line(importlib.import_module(target))
        except ImportError as error:
            about = f"(needs {error.name})"
        lines.append(f"  {name:16s} {about}")
    return "\n".join(lines)


def parser_for(name: str, module: ModuleType) -> argparse.ArgumentParser:
    """The command line of one benchmark."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", metavar="PATH", help="write the figures here")
    parser.add_argument("--plot", metavar="PATH", help="write a picture here")
    parser.add_argument("--quick", action="store_true", help="a short run: fewer frames, wider intervals")
    module.add_options(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one benchmark; the exit code of the process."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in {"-h", "--help", "list"}:
        print(listing())
        return 0
    name, rest = arguments[0], arguments[1:]
    try:
        if name not in BENCHMARKS:
            raise UnknownName("benchmark", name, BENCHMARKS)
        module = importlib.import_module(BENCHMARKS[name])
        options = parser_for(name, module).parse_args(rest)
        if options.plot and not any(hasattr(module, way) for way in ("main", "plot", "figure")):
            raise BadValue("--plot", options.plot, f"{name} draws no picture")
        if hasattr(module, "main"):
            return module.main(options)
        return _measure(name, module, options, rest)
    except AvatarError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _measure(name: str, module: ModuleType, options: argparse.Namespace, rest: list[str]) -> int:
    from rich.console import Console

    from benchmarks.report.compare import BUSY
    from benchmarks.report.machine import busy_share
    from benchmarks.report.show import show_figures

    busy = busy_share()
    started = time.monotonic()
    result = module.run(options)
    result.machine["busy_before"] = busy
    if busy is not None and busy > BUSY:
        result.notes.append(f"other programs used {busy:.0f} % of the processor before: times are not to be trusted")
    result.seconds = round(time.monotonic() - started, 1)
    result.quick = options.quick
    result.command = shlex.join(["python", "-m", "benchmarks", name, *rest])
    console = Console(width=None if sys.stdout.isatty() else 130)
    getattr(module, "show", show_figures)(result, console)
    if options.json:
        result.save(options.json)
    if options.plot:
        _draw(module, result, options.plot)
    return 0 if not hasattr(module, "passed") or module.passed(result) else 1


def _draw(module: ModuleType, result: Any, path: str) -> None:
    if hasattr(module, "plot"):
        module.plot(result, path)
    else:
        from benchmarks.report.figures import save

        save(module.figure(result), path)
    print(f"picture: {path}")


if __name__ == "__main__":
    sys.exit(main())
