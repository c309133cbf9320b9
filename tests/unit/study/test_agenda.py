"""What is due before the search goes on."""

from dataclasses import replace

from autotune.records import (
    Configuration,
    Failure,
    FailureKind,
    Outcome,
    OutcomeStatus,
    ProbeResult,
    ProbeStatus,
    TrialKind,
    TrialRecord,
)
from autotune.study.agenda import KILLED, Planned, counts, next_planned

BASE = Configuration()
ONE = Configuration.of({"a": 1})
TWO = Configuration.of({"a": 2})
BASELINE = Planned(configuration=BASE, kind=TrialKind.BASELINE)
SEEDS = (Planned(configuration=ONE, kind=TrialKind.SEED),)


def ended(
    number: int,
    kind: TrialKind,
    configuration: Configuration = BASE,
    failure: FailureKind | None = None,
    *,
    status: OutcomeStatus | None = None,
    repair: dict[str, int] | None = None,
) -> TrialRecord:
    """A record; failed if a failure is given and no status."""
    made = None
    if failure is not None:
        made = Failure(kind=failure, phase="starting", message="words", repair=repair or {})
    if status is None:
        status = OutcomeStatus.MEASURED if failure is None else OutcomeStatus.FAILED
    return TrialRecord(
        study="s",
        number=number,
        kind=kind,
        configuration=configuration,
        outcome=Outcome(status=status, failure=made),
    )


def due(*records: TrialRecord, retries: int = 1) -> Planned | None:
    """What comes after these records."""
    return next_planned(records, baseline=BASELINE, seeds=SEEDS, retries=retries)


def test_the_baseline_comes_first_then_the_seeds() -> None:
    """An empty study begins with the baseline; after the last seed the search is free."""
    baseline = ended(0, TrialKind.BASELINE)
    assert due() == BASELINE
    assert due(baseline) == SEEDS[0]
    assert due(baseline, ended(1, TrialKind.SEED, ONE)) is None


def test_a_failed_trial_is_run_again_once() -> None:
    """The host's fault is retried at once, and only so often."""
    failed = ended(0, TrialKind.BASELINE, BASE, FailureKind.PORT_IN_USE)
    again = due(failed)
    assert again == Planned(configuration=BASE, kind=TrialKind.RETRY)
    retried = ended(1, TrialKind.RETRY, BASE, FailureKind.PORT_IN_USE)
    assert due(failed, retried) == SEEDS[0]
    assert due(failed, retries=0) == SEEDS[0]


def test_a_retry_that_told_more_ends_the_retries() -> None:
    """Failed once, measured then: nothing more is due for it."""
    failed = ended(0, TrialKind.BASELINE, BASE, FailureKind.PORT_IN_USE)
    assert due(failed, ended(1, TrialKind.RETRY), retries=5) == SEEDS[0]


def test_a_repair_is_queued_once() -> None:
    """What the text says would fit is tried, and the repair of a repair is not."""
    broken = ended(
        0, TrialKind.BASELINE, BASE, FailureKind.KV_TOO_SMALL,
        status=OutcomeStatus.INFEASIBLE, repair={"max_model_len": 9000},
    )  # fmt: skip
    mended = Configuration.of({"max_model_len": 9000})
    assert due(broken) == Planned(configuration=mended, kind=TrialKind.REPAIR)
    again = ended(
        1, TrialKind.REPAIR, mended, FailureKind.KV_TOO_SMALL,
        status=OutcomeStatus.INFEASIBLE, repair={"max_model_len": 8000},
    )  # fmt: skip
    assert due(broken, again) == SEEDS[0]


def test_a_screened_proposal_of_the_search_is_not_repaired() -> None:
    """It cost nothing; its repair would cost a trial that nobody asked for."""
    proposal = ended(
        1, TrialKind.SEARCH, TWO, FailureKind.KV_TOO_SMALL,
        status=OutcomeStatus.SCREENED, repair={"max_model_len": 9000},
    )  # fmt: skip
    assert due(ended(0, TrialKind.BASELINE), proposal) == SEEDS[0]


def test_what_ctrl_c_cut_off_is_run_again_as_what_it_was() -> None:
    """An interrupted trial is as if it had not been run."""
    cut = ended(0, TrialKind.BASELINE, BASE, FailureKind.INTERRUPTED)
    assert due(cut) == BASELINE
    searched = ended(1, TrialKind.SEARCH, TWO, FailureKind.INTERRUPTED)
    again = due(ended(0, TrialKind.BASELINE), searched)
    assert again == Planned(configuration=TWO, kind=TrialKind.SEARCH)


def test_a_baseline_that_does_not_fit_still_counts_as_tried() -> None:
    """An infeasible baseline is a result: it is not run for ever."""
    broken = ended(
        0, TrialKind.BASELINE, BASE, FailureKind.GPU_OOM, status=OutcomeStatus.INFEASIBLE
    )
    assert due(broken) == SEEDS[0]


def test_what_counts_against_the_budget() -> None:
    """Screened, interrupted, retried and verifying trials are free; every other start counts."""
    free = [
        ended(0, TrialKind.SEARCH, ONE, FailureKind.ILLEGAL, status=OutcomeStatus.SCREENED),
        ended(1, TrialKind.SEARCH, ONE, FailureKind.INTERRUPTED),
        ended(2, TrialKind.RETRY, ONE),
        ended(3, TrialKind.VERIFY, ONE),
    ]
    paid = [
        ended(4, TrialKind.BASELINE),
        ended(5, TrialKind.SEARCH, ONE, FailureKind.GPU_OOM, status=OutcomeStatus.INFEASIBLE),
        ended(6, TrialKind.REPAIR, ONE),
        ended(7, TrialKind.SEARCH, ONE, FailureKind.PORT_IN_USE),
        ended(8, TrialKind.FINALIST, ONE),
    ]
    assert [counts(r) for r in free] == [False] * 4
    assert [counts(r) for r in paid] == [True] * 5


def test_a_failed_proof_is_no_retry() -> None:
    """A finalist that the host let down is due again as a finalist, not under another kind."""
    records = [
        ended(0, TrialKind.BASELINE),
        ended(1, TrialKind.SEED, ONE),
        ended(2, TrialKind.FINALIST, ONE, FailureKind.PORT_IN_USE),
    ]
    assert due(*records) is None


def test_the_baseline_comes_again_after_so_many_trials() -> None:
    """Every two counted trials; screened ones do not bring it nearer."""
    screened = ended(2, TrialKind.SEARCH, TWO, FailureKind.ILLEGAL, status=OutcomeStatus.SCREENED)
    records = [ended(0, TrialKind.BASELINE), ended(1, TrialKind.SEED, ONE), screened]

    def next_(*more: TrialRecord) -> Planned | None:
        return next_planned(
            [*records, *more], baseline=BASELINE, seeds=SEEDS, retries=1, baseline_every=2
        )

    assert next_() is None
    assert next_(ended(3, TrialKind.SEARCH, Configuration.of({"a": 3}))) == BASELINE


def disturbed(record: TrialRecord) -> TrialRecord:
    """The same, slowed down by something else."""
    probe = ProbeResult(probe="ttft", status=ProbeStatus.MEASURED, disturbed="it was hot")
    return replace(record, probes=(probe,))


def test_the_baseline_is_repeated_at_the_start() -> None:
    """Before seeds; a failed one is retried first and counts for nothing."""

    def next_(*records: TrialRecord) -> Planned | None:
        return next_planned(records, baseline=BASELINE, seeds=SEEDS, retries=1, baseline_repeats=2)

    first, second = ended(0, TrialKind.BASELINE), ended(1, TrialKind.BASELINE)
    assert next_(first) == BASELINE
    assert next_(first, second) == SEEDS[0]
    failed = ended(0, TrialKind.BASELINE, BASE, FailureKind.PORT_IN_USE)
    assert next_(failed) == Planned(configuration=BASE, kind=TrialKind.RETRY)
    assert next_(failed, ended(1, TrialKind.RETRY)) == BASELINE
    broken = ended(1, TrialKind.BASELINE, BASE, FailureKind.GPU_OOM,
                   status=OutcomeStatus.INFEASIBLE)  # fmt: skip
    assert next_(first, broken) == SEEDS[0]


def test_a_repaired_baseline_is_what_is_repeated() -> None:
    """Others are compared with the repair, so its noise is the one that counts."""
    broken = ended(
        0, TrialKind.BASELINE, BASE, FailureKind.KV_TOO_SMALL,
        status=OutcomeStatus.INFEASIBLE, repair={"max_model_len": 9000},
    )  # fmt: skip
    mended = Configuration.of({"max_model_len": 9000})
    repaired = ended(1, TrialKind.REPAIR, mended)
    again = next_planned(
        [broken, repaired], baseline=BASELINE, seeds=SEEDS, retries=1, baseline_repeats=2
    )
    assert again == Planned(configuration=mended, kind=TrialKind.REPAIR)


def test_a_disturbed_trial_is_run_again() -> None:
    """Once, beside the budget; a calm repeat or a machine that is always so ends it."""
    base, slow = ended(0, TrialKind.BASELINE), disturbed(ended(1, TrialKind.SEED, ONE))
    again = Planned(configuration=ONE, kind=TrialKind.RETRY)
    assert due(base, slow) == again
    assert due(base, slow, retries=0) is None
    assert due(base, slow, ended(2, TrialKind.RETRY, ONE)) is None
    assert due(base, slow, disturbed(ended(2, TrialKind.RETRY, ONE))) is None
    hot = [disturbed(ended(n, TrialKind.RETRY, TWO)) for n in (2, 3, 4)]
    assert due(base, slow, *hot) is None


def test_a_baseline_in_which_autotune_was_always_killed_comes_again() -> None:
    """Also beyond its retries: a search without it would compare with nothing. A seed does not."""
    killed = Failure(kind=FailureKind.KILLED_FROM_OUTSIDE, phase="unknown", message=KILLED)
    outcome = Outcome(status=OutcomeStatus.FAILED, failure=killed)
    first = replace(ended(0, TrialKind.BASELINE), outcome=outcome)
    again = replace(ended(1, TrialKind.RETRY), outcome=outcome)
    retried = due(first)
    assert retried is not None
    assert retried.kind is TrialKind.RETRY
    assert due(first, again) == BASELINE
    assert due(first, again, ended(2, TrialKind.BASELINE)) == SEEDS[0]
    seeds = [replace(ended(n, kind, ONE), outcome=outcome)
             for n, kind in ((1, TrialKind.SEED), (2, TrialKind.RETRY))]  # fmt: skip
    assert due(ended(0, TrialKind.BASELINE), *seeds) is None
