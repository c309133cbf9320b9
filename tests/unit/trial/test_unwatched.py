"""No trial goes on without its watchdog."""

from dataclasses import replace
from pathlib import Path

from autotune.records import FailureKind
from autotune.seams.events import Event, TelemetrySeen
from autotune.trial.lifecycle import Trials
from tests.support.fakes import FakeProbe, Script
from tests.unit.trial.test_lifecycle import GIB, Bench, bench, failure_of


def watched_by(b: Bench, observer: type[Exception], after: int) -> Bench:
    """The same runner with a view that fails at one of its looks at the machine."""
    seen = 0

    def view(event: Event) -> None:
        nonlocal seen
        seen += isinstance(event, TelemetrySeen)
        if seen == after and isinstance(event, TelemetrySeen):
            raise observer

    runner = b.runner
    tools = replace(runner._tools, observer=view)
    b.runner = Trials(runner._spec, runner._paths, tools, owner=(1, "x"))
    return b


def test_a_view_that_fails_ends_the_trial_at_once(tmp_path: Path) -> None:
    """Samples are taken no more, so nobody would see that memory runs out."""
    probes = (FakeProbe("ttft", takes_s=90), FakeProbe("long_context"))
    b = watched_by(bench(tmp_path, probes=probes), LookupError, after=40)

    record = b.run()

    assert failure_of(record).kind is FailureKind.AUTOTUNE_FAULT
    assert "LookupError" in failure_of(record).message
    assert sum(p.duration_ns for p in record.phases) / 1e9 < 30
    assert b.deployer.running == 0


def test_memory_is_judged_before_a_view_is_told(tmp_path: Path) -> None:
    """The sample that breaks the bound is the one at which the view fails."""
    script = Script(memory=lambda s: (90.0 if s > 12 else 20.0) * GIB)
    probes = (FakeProbe("ttft", takes_s=60), FakeProbe("long_context"))
    interval_s = 0.5
    b = watched_by(bench(tmp_path, script, probes), LookupError, after=int(12 / interval_s) + 2)

    record = b.run()

    assert failure_of(record).kind is FailureKind.MEMORY_LIMIT
