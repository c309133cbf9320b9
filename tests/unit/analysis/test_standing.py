"""What is shown of single settings, and that what is shown to cost is not taken among equals."""

from collections.abc import Sequence

from autotune.analysis.decision import Decision, decide
from autotune.analysis.recommend import recommend
from autotune.analysis.standing import Standing
from autotune.records import Configuration, TrialKind, TrialRecord
from autotune.report.findings import findings_of
from autotune.report.verdict import remarks
from autotune.spec.study import study_from
from tests.support.records import record

SPEC = study_from(
    {
        "name": "sample",
        "objectives": ["output_tokens_per_s", "ttft_8k_ns"],
        "budget": {"trials": 12},
    },
    where="test",
)


def trial(
    number: int,
    speed: float,
    loaded_s: float = 2.0,
    kind: TrialKind = TrialKind.SEARCH,
    **asked: int,
) -> TrialRecord:
    """A feasible trial, with the wait that other requests feel."""
    return record(
        number,
        kind=kind,
        config=Configuration.of(asked),
        metrics={
            "output_tokens_per_s": speed,
            "ttft_8k_ns": 1e9,
            "ttft_loaded_p50_ns": loaded_s * 1e9,
        },
    )


FOUND = (
    trial(0, 1000.0, kind=TrialKind.BASELINE),
    trial(1, 1000.0, kind=TrialKind.BASELINE),
    trial(2, 1000.0, idle=1),
    trial(3, 1500.0, helps=1, idle=1),
    trial(4, 1000.0, loaded_s=2.5, harms=1),
    trial(5, 2060.0, loaded_s=2.5, helps=1, fast=1, harms=1),
    trial(6, 2020.0, helps=1, fast=1, other=1),
)
"""5 and 6 are alike but for the noise, and change three settings each; 0 and 4 tell what `harms`
costs; nothing tells of `fast` and `other` alone."""


def standing(decision: Decision, number: int, name: str) -> Standing:
    """Of a setting of the configuration of a trial."""
    candidate = next(m for m in decision.everything if number in m.numbers)
    return decision.standings.of(candidate, name)


def test_each_setting_stands_as_its_nearest_pair_says() -> None:
    """Without it worse; with it worse beside the objectives; neither; no pair."""
    decision = decide(FOUND, SPEC)
    assert standing(decision, 3, "helps") is Standing.HELPS
    assert standing(decision, 5, "harms") is Standing.COSTS
    assert standing(decision, 3, "idle") is Standing.UNSHOWN
    assert standing(decision, 6, "other") is Standing.UNMEASURED


def test_a_cost_that_the_candidate_does_not_have_is_not_held_against_it() -> None:
    """The same setting beside others, which waits no longer than the default."""
    records = (*FOUND, trial(7, 2020.0, helps=1, fast=1, harms=1, cure=1))
    assert standing(decide(records, SPEC), 7, "harms") is Standing.UNSHOWN


def chosen(records: Sequence[TrialRecord]) -> dict[str, object]:
    """Settings of what is recommended."""
    return dict(recommend(records, SPEC).configuration.values)


def test_among_equals_the_one_without_a_setting_that_costs_is_taken() -> None:
    """As many changes each, and the other one is faster by 2%, within the noise."""
    decision = decide(FOUND, SPEC)
    assert {m.latest.number for m in decision.chooser.rivals()} == {5, 6}
    assert chosen(FOUND) == {"helps": 1, "fast": 1, "other": 1}


def test_a_short_study_names_what_it_does_not_show_to_help() -> None:
    """Its budget had no trial to go without them."""
    reason = recommend(FOUND, SPEC).reason
    assert "with the fewest changes" not in reason
    assert reason.endswith("Not measured alone: fast, other (12 trials are too few to test it)")


def test_a_setting_that_costs_weighs_more_than_any_number_of_changes() -> None:
    """7 is as good as 5, with one change more and nothing that is shown to cost anything."""
    spread = trial(7, 2050.0, helps=1, fast=1, other=1, third=1)
    records = (*FOUND[:-1], spread)
    assert chosen(records) == {"helps": 1, "fast": 1, "other": 1, "third": 1}


def test_where_only_one_with_a_setting_that_costs_is_better_its_cost_is_said() -> None:
    """Nothing else reaches twice the speed."""
    text = recommend(FOUND[:-1], SPEC).reason
    assert "Not shown to help, at a cost: harms (TTFT under load +25.0%)" in text


def test_a_default_that_is_kept_has_nothing_to_show() -> None:
    """It sets nothing."""
    assert "Not shown to help" not in recommend(FOUND[:3], SPEC).reason


def test_the_verdict_says_what_is_not_shown_to_help() -> None:
    """It is read where the reason is not printed."""
    told = " ".join(remarks(findings_of(SPEC, FOUND, with_importances=False)))
    assert "Not measured alone: fast, other (12 trials are too few" in told
