"""`autotune study` on a study that was run before."""

import io
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.cli import main
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
from autotune.store import TrialStore, read_stored_study, write_study
from autotune.study.loop import StudyEnd

OBJECTIVES = ("output_tokens_per_s", "ttft_8k_ns", "context_capacity_tokens")
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


def test_a_study_ends_with_the_words_that_are_read_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last screen knows the rules of the space that is left, as `recommend` does."""
    monkeypatch.chdir(tmp_path)
    spec = load_study("rtx5070", {"engine.name": "simulated", "budget.trials": 14})
    workbench = open_study(spec, hardware=Hardware()).workbench
    write_study(workbench.paths, workbench.spec, workbench.space.space)
    assert workbench.resolved.space == read_stored_study(workbench.paths)[0].space
    started = replace(BASELINE, metrics=dict.fromkeys(OBJECTIVES, 1.0))
    safe = Configuration.of({"attention_backend": "TRITON_ATTN", "kv_cache_dtype": "fp8"})
    better = replace(
        started,
        number=1,
        kind=TrialKind.SEARCH,
        configuration=safe,
        metrics={"output_tokens_per_s": 2.0, "ttft_8k_ns": 0.5, "context_capacity_tokens": 2.0},
    )
    end = StudyEnd(records=(started, better), reason="done")
    monkeypatch.setattr("autotune.cli.commands.study.run", lambda *_: end)
    assert main.run(["study", "rtx5070", "--engine", "simulated"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "without it: attention_backend=default with kv_cache_dtype=fp8: FLASHINFER" in (
        told.replace("Without", "without")
    )
