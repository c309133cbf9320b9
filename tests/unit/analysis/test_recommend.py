"""The choice on the front."""

import math

import pytest

from autotune.analysis.recommend import Basis, differences, recommend
from autotune.analysis.score import weights_of
from autotune.errors import NothingFeasibleError
from autotune.records import Configuration, Failure, FailureKind, TrialKind, TrialRecord
from autotune.spec.study import study_from
from tests.support.records import record

SPEC = study_from({"name": "sample"}, where="test")


def trial(
    number: int,
    speed: float,
    ttft_s: float = 1.0,
    context: float = 50_000,
    kind: TrialKind = TrialKind.SEARCH,
    **values: str | int,
) -> TrialRecord:
    """A feasible trial of a configuration."""
    return record(
        number,
        kind=kind,
        config=Configuration.of(values),
        metrics={
            "output_tokens_per_s": speed,
            "ttft_8k_ns": ttft_s * 1e9,
            "context_capacity_tokens": context,
        },
    )


BASELINE = trial(0, 1000.0, kind=TrialKind.BASELINE)


def test_a_clear_winner_is_recommended_with_its_gains() -> None:
    """Half as fast again at equal latency: that one, and the ratio is told."""
    chosen = recommend([BASELINE, trial(1, 1500.0, a=1)], SPEC)
    assert chosen.configuration == Configuration.of({"a": 1})
    assert not chosen.keep_default
    assert chosen.gains["output_tokens_per_s"] == pytest.approx(1.5)
    assert chosen.gains["ttft_8k_ns"] == pytest.approx(1.0)


def test_a_gain_within_the_noise_keeps_the_default() -> None:
    """Three percent on one trial each is nothing: keep the default, and say what could be seen."""
    chosen = recommend([BASELINE, trial(1, 1030.0, a=1)], SPEC)
    assert chosen.keep_default
    assert chosen.configuration == Configuration()
    assert "keep the engine's defaults" in chosen.reason
    assert chosen.detectable["output_tokens_per_s"] > 0.03


def test_among_equals_the_fewest_overrides_win() -> None:
    """Two within the noise of each other: the one that changes less, though it is a bit slower."""
    chosen = recommend([BASELINE, trial(1, 1510.0, a=1, b=2, c=3), trial(2, 1500.0, a=1)], SPEC)
    assert chosen.configuration == Configuration.of({"a": 1})


def test_what_is_within_the_noise_of_the_best_must_still_beat_the_default() -> None:
    """A middling candidate near the best and near the default is not chosen for its few changes."""
    records = [BASELINE, trial(1, 1200.0, a=1, b=2), trial(2, 1080.0, a=1)]
    assert recommend(records, SPEC).configuration == Configuration.of({"a": 1, "b": 2})


@pytest.mark.parametrize(
    ("prefer", "name"), [("throughput", "fast"), ("latency", "quick"), ("context", "wide")]
)
def test_preferences_choose_their_end_of_the_front(prefer: str, name: str) -> None:
    """The same trials, another preference, another point; no new trial."""
    records = [
        BASELINE,
        trial(1, 2000.0, 1.3, fast=1),
        trial(2, 900.0, 0.5, quick=1),
        trial(3, 900.0, 1.1, 120_000, wide=1),
    ]
    chosen = recommend(records, SPEC, prefer)  # type: ignore[arg-type]
    assert chosen.configuration == Configuration.of({name: 1})
    assert chosen.front == (0, 1, 2, 3)


def test_an_infeasible_trial_is_never_recommended() -> None:
    """The fastest trial broke a limit: it is not even looked at."""
    failure = Failure(kind=FailureKind.LIMIT_MISSED, phase="limits", message="slow")
    fastest = record(
        1, config=Configuration.of({"a": 1}), failure=failure, metrics=dict(BASELINE.metrics)
    )
    assert recommend([BASELINE, fastest], SPEC).keep_default


def test_a_configuration_that_failed_as_often_as_not_is_no_candidate() -> None:
    """Measured once and out of memory once: it is not stable."""
    failure = Failure(kind=FailureKind.GPU_OOM_UNDER_LOAD, phase="probe:throughput", message="oom")
    again = record(2, config=Configuration.of({"a": 1}), failure=failure)
    assert recommend([BASELINE, trial(1, 2000.0, a=1), again], SPEC).keep_default


def test_repeats_sharpen_the_comparison() -> None:
    """Seven percent is nothing between single trials and something between tight repeats."""
    single = [BASELINE, trial(1, 1070.0, a=1)]
    assert recommend(single, SPEC).keep_default
    repeated = [
        *single,
        *(trial(2 + i, 1000.0 + i, kind=TrialKind.FINALIST) for i in range(4)),
        *(trial(6 + i, 1070.0 + i, kind=TrialKind.FINALIST, a=1) for i in range(4)),
    ]
    assert not recommend(repeated, SPEC).keep_default


def test_nothing_feasible_is_an_error_with_a_next_step() -> None:
    """No trial kept every limit: the command says so and what to do."""
    failure = Failure(kind=FailureKind.GPU_OOM, phase="starting", message="oom")
    with pytest.raises(
        NothingFeasibleError, match="the one trial of 'sample' is not feasible"
    ) as caught:
        recommend([record(0, failure=failure)], SPEC)
    assert caught.value.hint


def test_every_setting_has_its_reason() -> None:
    """Each setting names the default and the trial that differs from it in this setting alone."""
    records = [
        BASELINE,
        *(trial(1 + i, 1000.0 + i, b=i) for i in range(4)),
        *(trial(5 + i, 1500.0 + i, a=1, b=i) for i in range(4)),
    ]
    (first, *_) = recommend(records, SPEC).settings
    assert (first.parameter, first.value, first.default) == ("a", 1, None)
    # Of the equals with the fewest changes, trial 8 (a=1, b=3): trial 4 is b=3 alone.
    assert "without it (trial 4) Output throughput -33%" in first.text
    assert first.basis is Basis.MEASURED


def test_differences_are_by_value() -> None:
    """A parameter that only one side sets is a difference."""
    one, other = Configuration.of({"a": 1, "b": 2}), Configuration.of({"b": 3, "c": 4})
    assert differences(one, other) == ("a", "b", "c")


def test_the_front_is_of_configurations() -> None:
    """A repeat that came out a bit lower is the same configuration, and its last trial stands."""
    records = [
        BASELINE,
        trial(1, 2500.0, 1.2, a=1),
        trial(2, 2480.0, 1.22, kind=TrialKind.FINALIST, a=1),
        trial(3, 900.0, 1.3, b=1),
    ]
    chosen = recommend(records, SPEC)
    assert chosen.front == (0, 2)
    assert chosen.record.number == 2


def test_a_loss_is_a_cost_and_never_the_reason() -> None:
    """Half as fast again for a first token 10% later: one is why, the other is what it costs."""
    chosen = recommend([BASELINE, trial(1, 1500.0, 1.1, a=1)], SPEC)
    (first,) = chosen.settings
    why, _, cost = first.text.partition("; it costs ")
    assert "Output throughput" in why
    assert "TTFT at 8K" not in why
    assert cost == "TTFT at 8K +10%"
    assert first.costs == {"ttft_8k_ns": pytest.approx(1.1)}
    assert chosen.costs == {"ttft_8k_ns": pytest.approx(1.1)}


def test_what_was_never_measured_alone_is_said_to_be() -> None:
    """Two settings that always came together: no pair, so no effect is told."""
    chosen = recommend([BASELINE, trial(1, 1500.0, a=1, b=2)], SPEC)
    assert [s.basis for s in chosen.settings] == [Basis.UNMEASURED, Basis.UNMEASURED]
    assert all("not measured alone" in s.text and not s.effects for s in chosen.settings)


def test_keeping_the_default_says_what_would_have_counted() -> None:
    """One trial a side of 3% noise: 1.95996 (normal, 2.5% above it) * 0.03 * sqrt(2) in logs."""
    chosen = recommend([BASELINE, trial(1, 1030.0, a=1)], SPEC)
    share = chosen.detectable["output_tokens_per_s"]
    assert share == pytest.approx(math.expm1(1.95996 * 0.03 * math.sqrt(2)), rel=1e-4)
    assert f"Output throughput {share:.1%}" in chosen.reason


def test_weights_are_even_without_a_matching_objective() -> None:
    """Preferring context where context is no objective is the balanced choice."""
    spec = study_from({"objectives": ["output_tokens_per_s", "ttft_8k_ns"]}, where="test")
    assert weights_of(spec.objectives, "context") == (1.0, 1.0)


def test_among_many_rivals_a_lucky_one_is_not_enough() -> None:
    """A gain that would count for one rival is luck when it is the best of forty."""
    one = [BASELINE, trial(1, 1220.0, a=1)]
    assert not recommend(one, SPEC).keep_default
    crowd = [trial(2 + i, 1000.0, b=i) for i in range(39)]
    assert recommend([*one, *crowd], SPEC).keep_default


def test_what_the_study_could_have_seen_is_told() -> None:
    """More repeats, smaller effects: the least that would have counted shrinks."""
    single = recommend([BASELINE, trial(1, 1010.0, a=1)], SPEC)
    proofs = [
        trial(10 + i, 1000.0 + i % 3, kind=TrialKind.FINALIST, **({"a": 1} if i % 2 else {}))
        for i in range(12)
    ]
    repeated = recommend([BASELINE, trial(1, 1010.0, a=1), *proofs], SPEC)
    assert repeated.proved
    assert 0 < repeated.detectable["ttft_8k_ns"] < single.detectable["ttft_8k_ns"]


def test_a_loss_that_can_be_told_for_sure_is_not_hidden_by_the_noise_of_the_rest() -> None:
    """Speed varies by 10% and capacity not at all: 6% less capacity is a loss, and not a tie."""

    def proofs(first: int, context: float, **values: int) -> list[TrialRecord]:
        speeds = (1900.0, 2100.0, 2000.0)
        return [
            trial(first + i, speed, 1.0, context, kind=TrialKind.FINALIST, **values)
            for i, speed in enumerate(speeds)
        ]

    records = [
        BASELINE, trial(1, 2000.0, 1.0, 100_000, a=1, b=1), trial(2, 2000.0, 1.0, 94_000, a=1),
        *proofs(3, 100_000, a=1, b=1), *proofs(6, 94_000, a=1),
    ]  # fmt: skip
    assert recommend(records, SPEC).configuration == Configuration.of({"a": 1, "b": 1})
