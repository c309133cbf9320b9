"""The rule that passed a point over is told with figures that decided, of a point that stands."""

from collections.abc import Mapping
from typing import Any

from autotune.analysis.passed_over import Rule
from autotune.analysis.recommend import Recommendation, recommend
from autotune.records import Configuration, TrialKind, TrialRecord
from autotune.spec.study import Preference, study_from
from tests.support.records import record

SPEC = study_from({"name": "sample"}, where="test")


def trial(
    number: int,
    speed: float = 700.0,
    context: float = 70_000,
    *,
    ttft_s: float = 2.5,
    loaded_s: float = 2.2,
    kind: TrialKind = TrialKind.SEARCH,
    more: Mapping[str, float] | None = None,
    **values: str | int,
) -> TrialRecord:
    """A feasible trial of a configuration, with the wait that other requests feel."""
    return record(
        number,
        kind=kind,
        config=Configuration.of(values),
        metrics={
            "output_tokens_per_s": speed,
            "ttft_8k_ns": ttft_s * 1e9,
            "context_capacity_tokens": context,
            "ttft_loaded_p50_ns": loaded_s * 1e9,
            **(more or {}),
        },
    )


BASELINE = trial(0, kind=TrialKind.BASELINE)


def choice(*others: TrialRecord, prefer: Preference = "balanced") -> Recommendation:
    """What is recommended among these and the default."""
    return recommend([BASELINE, *others], SPEC, prefer)


def test_of_points_that_are_alike_in_an_objective_the_one_that_none_beats_is_named() -> None:
    """168,144 tokens twice: the second is faster, and it alone is on the front."""
    chosen = choice(
        trial(1, 690.0, 168_144.2, ttft_s=2.6, loaded_s=2.2 * 60, seqs=64),
        trial(2, 710.0, 168_144.0, ttft_s=2.5, loaded_s=2.2 * 60, seqs=96),
    )

    assert chosen.keep_default
    assert [f.passed.number for f in chosen.forgone] == [2]
    assert set(chosen.front) >= {f.passed.number for f in chosen.forgone}


def test_harm_is_never_given_as_what_makes_a_score_of_objectives_lower() -> None:
    """Objectives a bit behind and a queue three times as long: the queue is called harm."""
    chosen = choice(
        trial(1, 700.0, 150_000, a=1),
        trial(2, 702.0, 149_990, ttft_s=2.51, loaded_s=2.2 * 3.7, b=1),
    )

    assert chosen.record.number == 1
    (passed,) = [p for p in chosen.passed if p.number == 2]
    assert passed.rule is Rule.HARM
    assert passed.text == "TTFT under load x3.70 against the default, which outweighs its gain"


def proofs(first: int, **figures: Any) -> list[TrialRecord]:
    """Three trials that prove a configuration."""
    return [trial(first + i, kind=TrialKind.FINALIST, **figures) for i in range(3)]


def test_a_proved_finalist_that_is_beaten_in_every_objective_has_its_reason_too() -> None:
    """Off the front, and somebody paid for its three trials."""
    chosen = choice(
        *proofs(1), *proofs(4, speed=720.0, context=160_000, a=1),
        *proofs(7, speed=650.0, context=120_000, ttft_s=2.6, b=1),
    )  # fmt: skip

    assert chosen.record.number == 6
    assert 9 not in chosen.front
    (passed,) = [p for p in chosen.passed if p.number == 9]
    assert passed.rule is Rule.SCORE
    assert "Output throughput -9.7%" in passed.text


def test_what_another_one_has_and_it_loses_is_the_reason_though_it_changes_less() -> None:
    """Documents come back 36 times slower without the offload: that decided, not the noise."""
    slow, fast = ({"revisit_total_tokens_per_s": rate} for rate in (3_200.0, 115_000.0))
    chosen = choice(
        *proofs(1, more=slow),
        *proofs(4, context=160_000, more=slow, a=1),
        *proofs(7, context=160_000, more=fast, a=1, offload=8),
    )

    assert chosen.record.number == 9
    (passed,) = [p for p in chosen.passed if p.number == 6]
    assert passed.rule is Rule.LOSS
    assert passed.text == ("Re-visit throughput -97.2% against trial 9, which gains about as much")


def test_among_equals_the_reason_is_the_setting_that_costs_or_the_number_of_changes() -> None:
    """`b` makes a single stream slower by 10% and helps nothing; `c` and `d` do nothing."""
    itl, slower = {"itl_single_ns": 1.0e7}, {"itl_single_ns": 1.1e7}
    chosen = choice(
        *proofs(1, more=itl),
        *proofs(4, context=160_000, more=itl, a=1),
        *proofs(7, context=160_000, more=slower, a=1, b=1),
        *proofs(10, context=160_000, more=itl, a=1, c=1, d=1),
    )

    assert chosen.record.number == 6
    rules = {p.number: (p.rule, p.text) for p in chosen.passed}
    assert rules[9] == (Rule.COSTLY, "within the noise of it, with b: a cost, not shown to help")
    assert rules[12] == (Rule.CHANGES, "within the noise of it, and changes 2 settings more")


def test_a_difference_that_is_luck_among_many_passes_nothing_over() -> None:
    """Forty configurations within 12% of each other: the lowest of them is not called slower."""
    others = [trial(3 + i, 690.0 + i, 60_000, seqs=i) for i in range(40)]
    chosen = choice(
        trial(1, 733.0, 150_000, a=1), trial(2, 653.0, 140_000, ttft_s=2.4, b=1), *others
    )

    assert chosen.record.number == 1
    (passed,) = [p for p in chosen.passed if p.number == 2]
    assert "Output throughput" not in passed.text
