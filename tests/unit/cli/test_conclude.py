"""From a trial on disk to the service that is exported."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from autotune.cli.conclude import conclude, service_of
from autotune.errors import NothingFeasibleError, StoreError, UsageError
from autotune.paths import StudyPaths
from autotune.records import (
    Configuration,
    Failure,
    FailureKind,
    Outcome,
    OutcomeStatus,
    TrialKind,
    TrialRecord,
)
from autotune.seams.deployment import LaunchPlan
from autotune.spec.study import StudySpec
from tests.support.launches import DOCKER

RECORD = TrialRecord(
    study="s",
    number=3,
    kind=TrialKind.SEARCH,
    configuration=Configuration(),
    outcome=Outcome(status=OutcomeStatus.MEASURED),
)
NEVER_STARTED = Outcome(
    status=OutcomeStatus.SCREENED,
    failure=Failure(kind=FailureKind.WOULD_NOT_FIT, phase="screening", message="too much"),
)


def test_a_trial_that_was_never_started_cannot_be_exported(tmp_path: Path) -> None:
    """The message says so, and where the others are."""
    record = replace(RECORD, outcome=NEVER_STARTED)
    with pytest.raises(UsageError, match="trial 3 was never started") as caught:
        service_of(StudySpec(), StudyPaths(tmp_path / "s"), record)
    assert "autotune show s" in caught.value.hint


@pytest.mark.parametrize("text", [None, "{}", "no JSON"])
def test_a_launch_that_is_lost_or_damaged_is_named(tmp_path: Path, text: str | None) -> None:
    """Whatever has become of the file, the message names it."""
    paths = StudyPaths(tmp_path / "s")
    if text is not None:
        paths.trial(3).root.mkdir(parents=True)
        paths.trial(3).launch.write_text(text)
    with pytest.raises(StoreError, match=r"launch\.json cannot be read"):
        service_of(StudySpec(), paths, RECORD)


def test_a_trial_becomes_the_service_that_it_was(tmp_path: Path) -> None:
    """Its own image, out of its own folder."""
    paths = StudyPaths(tmp_path / "s")
    paths.trial(3).root.mkdir(parents=True)
    paths.trial(3).launch.write_bytes(TypeAdapter(LaunchPlan).dump_json(DOCKER))
    assert service_of(StudySpec(), paths, RECORD).image == DOCKER.image


def test_a_matrix_is_compared_and_recommends_nothing(tmp_path: Path) -> None:
    """Its cells are measured whole even where they break a limit."""
    cell = replace(RECORD, kind=TrialKind.MATRIX, metrics={"output_tokens_per_s": 9.0})
    spec = StudySpec(name="s")

    summary = conclude(spec, StudyPaths(tmp_path), [cell])

    assert summary.recommendation is None
    with pytest.raises(NothingFeasibleError) as caught:
        summary.require_feasible()
    assert "matrix" in caught.value.message


def test_a_verdict_outlives_the_files_that_it_would_be_exported_from(tmp_path: Path) -> None:
    """Somebody removed launch.json: the recommendation stands, and says that it has no files."""
    best = replace(RECORD, metrics={"output_tokens_per_s": 9.0, "ttft_8k_ns": 1e9,
                                    "context_capacity_tokens": 9.0})  # fmt: skip
    spec = StudySpec(name="s")

    summary = conclude(spec, StudyPaths(tmp_path / "s"), [best])

    summary.require_feasible()
    assert summary.recommendation is not None
    assert summary.recommendation.record.number == 3
    assert summary.written is None
    assert "no files" in summary.warnings[-1]
    assert "launch.json" in summary.warnings[-1]
