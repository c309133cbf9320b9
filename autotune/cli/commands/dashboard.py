"""`autotune dashboard`: optuna-dashboard on a study, running or done."""

from typing import Annotated

import typer

from autotune.cli.options import NameArgument
from autotune.cli.stored import stored_study
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
    app = dashboard_app(
        study.paths,
        dashboard_pages(study.paths, study.spec),
        write=write,
        hosts=LOOPBACK if host in LOOPBACK else None,
    )

    def ready(url: str) -> None:
        typer.echo(f"{url} shows study {name!r}; Ctrl-C ends it")

    serve(app, host=host, port=port, write=write, ready=ready)
