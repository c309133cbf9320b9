"""Which view watches a run: live on a terminal, plain lines in a log, JSON for machines."""

import sys

from rich.console import Console

from autotune.cli.json_lines import JsonLines
from autotune.cli.live import LiveView
from autotune.cli.plain import PlainLines
from autotune.clock import Clock, MonotonicClock
from autotune.spec.study import StudySpec

View = LiveView | PlainLines | JsonLines


def make_view(spec: StudySpec, clock: Clock, *, json: bool, quiet: bool, simulated: bool) -> View:
    """The view of this run; a context manager and an observer.

    Args:
        spec: Whose objectives are shown.
        clock: The study's; a virtual one still draws on a real screen.
        json: One object per line instead.
        quiet: Only warnings and outcomes.
        simulated: Marks every screen.
    """
    if json:
        return JsonLines(sys.stdout)
    if quiet or not sys.stdout.isatty():
        return PlainLines(
            sys.stdout, clock=MonotonicClock(), objectives=spec.objectives, quiet=quiet
        )
    return LiveView(
        Console(highlight=False),
        clock=clock,
        objectives=spec.objectives,
        study=spec.name,
        simulated=simulated,
    )
