"""The program behind the command: parse, run one command, exit code."""

import io
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer

from autotune import __version__
from autotune.cli import commands
from autotune.cli.lost_output import LOST, let_go, output_lost
from autotune.errors import EXIT_INTERRUPTED, AutotuneError
from autotune.report.untrusted import one_line
from autotune.spec.secret_values import hidden

_WRONG_COMMAND_LINE: type[Any] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)
"""Root of the command line's own errors; newer typer releases carry their own copy of click."""

app = typer.Typer(
    name="autotune",
    cls=commands.LazyGroup,
    help="Find the best way to serve a language model on the machine you own.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
commands.register(app)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"autotune {__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", is_eager=True, callback=_say_version, help="Show the version."
        ),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: Command line without the program's name; the process's own for None.

    Returns:
        The exit code: 0, that of an `AutotuneError`, 2 for a wrong command line, 130 after Ctrl-C.
    """
    _write_what_can_be_written()
    for_machines = "--json" in (sys.argv[1:] if arguments is None else arguments)
    try:
        result = app(args=arguments, standalone_mode=False)
    except AutotuneError as error:
        return _failed(error, for_machines=for_machines)
    except OSError as error:
        if error.errno not in LOST or error.filename is not None:
            raise
        return _failed(output_lost(error), for_machines=False)
    except (KeyboardInterrupt, typer.Abort):
        result = EXIT_INTERRUPTED
    except _WRONG_COMMAND_LINE as error:
        error.show()
        if for_machines:
            typer.echo(_error_line("UsageError", error.format_message(), "", int(error.exit_code)))
        return int(error.exit_code)
    return result if isinstance(result, int) else 0


def _write_what_can_be_written() -> None:
    """A terminal or a log of another encoding gets a question mark for what it cannot show.

    Else a tick in a table would end a study that runs over a weekend.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")


def _failed(error: AutotuneError, *, for_machines: bool) -> int:
    """Tell an error, where there is still somebody to tell; its exit code.

    Args:
        error: Told on stderr.
        for_machines: Whether the last line of stdout tells it to a machine, too.
    """
    message, hint = hidden(one_line(error.message)), hidden(one_line(error.hint))
    with suppress(OSError):
        _say(f"error: {message}")
        if hint:
            _say(f"hint: {hint}")
    with suppress(OSError):
        if for_machines:
            typer.echo(_error_line(type(error).__name__, message, hint, error.exit_code))
    let_go(sys.stdout)
    let_go(sys.stderr)
    return error.exit_code


def _error_line(kind: str, message: str, hint: str, exit_code: int) -> str:
    """One JSON object, event "error", as `--json` has it."""
    return json.dumps(
        {"event": "error", "kind": kind, "message": message, "hint": hint, "exit_code": exit_code}
    )


def _say(text: str) -> None:
    typer.echo(text, err=True)
