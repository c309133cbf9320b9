"""The command `autotune`: parse, wire, exit code."""

import signal
import sys
from collections.abc import Sequence
from typing import Any

import typer
from rich.console import Console

from autotune.cli import commands
from autotune.errors import EXIT_INTERRUPTED, AutotuneError
from autotune.report.untrusted import one_line

_WRONG_COMMAND_LINE: type[Any] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)
"""Root of the command line's own errors; newer typer releases carry their own copy of click."""

app = typer.Typer(
    name="autotune",
    help="Find the best way to serve a language model on the machine you own.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
commands.register(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and exit; an error that is ours is one message, a hint and an exit code."""
    end_cleanly_on_signals()
    sys.exit(run(arguments))


def end_cleanly_on_signals() -> None:
    """`kill`, a service manager and a terminal that is closed end the program as Ctrl-C does.

    Python would die at once and leave a container with the GPU. What the caller ignores (nohup)
    stays ignored.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a script's `autotune ... &`
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda _number, _frame: signal.raise_signal(signal.SIGINT))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: Command line without the program's name; the process's own for None.

    Returns:
        The exit code: 0, that of an `AutotuneError`, 2 for a wrong command line, 130 after Ctrl-C.
    """
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        result = app(args=arguments, standalone_mode=False)
    except AutotuneError as error:
        errors.print(f"error: {one_line(error.message)}", markup=False)
        if error.hint:
            errors.print(f"hint: {one_line(error.hint)}", markup=False)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        result = EXIT_INTERRUPTED
    except _WRONG_COMMAND_LINE as error:
        error.show()
        return int(error.exit_code)
    if result == EXIT_INTERRUPTED:  # what typer makes of Ctrl-C
        errors.print("stopped; the same command goes on where it was", markup=False)
    return result if isinstance(result, int) else 0
