"""One front: membership by the means that are shown, and the rule that passed a point over."""

import pytest

from autotune.analysis.front import as_shown, front_numbers, rounded
from autotune.analysis.passed_over import Rule
from autotune.analysis.recommend import Recommendation, recommend
from autotune.records import Configuration, TrialKind, TrialRecord
from autotune.spec.study import Preference, study_from
from tests.support.records import record

SPEC = study_from({"name": "sample"}, where="test")


def trial(
    number: int,
    speed: float,
    ttft_s: float = 2.5,
    context: float = 70_000,
    kind: TrialKind = TrialKind.SEARCH,
    *,
    loaded_s: float = 2.2,
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


BASELINE = trial(0, 700.0, kind=TrialKind.BASELINE)


def test_a_lucky_start_of_a_repeated_configuration_is_no_point_of_the_front() -> None:
    """740 tok/s once and 680 twice are 700 in the mean, which 710 tok/s beats."""
    records = [
        trial(1, 740.0, a=1),
        trial(2, 680.0, a=1),
        trial(3, 680.0, a=1),
        trial(4, 710.0, b=1),
    ]

    assert front_numbers(records, SPEC.objectives) == (4,)


def test_proofs_alone_are_a_finalist_s_figures() -> None:
    """The search's own 900 tok/s flatters it; its proofs measured 690 and 694."""
    records = [
        trial(1, 900.0, a=1),
        trial(2, 690.0, kind=TrialKind.FINALIST, a=1),
        trial(3, 694.0, kind=TrialKind.FINALIST, a=1),
        BASELINE,
    ]
    (_, shown) = recommend(records, SPEC).points[::-1]

    assert shown.numbers == (2, 3)
    assert as_shown(shown, SPEC.objectives).metrics["output_tokens_per_s"] == pytest.approx(
        692.0, abs=0.01
    )


def test_what_no_table_shows_decides_nothing() -> None:
    """Behind by a microsecond in TTFT and ahead in context: as shown it is beaten by nobody."""
    records = [
        trial(1, 700.2, 2.5000001, 80_000, a=1),
        trial(2, 700.1, 2.5, 70_000, b=1),
    ]

    assert front_numbers(records, SPEC.objectives) == (1,)


@pytest.mark.parametrize(
    ("tag", "value", "shown"),
    [
        ("output_tokens_per_s", 697.6, 698.0),
        ("output_tokens_per_s", 3461.4, 3461.0),
        ("ttft_8k_ns", 2.7549e9, 2.75e9),
        ("context_capacity_tokens", 162_480.2, 162_480.0),
    ],
)
def test_figures_are_rounded_as_tables_round_them(tag: str, value: float, shown: float) -> None:
    """Three digits of a time, whole tokens, whole tokens per second."""
    assert rounded(tag, value) == shown


def choice(*others: TrialRecord, prefer: Preference = "balanced") -> Recommendation:
    """What is recommended among these and the default."""
    return recommend([BASELINE, *others], SPEC, prefer)


def test_harm_is_named_where_it_passes_a_better_point_over() -> None:
    """A fifth more context for a first token that waits 3.5 times as long under load."""
    chosen = choice(
        trial(1, 700.0, 2.5, 137_712, a=1),
        trial(2, 700.0, 2.5, 162_480, a=1, seqs=64, loaded_s=2.2 * 3.5),
        prefer="context",
    )

    assert chosen.record.number == 1
    (passed,) = [p for p in chosen.passed if p.number == 2]
    assert passed.rule is Rule.HARM
    assert "TTFT under load x3.50" in passed.text
    assert "Context capacity +18.0% (trial 2: TTFT under load x3.50" in chosen.reason


def test_keeping_the_default_says_what_was_better_and_why_it_was_not_taken() -> None:
    """Twice the context for a prefix that nobody finds again: never "nothing beats it"."""
    chosen = choice(trial(1, 700.0, 2.5, 145_216, a=1, loaded_s=2.2 * 59))

    assert chosen.keep_default
    assert "Context capacity x2.07 (trial 1: TTFT under load x59.00" in chosen.reason
    assert "nothing measured beats" not in chosen.reason


def test_a_lead_that_repeats_have_not_proved_is_called_noise_or_unproved() -> None:
    """One trial that is 3% ahead: within the noise, and no harm is made up for it."""
    chosen = choice(trial(1, 721.0, a=1))

    assert chosen.keep_default
    (passed,) = chosen.passed
    assert passed.rule is Rule.NOISE
    assert not chosen.forgone
