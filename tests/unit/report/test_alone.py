"""A study in which nothing but the default could run says so."""

from dataclasses import replace

from autotune.records import (
    Configuration,
    Failure,
    FailureKind,
    Outcome,
    OutcomeStatus,
    TrialKind,
    TrialRecord,
)
from autotune.report.alone import nothing_else_ran
from autotune.report.findings import findings_of
from autotune.report.inputs import cautions
from autotune.report.verdict import verdict
from autotune.spec.study import StudySpec
from tests.support.records import record

SHARE = "gpu_memory_utilization"
TOO_MUCH = "it takes 10.99 GiB of the GPU at least, and headroom leaves 10.94"


def screened(number: int, message: str = TOO_MUCH, margin_gib: float = -0.05) -> TrialRecord:
    """A proposal that was not started."""
    failure = Failure(
        kind=FailureKind.WOULD_NOT_FIT, phase="screening", message=message, margin_gib=margin_gib
    )
    config = Configuration.of({"max_num_seqs": number})
    made = record(number, config=config, metrics={})
    outcome = Outcome(status=OutcomeStatus.SCREENED, failure=failure)
    return replace(made, outcome=outcome, probes=())


def text_of(*others: TrialRecord) -> str:
    """What is said of a default that ran, and these."""
    default = record(0, kind=TrialKind.BASELINE, config=Configuration())
    return nothing_else_ran(findings_of(StudySpec(name="s"), [default, *others]))


def test_the_nearest_one_is_named_with_what_it_was_short_of() -> None:
    """And what gives room on the GPU."""
    text = text_of(screened(4, margin_gib=-0.3), screened(5, margin_gib=-0.05))
    assert "nothing but the default could run" in text
    assert "of 2 trials of anything else none did" in text
    assert "would not fit: 2" in text
    assert "trial 5, was 0.05 GiB short" in text
    assert "gpu_memory_utilization" in text
    assert "headroom.gpu_gib" in text


def test_what_lacks_host_memory_gets_another_hint() -> None:
    """Less offload, not less of the card."""
    text = text_of(screened(4, "90.0 GiB of host memory are needed and there are 85.0", -5.0))
    assert "kv_offload_gib" in text
    assert "gpu_memory_utilization" not in text


def test_nothing_is_said_where_something_else_ran() -> None:
    """Or where nothing else was tried."""
    assert not text_of(screened(4), record(5, config=Configuration.of({"max_num_seqs": 9})))
    assert not text_of()


def test_steps_down_from_the_default_are_no_other_configurations() -> None:
    """They are the default, looking for room."""
    over = Failure(kind=FailureKind.MEMORY_LIMIT, phase="warming_up", message="GPU memory over",
                   margin_gib=-0.1)  # fmt: skip
    lowered = Configuration.of({SHARE: 0.9})
    step = record(1, kind=TrialKind.REPAIR, config=lowered, failure=over)
    default = record(0, kind=TrialKind.BASELINE, config=Configuration(), failure=over)
    fits = record(2, kind=TrialKind.REPAIR, config=Configuration.of({SHARE: 0.89}))
    spec = StudySpec(name="s")
    assert not nothing_else_ran(findings_of(spec, [default, step, fits]))
    assert nothing_else_ran(findings_of(spec, [default, step, fits, screened(4)]))


def test_it_is_one_of_the_warnings() -> None:
    """Wherever an answer is shown; and the verdict does not say that nothing was better."""
    default = record(0, kind=TrialKind.BASELINE, config=Configuration())
    spec = StudySpec(name="s")
    assert cautions(findings_of(spec, [default])) == ()
    alone = findings_of(spec, [default, screened(4)])
    assert len(cautions(alone)) == 1
    assert "nothing else could run" in verdict(alone)[0]
