"""`autotune clean`: end what dead runs left, and remove results that are no longer wanted."""

import shutil
from typing import Annotated

import typer

from autotune.cli.options import NameArgument
from autotune.cli.stored import paths_of_written
from autotune.clock import MonotonicClock
from autotune.deployers import DEPLOYERS
from autotune.errors import DockerUnavailableError, StoreError
from autotune.report.untrusted import one_line
from autotune.store import StudyLock


def clean(
    name: NameArgument = "default",
    *,
    results: Annotated[
        bool, typer.Option("--results", help="Also remove everything the study wrote.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """End containers and processes of dead runs of a study; with --results remove its files.

    Example: autotune clean default --results
    """
    paths = paths_of_written(name)
    with StudyLock(paths.lock):
        for line in _sweep(name):
            typer.echo(line)
        if not results:
            return
        if not yes and not typer.confirm(f"Remove {paths.root} and everything in it?"):
            raise typer.Abort
        try:
            shutil.rmtree(paths.root)
        except OSError as error:
            message = f"{error.filename} cannot be removed: {error.strerror}"
            raise StoreError(message, hint="Check its rights, and remove it by hand.") from error
    typer.echo(f"removed {paths.root}")


def _sweep(name: str) -> list[str]:
    ended: list[str] = []
    unseen: list[str] = []
    for make in DEPLOYERS.values():
        clock = MonotonicClock()
        try:
            ended += clock.run(make(clock).sweep(name))
        except DockerUnavailableError as error:  # none is installed, or one that does not answer
            unseen.append(f"containers were not looked for: {one_line(error.message)}")
    return [*(ended or ["nothing was found running"]), *unseen]
