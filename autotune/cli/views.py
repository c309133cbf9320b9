"""Which view watches a run: live on a terminal, plain lines in a log, JSON for machines."""

import os
import sys
from collections.abc import Sequence

from rich.console import Console

from autotune.cli.json_lines import JsonLines
from autotune.cli.live import LiveView
from autotune.cli.lost_output import Lasting
from autotune.cli.plain import PlainLines
from autotune.clock import Clock, MonotonicClock
from autotune.records import TrialRecord
from autotune.spec.study import StudySpec

View = Lasting
"""What commands are given: whatever becomes of the output, it raises nothing into a trial."""


def make_view(
    spec: StudySpec,
    clock: Clock,
    *,
    json: bool,
    quiet: bool,
    simulated: bool,
    known: Sequence[TrialRecord] = (),
) -> View:
    """The view of this run; a context manager and an observer.

    An output that breaks off ends the run as Ctrl-C does.

    Args:
        spec: Whose objectives are shown.
        clock: The study's; a virtual one still draws on a real screen.
        json: One object per line instead.
        quiet: Only warnings, on stderr; the command prints its result.
        simulated: Marks every screen.
        known: Trials of earlier runs.
    """
    # In virtual time nothing waits, and all is as fast as it is drawn.
    beside = not clock.is_virtual
    if json:
        return Lasting(JsonLines(sys.stdout), beside=beside)
    console = Console(highlight=False)
    if quiet or not _may_draw(console):
        plain = PlainLines(
            sys.stderr if quiet else sys.stdout,
            clock=MonotonicClock(),
            objectives=spec.objectives,
            quiet=quiet,
            virtual=clock.is_virtual,
        )
        return Lasting(plain, beside=beside)
    live = LiveView(
        console,
        clock=clock,
        objectives=spec.objectives,
        study=spec.name,
        simulated=simulated,
        known=known,
    )
    return Lasting(live, beside=beside)


def _may_draw(console: Console) -> bool:
    """Whether stdout is a terminal that can, and ours: a job in the background has it not."""
    if not sys.stdout.isatty() or console.is_dumb_terminal:
        return False
    try:
        return os.tcgetpgrp(sys.stdout.fileno()) == os.getpgrp()
    except OSError:
        return False
