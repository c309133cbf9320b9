"""The proof beside the files."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.cli.verify.proof import (
    as_markdown,
    notes,
    require_agreement,
    sentence,
    tables,
    write_proof,
)
from autotune.cli.verify.rounds import DEFAULT, EXPORTED
from autotune.cli.verify.verdict import Verification, judge
from autotune.errors import ProbeError
from autotune.records import (
    Applied,
    Configuration,
    Failure,
    FailureKind,
    Outcome,
    OutcomeStatus,
    TrialKind,
    TrialRecord,
)
from autotune.report.quantities import TIMES
from autotune.report.table import to_markdown
from autotune.spec.study import study_from

SPEC = study_from({"name": "s", "objectives": ["output_tokens_per_s", "ttft_8k_ns"]}, where="test")
PLAIN, TUNED = Configuration(), Configuration.of({"max_num_seqs": 64})


def trial(
    number: int, speed: float, configuration: Configuration, label: str = "", *, simulated: bool
) -> TrialRecord:
    """A trial whose TTFT at 8K is 1.5 s."""
    return TrialRecord(
        study="s",
        number=number,
        kind=TrialKind.VERIFY if label else TrialKind.SEARCH,
        label=label,
        configuration=configuration,
        outcome=Outcome(status=OutcomeStatus.MEASURED),
        metrics={"output_tokens_per_s": speed, "ttft_8k_ns": 1.5e9},
        applied=Applied(unverified=("max_num_seqs",)) if label == EXPORTED else None,
        simulated=simulated,
        environment={"engine_release": "0.33.0", "gpu": "a | card"},
    )


def found(
    *, default: float = 100.0, exported: float = 140.0, simulated: bool = False
) -> Verification:
    """A verification of one round; the study saw 100 and 140."""
    base = replace(trial(0, 100.0, PLAIN, simulated=simulated), kind=TrialKind.BASELINE)
    study = (base, trial(1, 140.0, TUNED, simulated=simulated))
    made = (
        trial(2, default, PLAIN, DEFAULT, simulated=simulated),
        trial(3, exported, TUNED, EXPORTED, simulated=simulated),
    )
    return judge(study, made, study[1], PLAIN, SPEC)


def test_agreement_in_words() -> None:
    """One sentence, and no error."""
    assert sentence(found()) == (
        "The exported files start and measure as the study did, within the noise."
    )
    require_agreement("s", found(), Path("proof"))


def test_a_moved_machine_in_words() -> None:
    """The ratio stands, and the sentence names what moved."""
    assert "the machine itself moved: Output throughput" in sentence(
        found(default=50.0, exported=70.0)
    )


def test_a_difference_in_words_and_as_an_exit_code() -> None:
    """Code 13, naming the objective, the proof, and what writes the files again."""
    with pytest.raises(ProbeError, match="Output throughput differs beyond the noise") as caught:
        require_agreement("s", found(exported=100.0), Path("proof.md"))
    assert caught.value.exit_code == 13
    assert "proof.md" in caught.value.hint
    assert "autotune export s" in caught.value.hint


def test_files_that_fail_in_words() -> None:
    """The engine's failure is named, and where its log is."""
    failure = Failure(kind=FailureKind.GPU_OOM, phase="starting", message="out of memory")
    failed = replace(found(), failure=failure)
    assert "gpu_oom (out of memory)" in sentence(failed)
    with pytest.raises(ProbeError) as caught:
        require_agreement("s", failed, Path("proof.md"))
    assert "`autotune show s --trial 3`" in caught.value.hint


def test_a_broken_limit_in_words() -> None:
    """With value and bound among the notes."""
    broken = replace(found(), broken=(("ttft_8k_ns", 3e9, 2e9),))
    assert "break a limit of the study: TTFT at 8K" in sentence(broken)
    assert any("3.00 s, limit 2.00 s" in note for note in notes(broken))


def test_what_the_server_does_not_tell_is_said() -> None:
    """A setting that was not read back is not called proved."""
    assert any("max_num_seqs" in note for note in notes(found()))


def test_both_comparisons_are_drawn() -> None:
    """Against the default with the ratio, against the study with the verdict."""
    default, study, trials = map(to_markdown, tables(found()))
    assert f"| Output throughput | **140 tok/s** | 100 tok/s | 1.400{TIMES} |" in default
    assert "| Output throughput | **140 tok/s** | 140 tok/s | +0.0% |" in study
    assert study.count("agrees |") == 2
    assert "| 2 | verify: default | 100 tok/s | 1.50 s | measured |" in trials


def test_both_files_are_written_and_say_what_was_deployed(tmp_path: Path) -> None:
    """Digests of the files are in both, raw values in the one for machines."""
    written = write_proof(tmp_path, "s", found(), {".env": "ab" * 32})
    assert [path.name for path in written] == ["verification.md", "verification.json"]
    text = written[0].read_text()
    assert "SIMULATED" not in text
    assert f"`.env`, SHA-256 `{'ab' * 32}`" in text
    assert "a \\| card" in text
    values = json.loads(written[1].read_text())
    assert values["agrees"] is True
    assert values["files"] == {".env": "ab" * 32}
    speed, ttft = values["objectives"]
    assert (speed["exported"], speed["default"], speed["study"]) == (140.0, 100.0, 140.0)
    assert speed["gain"][0] == pytest.approx(1.4)
    assert ttft["exported"] == 1.5e9
    assert [t["number"] for t in values["trials"]] == [2, 3]


def test_a_simulated_proof_says_so_in_its_names_and_in_its_text(tmp_path: Path) -> None:
    """In the heading, in a line of its own, and in every table."""
    made = found(simulated=True)
    written = write_proof(tmp_path, "s", made, {})
    assert [path.name for path in written] == [
        "verification.SIMULATED.md", "verification.SIMULATED.json",
    ]  # fmt: skip
    assert as_markdown("s", made, {}).count("SIMULATED") == 5
    assert json.loads(written[1].read_text())["simulated"] is True
