"""The command line. Thin: it imports the command that was asked for, and turns errors into one sentence and an
exit code (0 well, 2 wrong usage or bad input, 1 failure while running)."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from realtime.commands import COMMANDS
from realtime.errors import AvatarError, NoMemory, lacks_memory

if TYPE_CHECKING:
    import typer

_PROCESS = os.getpid()
TYPER_INTERRUPTED = 130
"""What Typer makes of a KeyboardInterrupt."""

ABOUT = """A portrait that moves as you do: from a webcam into a virtual camera, a browser or a file.

[b]First steps[/b]

  avatar demo                                  see it move, with nothing set up
  avatar doctor                                what works here, and what mends the rest
  avatar run --portrait me.jpg                 be that portrait in your next call
  avatar render clip.mp4 --portrait me.jpg -o out.mp4
"""


def build_app(names: Iterable[str] | None = None) -> typer.Typer:
    """The Typer application. Only the commands in `names` are imported (None: all); the others are listed only."""
    import typer

    app = typer.Typer(
        help=ABOUT,
        no_args_is_help=True,
        rich_markup_mode="rich",
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    wanted = set(COMMANDS if names is None else names)

    @app.callback(invoke_without_command=True, help=ABOUT)
    def _options(version: bool = typer.Option(False, "--version", help="Say the version and stop.")) -> None:
        if version:
            from realtime import __version__

            print(f"avatar {__version__}")
            raise typer.Exit

    for name, (module, summary) in COMMANDS.items():
        if name not in wanted:
            app.command(name, help=summary)(_listed_only)
            continue
        part = importlib.import_module(module)
        if hasattr(part, "app"):
            app.add_typer(part.app, name=name, short_help=summary)
        else:
            app.command(name, short_help=summary)(part.command)
    return app


def leave_out_types_of_flags(command: Any) -> None:
    """Say no "<bool>" in the help of a command and its subcommands: a flag stands alone."""
    import typer

    for option in (*command.params, command.get_help_option(typer.Context(command))):
        if getattr(option, "is_flag", False):
            option.metavar = ""
    for part in getattr(command, "commands", {}).values():
        leave_out_types_of_flags(part)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; gives its exit code. Prints the sentence of an error to stderr."""
    called = next((a for a in arguments if not a.startswith("-")), None)
    try:
        if called is not None and called not in COMMANDS:
            from realtime.errors import UnknownName

            raise UnknownName("command", called, COMMANDS)
        import typer

        command: Any = typer.main.get_command(build_app([called] if called else []))
        leave_out_types_of_flags(command)
        result = command(list(arguments), standalone_mode=False)
        if result == TYPER_INTERRUPTED:
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except AvatarError as error:
        return _say(error, str(error), error.exit_code)
    except (KeyboardInterrupt, EOFError) as error:
        return _say(error, "interrupted", 1)
    except BrokenPipeError:
        return 0
    except Exception as error:
        if lacks_memory(error):
            return _say(error, str(NoMemory()), 1)
        if type(error).__name__ == "NoArgsIsHelpError":
            return 2  # the help is shown, which says all
        message = getattr(error, "format_message", None)
        if callable(message):  # wrong usage, as Typer found it
            hint = f" (see: avatar {called} --help)" if called else ""
            dashed = next((a for a in arguments if a.startswith("-") and os.path.isfile(a)), None)
            if dashed is not None:
                hint = f"; the file of that name is written ./{dashed}{hint}"
            return _say(error, f"{' '.join(str(message()).split()).rstrip('.')}{hint}", 2)
        if type(error).__name__ == "Abort":
            return _say(error, "interrupted", 1)
        return _say(error, f"unexpected {type(error).__name__}: {error} (AVATAR_DEBUG=1 shows where)", 1)


def main() -> NoReturn:
    """Entry point of `avatar` and of `python -m realtime`."""
    from realtime.commands.native import quiet_native_libraries, warn_of_memory_limit

    if not os.environ.get("AVATAR_DEBUG"):
        quiet_native_libraries()
    warn_of_memory_limit()
    signal.signal(signal.SIGTERM, _stop)
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError as error:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        if not isinstance(error, BrokenPipeError):
            code = _say(error, f"what was printed could not be written ({error.strerror})", 1)
    if any(thread.daemon and thread.name.startswith("avatar-") for thread in threading.enumerate()):
        sys.stderr.flush()
        os._exit(code)  # a stage in the midst of a long step: PyTorch would abort the interpreter's end
    sys.exit(code)


def _stop(_number: int, _frame: object) -> None:
    """SIGTERM ends a command as Ctrl-C does, so that nothing half written is left. A forked worker just ends."""
    if os.getpid() != _PROCESS:
        os._exit(128 + signal.SIGTERM)
    raise KeyboardInterrupt


def _say(error: BaseException, sentence: str, code: int) -> int:
    if os.environ.get("AVATAR_DEBUG"):
        traceback.print_exception(error)
    notes = getattr(error, "__notes__", ())
    print(f"avatar: {' '.join('; '.join([sentence, *notes]).split())}", file=sys.stderr, flush=True)
    return code


def _listed_only() -> None:
    """Stands for a command in the help of the whole; it is never called."""
