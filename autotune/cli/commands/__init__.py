"""One module per command; here they get their names."""

import typer

from autotune.cli.commands.calibrate import calibrate
from autotune.cli.commands.clean import clean
from autotune.cli.commands.compare import compare
from autotune.cli.commands.dashboard import dashboard
from autotune.cli.commands.doctor import doctor
from autotune.cli.commands.export import export
from autotune.cli.commands.matrix import matrix
from autotune.cli.commands.metrics import metrics
from autotune.cli.commands.plan import plan
from autotune.cli.commands.probe import probe
from autotune.cli.commands.report import report
from autotune.cli.commands.results import list_studies, recommend, show
from autotune.cli.commands.simulate import CONTEXT, simulate
from autotune.cli.commands.study import study
from autotune.cli.commands.verify import verify


def register(app: typer.Typer) -> None:
    """Give every command its name, in the order of their use."""
    app.command("study")(study)
    app.command("matrix")(matrix)
    app.command("plan")(plan)
    app.command("doctor")(doctor)
    app.command("list")(list_studies)
    app.command("show")(show)
    app.command("report")(report)
    app.command("dashboard")(dashboard)
    app.command("recommend")(recommend)
    app.command("export")(export)
    app.command("verify")(verify)
    app.command("compare")(compare)
    app.command("probe")(probe)
    app.command("simulate", context_settings=CONTEXT)(simulate)
    app.command("calibrate")(calibrate)
    app.command("metrics")(metrics)
    app.command("clean")(clean)
