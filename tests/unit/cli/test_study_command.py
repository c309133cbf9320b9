"""`autotune study` on a study that was run before."""

import io
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.cli.commands.study import run
from autotune.cli.options import load_study
from autotune.cli.plain import PlainLines
from autotune.cli.running import open_study
from autotune.records import (
    Configuration,
    Outcome,
    OutcomeStatus,
    ProbeResult,
    ProbeStatus,
    TrialKind,
    TrialRecord,
)
from autotune.seams.telemetry import Hardware
from autotune.store import TrialStore

BASELINE = TrialRecord(
    study="default",
    number=0,
    kind=TrialKind.BASELINE,
    configuration=Configuration(),
    outcome=Outcome(status=OutcomeStatus.MEASURED),
    probes=(ProbeResult(probe="ttft", status=ProbeStatus.MEASURED),),
    simulated=True,
)


def test_the_memory_model_learns_again_what_earlier_trials_taught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a study that goes on would start what it knew to be too large."""
    monkeypatch.chdir(tmp_path)
    spec = load_study("default", {"engine.name": "simulated", "budget.trials": 1})
    workbench = open_study(spec, hardware=Hardware()).workbench
    other = replace(BASELINE, number=1, kind=TrialKind.VERIFY)
    for record in (BASELINE, other):
        TrialStore(workbench.paths, spec.name).append(record)
    learnt: list[TrialRecord] = []
    monkeypatch.setattr(workbench.backend.engine, "learn", learnt.append)

    end = run(workbench, PlainLines(io.StringIO()))

    assert learnt == [BASELINE, other]
    assert end.records == (BASELINE, other)
