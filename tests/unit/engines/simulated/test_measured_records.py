"""The published records of real studies can be checked by anyone."""

import json
from pathlib import Path

import pytest

from autotune.paths import StudyPaths
from autotune.records import OutcomeStatus
from autotune.store import TrialStore, read_stored_study

_RESULTS = Path(__file__).resolve().parents[4] / "docs" / "results" / "2026-11-h100"
_TRIALS = {"hopper-1.5b": 8, "hopper-7b": 6, "small-card": 6}


@pytest.mark.parametrize("study", sorted(_TRIALS))
def test_published_records_are_whole(study: str) -> None:
    """Every record has its checksum, is of real vLLM, and says on what it was measured."""
    stored = TrialStore(StudyPaths(_RESULTS / study), study).read_all()
    assert stored.damaged == ()
    assert [r.number for r in stored.records] == list(range(_TRIALS[study]))
    for record in stored.records:
        assert not record.simulated
        if record.outcome.status is OutcomeStatus.MEASURED:
            assert record.environment["gpu"] == "NVIDIA H100 80GB HBM3"
            assert record.environment["gpu_driver"] == "580.159.04"
            assert record.environment["engine_release"] == "0.26.0"


@pytest.mark.parametrize("study", sorted(_TRIALS))
def test_published_studies_name_models_that_are_described(study: str) -> None:
    """study.yaml reads back, and the shape of its model lies beside it."""
    spec, space = read_stored_study(StudyPaths(_RESULTS / study))
    assert spec.name == study
    assert space.parameters
    config = json.loads((_RESULTS / spec.model / "config.json").read_text(encoding="utf-8"))
    assert config["model_type"] == "qwen2"
