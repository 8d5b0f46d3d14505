"""The `netwright` command: verbs, exit codes, and errors a user can act on."""

import io
import os
import shlex
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import typer
from typer.core import TyperGroup

from netwright.cli.ablate import ablate
from netwright.cli.anomaly import anomaly
from netwright.cli.attribute import attribute
from netwright.cli.catalogue import listing
from netwright.cli.check import check
from netwright.cli.compare import compare
from netwright.cli.denoise import denoise
from netwright.cli.embed import embed
from netwright.cli.evaluate import evaluate
from netwright.cli.explain import explain
from netwright.cli.generate import generate
from netwright.cli.history import history
from netwright.cli.interpolate import interpolate
from netwright.cli.lr_find import lr_find
from netwright.cli.map import map_
from netwright.cli.neighbours import neighbours
from netwright.cli.predict import predict
from netwright.cli.report import report
from netwright.cli.search import search
from netwright.cli.show import show
from netwright.cli.study import study
from netwright.cli.swap import swap
from netwright.cli.synthesize import synthesize
from netwright.cli.train import train
from netwright.cli.transfer_study import transfer_study
from netwright.cli.traverse import traverse
from netwright.cli.tune import tune
from netwright.cli.verify import verify
from netwright.core.errors import EXIT_INTERRUPTED, EXIT_OUR_FAULT, EXIT_TERMINATED, EXIT_USER, NetwrightError, nearest

EXIT_CODES = (
    "Exit codes: 0 done, 2 something you can mend, 130/143 interrupted and saved, 1 our fault (with a report file)."
)


LAB = ("ablate", "tune", "study", "transfer-study")  # verbs that find their finished runs again

# typer brings click as a dependency or, since 0.29, as a copy of its own; in both this is the base of usage errors.
USAGE_ERROR: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


class Verbs(TyperGroup):
    """Lists verbs in the order they are used, and suggests the nearest."""

    def list_commands(self, ctx: Any) -> list[str]:
        """In order of definition."""
        return list(self.commands)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A verb, also with underscores as Python writes it; an unknown one says what is near."""
        found = super().get_command(ctx, cmd_name.replace("_", "-"))
        if found is None:
            close = nearest(cmd_name, self.commands)
            hint = f"did you mean '{close}'? " if close else ""
            raise NetwrightError(f"unknown command '{cmd_name}'", f"{hint}Commands: {', '.join(self.commands)}.")
        return found


app = typer.Typer(
    cls=Verbs,
    name="netwright",
    help="Trains deep vision networks, and tells you why they train or don't.",
    epilog=EXIT_CODES,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(check)
app.command()(train)
app.command()(predict)
app.command()(evaluate)
app.command()(explain)
app.command()(lr_find)
app.command()(ablate)
app.command()(compare)
app.command()(tune)
app.command()(history)
app.command()(transfer_study)
app.command()(study)
app.command()(embed)
app.command()(search)
app.command()(neighbours)
app.command("map")(map_)
app.command()(denoise)
app.command()(anomaly)
app.command()(generate)
app.command()(interpolate)
app.command()(traverse)
app.command()(synthesize)
app.command()(attribute)
app.command()(swap)
app.command("list")(listing)
app.command()(show)
app.command()(report)
app.command()(verify)


def _version(asked: bool) -> None:
    if asked:
        from netwright import __version__

        typer.echo(f"netwright {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Say the version."),
) -> None:
    """Trains deep vision networks, and tells you why they train or don't."""


def run(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be valid in the terminal's encoding
    given = optional_resume(sys.argv[1:] if arguments is None else arguments)
    sys.exit(code_of(given or ["--help"]))


def code_of(arguments: list[str]) -> int:
    """Run the command line and return its exit code; errors are told on stderr."""
    try:
        with _terminations(arguments[:1]):
            done = app(arguments, standalone_mode=False)
    except NetwrightError as error:
        return _told(str(error), error.exit_code)
    except USAGE_ERROR as error:
        where = error.ctx.command_path if getattr(error, "ctx", None) else "netwright"
        return _told(f"{error.format_message()}\n  fix: see `{where} --help`", EXIT_USER)
    except (KeyboardInterrupt, typer.Abort):
        return _told(_stopped(arguments), EXIT_INTERRUPTED)
    except _Terminated:
        return _told(_stopped(arguments), EXIT_TERMINATED)
    except MemoryError:
        return _told("memory ran out\n  fix: close other programs, or ask for less at once", EXIT_USER)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read us has gone
        return 0
    except Exception:
        return _told(f"this is a mistake of netwright's, not yours; please send us {_report_file()}", EXIT_OUR_FAULT)
    if done == EXIT_INTERRUPTED:  # typer makes that of a KeyboardInterrupt in a verb
        return _told(_stopped(arguments), EXIT_INTERRUPTED)
    return done if isinstance(done, int) else 0


class _Terminated(BaseException):
    """A signal asked for the end; no code takes it for a failure of its own, as it might an `Exception`."""


@contextmanager
def _terminations(verb: list[str]) -> Generator[None]:
    """Let SIGTERM and SIGUSR1 end a verb of the lab in order, also while it trains nothing."""
    process = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:  # a worker that was forked
            os._exit(EXIT_TERMINATED)
        raise _Terminated

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]
    previous: dict[int, Any] = {}
    try:
        for number in numbers if _is_lab(verb) else ():
            if signal.getsignal(number) is not None:
                previous[number] = signal.signal(number, stop)
    except ValueError:  # Python allows handlers in the main thread only
        previous.clear()
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _is_lab(arguments: list[str]) -> bool:
    return bool(arguments) and arguments[0].replace("_", "-") in LAB


def _stopped(arguments: list[str]) -> str:
    """What is told where nothing else was."""
    if _is_lab(arguments):
        return "at once; the same command goes on: runs that are finished are kept"
    if arguments[:1] == ["train"]:
        return "at once; a run with a checkpoint goes on with `netwright train --resume`"
    return "at once; the same command begins again"


def optional_resume(arguments: list[str]) -> list[str]:
    """`train --resume` without a value means the newest run; click has no optional values."""
    if arguments[:1] != ["train"]:
        return arguments
    filled: list[str] = []
    for place, argument in enumerate(arguments):
        filled.append(argument)
        follows = arguments[place + 1] if place + 1 < len(arguments) else "-"
        if argument == "--resume" and follows.startswith("-"):
            filled.append("newest")
    return filled


def _told(message: str, code: int) -> int:
    head = "stopped" if code in (EXIT_INTERRUPTED, EXIT_TERMINATED) else "error"
    typer.echo(message if message.startswith(head) else f"{head}: {message}", err=True)
    return code


def _report_file() -> Path:
    """The traceback and what surrounds it, beside the user's work, or where that fails, in a temporary folder."""
    from netwright.records.store import masked  # brings SQLAlchemy along

    text = masked(f"{shlex.join(sys.argv)}\npython {sys.version}\n\n{traceback.format_exc()}")
    name = f"netwright-error-{time.strftime('%Y%m%d-%H%M%S')}.txt"
    for folder in (Path.cwd(), Path(tempfile.gettempdir())):
        try:
            (folder / name).write_text(text, "utf-8", "backslashreplace")
        except OSError:
            continue
        return folder / name
    return Path(name)
