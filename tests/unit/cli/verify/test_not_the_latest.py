"""Whether files are of what would be recommended by now."""

from dataclasses import replace
from pathlib import Path

from autotune.cli.commands.verify import not_the_latest
from autotune.cli.stored import StoredStudy
from autotune.cli.verify.exported import ExportedFiles
from autotune.paths import StudyPaths
from autotune.records import Applied, Configuration, Scalar, TrialKind, TrialRecord
from autotune.spec.space import space_from
from autotune.spec.study import study_from
from autotune.store import Stored
from tests.support.records import record

SPEED = "output_tokens_per_s"
SPEC = study_from({"name": "sample", "objectives": [SPEED]}, where="test")


def trial(number: int, speed: float, **asked: Scalar) -> TrialRecord:
    """A trial of a model whose own length is 32768."""
    kind = TrialKind.SEARCH if number else TrialKind.BASELINE
    made = record(number, kind=kind, config=Configuration.of(asked), metrics={SPEED: speed})
    return replace(made, applied=Applied(settings={"max_model_len": 32768, **asked}))


def said(folder: Path, number: int, *records: TrialRecord) -> tuple[str, ...]:
    """Of files of a trial."""
    study = StoredStudy(
        spec=SPEC,
        space=space_from({"parameters": {"max_num_seqs": {"choices": [64, 128]}}}, where="test"),
        paths=StudyPaths(folder / "sample"),
        stored=Stored(records=records),
    )
    return not_the_latest(study, ExportedFiles(deployer="docker", start=folder, trial=number))


def test_files_of_what_was_asked_for_otherwise_and_ran_alike_are_the_latest(
    tmp_path: Path,
) -> None:
    """The model's own length makes no other server; trial 2 is what is recommended."""
    records = (
        trial(0, 700),
        trial(1, 1400, max_num_seqs=64, max_model_len=32768),
        trial(2, 1410, max_num_seqs=64),
    )
    assert said(tmp_path, 1, *records) == ()
    assert said(tmp_path, 2, *records) == ()


def test_files_of_what_is_recommended_no_more_are_told(tmp_path: Path) -> None:
    """A later trial is twice as fast."""
    records = (trial(0, 700), trial(1, 1400, max_num_seqs=64), trial(2, 2800, max_num_seqs=128))
    (text,) = said(tmp_path, 1, *records)
    assert "is of trial 1; trial 2 is recommended by now" in text
