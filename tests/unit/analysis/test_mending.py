"""A good configuration is measured once more, less what spoils it."""

from autotune.analysis.decision import decide
from autotune.analysis.mending import next_mending, next_tidying, tidying_trials
from autotune.analysis.recommend import recommend
from autotune.records import Configuration, Scalar, TrialKind, TrialRecord
from autotune.spec.study import StudySpec, study_from
from tests.support.records import record


def spec_of(trials: int) -> StudySpec:
    """A study with a budget."""
    return study_from({"name": "sample", "budget": {"trials": trials}}, where="test")


SHORT = spec_of(12)


def trial(
    number: int,
    context: float = 70_000.0,
    loaded_s: float = 2.0,
    cold_s: float = 1.0,
    kind: TrialKind = TrialKind.SEARCH,
    **asked: Scalar,
) -> TrialRecord:
    """A feasible trial with two waits that no objective sees."""
    return record(
        number,
        kind=kind,
        config=Configuration.of(asked),
        metrics={
            "output_tokens_per_s": 700.0,
            "ttft_8k_ns": 2.5e9,
            "context_capacity_tokens": context,
            "ttft_loaded_p50_ns": loaded_s * 1e9,
            "revisit_cold_ttft_ns": cold_s * 1e9,
        },
    )


FOUND = (
    trial(0, kind=TrialKind.BASELINE),
    trial(1, 165_000.0, 7.0, 1.8, kv="fp8", seqs=64, batch=1024),
    trial(2, 160_000.0, 7.2, kv="fp8", seqs=64, block=64),
    trial(3, 100_000.0, kv="fp8", mode="interactivity"),
    trial(4, 70_000.0, 2.0, 1.8, batch=1024, block=64),
)
"""All of the gain is fp8's. 64 at a time wait 3.5 times as long; pieces of 1,024 make documents
come back 1.8 times as slowly."""


def test_suspects_of_a_harm_are_what_no_configuration_without_it_has() -> None:
    """fp8 runs without either, and each of the others only with its own."""
    decision = decide(FOUND, SHORT)
    spoilt = next(m for m in decision.candidates if m.latest.number == 1)
    assert set(decision.standings.suspects(spoilt)) == {"seqs", "batch"}


def test_the_best_that_a_harm_keeps_out_is_tried_without_its_suspects() -> None:
    """fp8 alone, which the search had no reason to propose; once it was measured, not again."""
    wanted = Configuration.of({"kv": "fp8"})
    assert recommend(FOUND, SHORT).configuration.get("mode") == "interactivity"
    assert next_mending(FOUND, SHORT) == wanted
    mended = (*FOUND, trial(5, 155_000.0, kv="fp8"))
    assert next_mending(mended, SHORT) != wanted
    assert recommend(mended, SHORT).configuration == wanted


def test_what_the_space_forbids_is_not_tried() -> None:
    """Nor what was tried before, so another one of the spoilt is next."""
    allowed = next_mending(FOUND, SHORT, refusal=lambda c: None if c.get("block") else "forbidden")
    assert allowed == Configuration.of({"kv": "fp8", "block": 64})
    assert next_mending(FOUND, SHORT, refusal=lambda _: "forbidden") is None


def test_where_nothing_is_spoilt_the_search_keeps_its_trials() -> None:
    """No harm, nothing to mend; nothing measured, nothing either."""
    assert next_mending((FOUND[0], FOUND[3]), SHORT) is None
    assert next_mending((), SHORT) is None


def test_a_small_budget_keeps_a_trial_to_leave_out_what_nothing_speaks_for() -> None:
    """The pair 2 and 3 shows that `idle` does nothing, and `costs` only costs."""
    records = (
        trial(0, kind=TrialKind.BASELINE),
        trial(1, kind=TrialKind.BASELINE),
        trial(2, idle=1),
        trial(3, 70_000.0, 2.4, costs=1),
        trial(4, 160_000.0, 2.4, kv="fp8", idle=1, costs=1),
    )
    wanted = Configuration.of({"kv": "fp8"})
    assert next_tidying(records, SHORT) == wanted
    done = (*records, trial(5, 158_000.0, kv="fp8", kind=TrialKind.ABLATION))
    assert next_tidying(done, SHORT) is None, "its trial is spent"
    assert recommend(done, SHORT).configuration == wanted


def test_where_nothing_tells_what_is_useless_the_least_promising_is_left_out() -> None:
    """fp8 was in all that gained; `idle` came with it once, and nothing has neither."""
    records = (
        trial(0, kind=TrialKind.BASELINE),
        trial(1, kind=TrialKind.BASELINE),
        trial(2, 150_000.0, kv="fp8", other=1),
        trial(3, 165_000.0, kv="fp8", idle=1),
    )
    assert next_tidying(records, SHORT) == Configuration.of({"kv": "fp8"})


def test_a_default_that_is_kept_has_nothing_to_leave_out() -> None:
    """It sets nothing."""
    assert next_tidying(FOUND[:1], SHORT) is None


def test_trials_for_that_are_kept_where_ablation_has_no_room() -> None:
    """One in eight; a budget of three has none, one of forty has its ablations."""
    assert [tidying_trials(spec_of(n)) for n in (3, 8, 12, 16, 24, 40)] == [0, 1, 1, 2, 3, 0]
