"""The published records of real studies can be checked by anyone."""

import gzip
import json

import pytest

from autotune.engines.simulated.card import card_named
from autotune.engines.simulated.replay import replayed_metrics
from autotune.paths import StudyPaths
from autotune.records import OutcomeStatus
from autotune.store import TrialStore, read_stored_study
from benchmarks.gpu.error_tables import ACCOUNT, LATER_BEFORE
from benchmarks.gpu.page import filled
from benchmarks.gpu.publish import MACHINE_PATH
from benchmarks.gpu.published import DAYS, FIRST, SECOND, PublishedStudy, observed
from benchmarks.gpu.published import RESULTS as _RESULTS
from benchmarks.gpu.results_table import PAGE, TABLES

_TRIALS = {"hopper-1.5b": 8, "hopper-7b": 6, "small-card": 6, "small-card-study": 25}
_TRIALS |= {
    "second hopper-0.5b": 3,
    "second hopper-1.5b": 2,
    "second small-card-awq": 9,
    "second small-card-awq-20k": 6,
    "second machine hopper-1.5b": 3,
}
_STUDIES = [study for studies in DAYS.values() for study in studies]


def _name(study: PublishedStudy) -> str:
    return study.called


@pytest.mark.parametrize("study", _STUDIES, ids=_name)
def test_published_records_are_whole(study: PublishedStudy) -> None:
    """Every record has its checksum, is of real vLLM, and says on what it was measured."""
    stored = TrialStore(StudyPaths(study.folder), study.name).read_all()
    assert stored.damaged == ()
    assert [r.number for r in stored.records] == list(range(_TRIALS[study.called]))
    for record in stored.records:
        assert not record.simulated
        if record.outcome.status is OutcomeStatus.MEASURED:
            assert record.environment["gpu"] == "NVIDIA H100 80GB HBM3"
            assert record.environment["gpu_driver"] == "580.159.04"
            assert record.environment["engine_release"] == "0.26.0"


@pytest.mark.parametrize("study", _STUDIES, ids=_name)
def test_published_studies_name_models_that_are_described(study: PublishedStudy) -> None:
    """study.yaml reads back, and the shape of its model lies beside it or with the first day's."""
    spec, space = read_stored_study(StudyPaths(study.folder))
    assert spec.name == study.name
    assert space.parameters
    config = study.config()
    assert config["model_type"] == "qwen2"


def test_the_page_of_results_is_what_the_records_give() -> None:
    """Every table of docs/results/README.md is made anew and compared."""
    page = PAGE.read_text(encoding="utf-8")
    assert filled(page, TABLES) == page


def test_no_published_file_names_a_folder_of_the_machine() -> None:
    """Records, logs, telemetry and studies are free of its paths."""
    looked_at = 0
    for path in _RESULTS.rglob("*"):
        if not path.is_file():
            continue
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
        assert not MACHINE_PATH.search(text), path
        looked_at += 1
    assert looked_at > 50


def test_a_study_on_several_machines_knows_which_trial_ran_where() -> None:
    """Trials 0 to 7, 8 to 20 and 21 to 24 ran on one machine each, as the page says."""
    (study,) = SECOND
    assert [study.machine_of(number) for number in (0, 7, 8, 20, 21, 24)] == [0, 0, 1, 1, 2, 2]


def test_an_exported_script_is_replayed_as_the_command_that_it_runs() -> None:
    """Trials 22 and 24 started `serve.sh`; the server in it is that of their configuration."""
    commands = {record.number: o.replay.argv for record, o in observed(SECOND)}
    for number in (22, 24):
        assert "--kv-cache-dtype" in commands[number]
        assert "serve" in commands[number]


def test_what_was_said_before_is_of_records_that_were_measured_later() -> None:
    """The predictions name the state of the program, whose card was fitted to the day before."""
    content = json.loads(LATER_BEFORE.read_text(encoding="utf-8"))
    assert content["commit"] == "3668b9a"
    assert content["calibrated"] == "2026-11-24"
    measured = {str(record.number) for record, _ in observed(SECOND)}
    assert set(content["predictions"]["small-card-study"]) == measured


def test_a_calibrated_h100_is_the_one_that_these_records_gave() -> None:
    """The package's card carries the day, the release and the errors of the account."""
    account = json.loads(ACCOUNT.read_text(encoding="utf-8"))
    calibrated = card_named("h100").calibrated
    assert calibrated is not None
    assert (calibrated.date, calibrated.release) == ("2026-11-26", "0.26.0")
    assert calibrated.records == account["records"]
    for metric, error in calibrated.median_error.items():
        assert error == pytest.approx(account["cross_validated"]["median_error"][metric], rel=1e-3)


@pytest.mark.parametrize(
    "metric",
    ["output_tokens_per_s", "ttft_8k_ns", "ttft_16k_ns", "tpot_p50_ns", "itl_single_ns"],
)
def test_records_left_out_were_predicted_within_the_bounds(metric: str) -> None:
    """Configurations left out in turn: half within 10%; nine of ten within 20% on their machine."""
    left_out = json.loads(ACCOUNT.read_text(encoding="utf-8"))["cross_validated"]
    assert left_out["median_error"][metric] < 0.10
    assert left_out["on_its_machine"]["median_error"][metric] < 0.10
    assert left_out["on_its_machine"]["p90_error"][metric] < 0.20


def test_kv_tokens_of_records_left_out_were_exact() -> None:
    """To one in two thousand in nine of ten: a block or two of them."""
    left_out = json.loads(ACCOUNT.read_text(encoding="utf-8"))["cross_validated"]
    assert left_out["median_error"]["context_capacity_tokens"] == 0
    assert left_out["p90_error"]["context_capacity_tokens"] < 0.0005


def test_gaps_between_chunks_were_predicted_better_than_by_other_repeats() -> None:
    """At the median: a server's repeats scatter by a factor of two, and no bound of 10% holds."""
    account = json.loads(ACCOUNT.read_text(encoding="utf-8"))
    said, repeats = account["cross_validated"], account["repeats"]
    assert said["median_error"]["itl_p50_ns"] < repeats["median_error"]["itl_p50_ns"]


def test_the_card_still_says_of_the_records_what_the_account_says() -> None:
    """Replayed by today's code, one record of each model is predicted as well as then."""
    replayed = 0
    for study in FIRST:
        for record, observation in study.observed():
            if record.label == "base":
                predicted = replayed_metrics(card_named("h100"), observation.replay, study.figures)
                for metric in ("output_tokens_per_s", "ttft_8k_ns", "tpot_p50_ns"):
                    assert predicted[metric] == pytest.approx(record.metrics[metric], rel=0.15)
                replayed += 1
    assert replayed == 2
