"""`autotune dashboard`: optuna-dashboard on a study, running or done."""

from typing import Annotated

import typer

from autotune.cli.options import NameArgument
from autotune.cli.stored import stored_study
from autotune.errors import StoreError, UsageError
from autotune.report.dashboard_pages import dashboard_pages
from autotune.seams.deployment import LOOPBACK
from autotune.study.dashboard import dashboard_app
from autotune.study.dashboard_server import serve


def dashboard(
    name: NameArgument = "default",
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: a free one.")] = 8080,
    *,
    write: Annotated[
        bool, typer.Option("--write", help="Let the page change and delete; loopback only.")
    ] = False,
) -> None:
    """Open optuna-dashboard on a study until Ctrl-C; it only reads, and works while it runs.

    Example: autotune dashboard default --port 8080
    """
    study = stored_study(name)
    if study.is_matrix:
        message = f"{name!r} is a matrix: no search, and so no database of Optuna's to show"
        raise UsageError(message, hint=f"`autotune report {name}` shows its cells.")
    if study.records and not study.paths.database.is_file():
        message = f"there is no database at {study.paths.database}: it did not come with the trials"
        hint = f"`autotune report {name}` needs none; `autotune study` makes it when it goes on."
        raise StoreError(message, hint=hint)
    app = dashboard_app(
        study.paths,
        dashboard_pages(study.paths, study.spec),
        write=write,
        hosts=LOOPBACK if host in LOOPBACK else None,
    )

    def ready(url: str) -> None:
        typer.echo(f"{url} shows study {name!r}; Ctrl-C ends it")

    serve(app, host=host, port=port, write=write, ready=ready)
