"""The rule that passed a point over is told with figures that decided, of a point that stands."""

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
    assert passed.text == (
        "no better in its weighted objectives, and TTFT under load x3.70 against the default"
    )


def test_a_difference_that_is_luck_among_many_passes_nothing_over() -> None:
    """Forty configurations within 12% of each other: the lowest of them is not called slower."""
    others = [trial(3 + i, 690.0 + i, 60_000, seqs=i) for i in range(40)]
    chosen = choice(
        trial(1, 733.0, 150_000, a=1), trial(2, 653.0, 140_000, ttft_s=2.4, b=1), *others
    )

    assert chosen.record.number == 1
    (passed,) = [p for p in chosen.passed if p.number == 2]
    assert "Output throughput" not in passed.text
