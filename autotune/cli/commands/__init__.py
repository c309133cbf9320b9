"""One module per command; here they get their names and are loaded when they are called.

Together the commands need every library of the program, several seconds of them, and each needs
a few. So a name stands here with what it does, and `load` imports the rest.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import typer
import typer.main
from typer.core import TyperGroup

from autotune.cli.interrupts import nothing_to_clean_up


@dataclass(frozen=True, kw_only=True)
class Command:
    """Where a command is written.

    Attributes:
        line: What it does, in the words of the README's table.
        module: Below `autotune.cli.commands`.
        function: Its name there.
    """

    line: str
    module: str
    function: str


def _command(line: str, module: str, function: str = "") -> Command:
    return Command(line=line, module=module, function=function or module)


COMMANDS: Final[dict[str, Command]] = {
    "study": _command(
        "Search, to a front and a recommendation; goes on with a study that stopped.", "study"
    ),
    "matrix": _command("Measure the fixed configurations with every test.", "matrix"),
    "plan": _command(
        "Show the engine at hand, the space that remains, predicted memory, expected duration.",
        "plan",
    ),
    "doctor": _command(
        "Check every prerequisite; each line says what follows and what mends it.", "doctor"
    ),
    "list": _command("List the studies under the current directory.", "listing", "list_studies"),
    "show": _command("Show a study, or one trial whole.", "results", "show"),
    "report": _command(
        "Write one page that answers what was found, why, and how sure it is.", "report"
    ),
    "dashboard": _command("Open optuna-dashboard on a study, running or done.", "dashboard"),
    "recommend": _command(
        "Choose again from what was measured, by another preference.", "results", "recommend"
    ),
    "export": _command("Write a trial as compose, .env, command, Kubernetes or systemd.", "export"),
    "verify": _command(
        "Start the exported files as they are and measure them beside the default.", "verify"
    ),
    "compare": _command("Two trials, or what two studies recommend, side by side.", "compare"),
    "probe": _command("Measure a server that is already running.", "probe"),
    "simulate": _command("Serve a simulated vLLM over HTTP, for trying things out.", "simulate"),
    "calibrate": _command(
        "Fit a simulated card to real trials, and say how far it is off on others.", "calibrate"
    ),
    "metrics": _command("List every metric: tag, unit, direction, formula.", "metrics"),
    "clean": _command("End what dead runs left; with --results remove a study's files.", "clean"),
}
"""In the order of their use, which is that of the README's table."""


class LazyGroup(TyperGroup):
    """Lists what stands in `COMMANDS`, and loads the one that is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that a line names, whole."""
        name, listed, rest = super().resolve_command(ctx, args)
        return name, listed if name is None else load(name), rest

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - typer's own
        """The list of `autotune --help`; lines that are too long are wrapped, not cut."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.line) for name, command in COMMANDS.items()])


def load(name: str) -> Any:
    """A command with its options; imports what it needs.

    Its type is that of typer's own copy of click, or of click, by typer's release.
    """
    command = COMMANDS[name]
    with nothing_to_clean_up():
        module = import_module(f"{__name__}.{command.module}")
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    settings = getattr(module, "CONTEXT", None)
    alone.command(name, context_settings=settings)(getattr(module, command.function))
    return typer.main.get_command(alone)


def register(app: typer.Typer) -> None:
    """Give every command its name and line; `app` must be a `LazyGroup`."""
    for name, command in COMMANDS.items():
        app.command(name, help=command.line)(_unloaded)


def _unloaded() -> None:
    raise AssertionError  # `LazyGroup` calls the loaded one
