"""What ran alike is one configuration, whatever was asked for."""

from dataclasses import replace

from autotune.analysis.alike import told_once
from autotune.analysis.comparable import comparable
from autotune.analysis.front import front_numbers
from autotune.analysis.recommend import recommend
from autotune.analysis.renamed import asked_for
from autotune.records import (
    Applied,
    Configuration,
    Failure,
    FailureKind,
    Outcome,
    OutcomeStatus,
    Scalar,
    TrialKind,
    TrialRecord,
)
from autotune.spec.study import study_from
from tests.support.records import record

SPEC = study_from({"name": "sample"}, where="test")
OWN: dict[str, Scalar] = {"max_model_len": 32768, "max_num_seqs": 256}
BASELINE = Configuration()


def trial(
    number: int,
    speed: float = 700.0,
    kind: TrialKind = TrialKind.SEARCH,
    read: dict[str, Scalar] | None = None,
    **asked: Scalar,
) -> TrialRecord:
    """A trial whose server read back its own values, but for what was asked for."""
    made = record(
        number,
        kind=kind,
        config=Configuration.of(asked),
        metrics={
            "output_tokens_per_s": speed,
            "ttft_8k_ns": 2.5e9,
            "context_capacity_tokens": 70_000,
        },
    )
    return replace(made, applied=Applied(settings={**OWN, **asked, **(read or {})}))


def names(*records: TrialRecord) -> list[dict[str, Scalar]]:
    """Of the configurations, after."""
    return [r.configuration.values for r in told_once(records)]


def test_a_setting_that_the_server_has_anyway_makes_no_other_configuration() -> None:
    """The shorter one gives the name."""
    longer = trial(0, max_num_seqs=64, max_model_len=32768)
    assert names(longer, trial(1, max_num_seqs=64)) == [{"max_num_seqs": 64}] * 2


def test_what_is_alike_as_asked_and_ran_otherwise_stays_apart() -> None:
    """What a server takes for a setting left to it may hang on the others."""
    left = trial(0, max_num_seqs=64, read={"max_model_len": 16384})
    asked = trial(1, max_num_seqs=64, max_model_len=32768)
    assert names(left, asked) == [left.configuration.values, asked.configuration.values]


def test_what_no_server_read_back_keeps_its_name() -> None:
    """It did not start: nothing says what it would have run with."""
    unread = replace(trial(0, max_num_seqs=64, max_model_len=32768), applied=None)
    assert names(unread, trial(1, max_num_seqs=64))[0] == unread.configuration.values


def test_cells_of_a_matrix_are_looked_at_by_themselves() -> None:
    """They were asked for one by one."""
    cell = trial(0, kind=TrialKind.MATRIX, max_model_len=32768)
    assert names(cell, trial(1, kind=TrialKind.MATRIX))[0] == {"max_model_len": 32768}


def test_the_baseline_keeps_its_own_name() -> None:
    """A study that sets its baseline's length compares with that."""
    baseline = trial(0, kind=TrialKind.BASELINE, max_model_len=32768)
    assert names(baseline, trial(1)) == [{"max_model_len": 32768}] * 2


def test_a_lucky_trial_of_what_was_proved_is_not_on_the_front() -> None:
    """The proofs' mean of 700 and 702 is beaten by 705 in all; the search's 750 was luck."""
    records = [
        trial(0, kind=TrialKind.BASELINE, speed=690),
        trial(1, speed=750, max_num_seqs=64, max_model_len=32768),
        trial(2, speed=705, max_num_seqs=128),
        trial(3, kind=TrialKind.FINALIST, speed=700, max_num_seqs=64),
        trial(4, kind=TrialKind.FINALIST, speed=702, max_num_seqs=64),
    ]
    assert front_numbers(comparable(records, SPEC.objectives), SPEC.objectives) == (2,)


def test_a_sampler_learns_what_was_asked_for() -> None:
    """It proposes values, not names."""
    records = [trial(0, max_num_seqs=64), trial(1, max_num_seqs=64, max_model_len=32768)]
    learnt = comparable(records, SPEC.objectives, towards="first")
    assert [r.configuration for r in learnt] == [r.configuration for r in records]


def test_what_stands_for_a_group_was_asked_for_by_its_name() -> None:
    """Files are written from what the trial was started with; the longer one came last."""
    records = [
        trial(0, kind=TrialKind.BASELINE, speed=690),
        trial(1, speed=1400, max_num_seqs=64),
        trial(2, speed=1410, max_num_seqs=64, max_model_len=32768),
    ]
    found = recommend(comparable(records, SPEC.objectives), SPEC)
    assert found.record.number == 1
    assert found.front == (1,)


def test_a_default_that_is_kept_is_the_one_without_flags() -> None:
    """The search asked for what the server has anyway, and last."""
    records = [trial(0, kind=TrialKind.BASELINE), trial(1, max_model_len=32768)]
    found = recommend(comparable(records, SPEC.objectives), SPEC)
    assert found.keep_default
    assert found.record.number == 0


def test_proofs_of_the_longer_one_are_stood_for_by_the_shorter_one() -> None:
    """The finalists were deployed before the shorter one was asked for."""
    longer: dict[str, Scalar] = {"max_num_seqs": 64, "max_model_len": 32768}
    records = [
        trial(0, kind=TrialKind.BASELINE, speed=690),
        trial(1, speed=1400, **longer),
        *(trial(n, kind=TrialKind.FINALIST, speed=1400 + n, **longer) for n in (2, 3)),
        *(trial(n, kind=TrialKind.FINALIST, speed=690 + n) for n in (4, 5)),
        trial(6, speed=1400, max_num_seqs=64),
    ]
    found = recommend(comparable(records, SPEC.objectives), SPEC)
    assert found.proved
    assert found.record.number == 6


def test_the_name_is_of_what_kept_the_limits() -> None:
    """The shorter one died: there is nothing of it to export."""
    died = Failure(kind=FailureKind.DIED_UNDER_LOAD, phase="probe:throughput", message="it died")
    short = replace(
        trial(0, max_num_seqs=64), outcome=Outcome(status=OutcomeStatus.INFEASIBLE, failure=died)
    )
    longer = trial(1, max_num_seqs=64, max_model_len=32768)
    assert names(short, longer) == [longer.configuration.values] * 2


def test_naming_twice_changes_nothing_more() -> None:
    """What was renamed stays marked."""
    once = told_once([trial(0, max_num_seqs=64), trial(1, max_num_seqs=64, max_model_len=32768)])
    assert told_once(once) == once
    assert asked_for(once[1]) == Configuration.of({"max_num_seqs": 64, "max_model_len": 32768})
