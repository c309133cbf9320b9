"""What is lost by a large factor beside the objectives is taken off what they gain, in full."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.analysis.finalists import finalists_of
from autotune.analysis.recommend import Recommendation, recommend
from autotune.records import Configuration, TrialKind, TrialRecord
from autotune.spec.study import StudySpec, study_from
from tests.support.records import record

SPEC = study_from({"name": "sample"}, where="test")
BESIDE = ("ttft_loaded_p50_ns", "goodput_requests_per_s", "revisit_total_tokens_per_s")
PLAIN = {
    "output_tokens_per_s": 700.0,
    "ttft_8k_ns": 2.5e9,
    "context_capacity_tokens": 70_000.0,
    "requests_per_s": 5.0,
    "ttft_loaded_p50_ns": 2.0e9,
    "goodput_requests_per_s": 1.0,
    "revisit_total_tokens_per_s": 3_400.0,
    "prefix_warm_ttft_ns": 2.0e7,
    "tpot_p50_ns": 4.0e7,
}


def trial(
    number: int, factors: dict[str, float], kind: TrialKind = TrialKind.SEARCH, **asked: int
) -> TrialRecord:
    """A feasible trial whose figures are the default's times these factors."""
    metrics = {tag: value * factors.get(tag, 1.0) for tag, value in PLAIN.items()}
    return record(number, kind=kind, config=Configuration.of(asked), metrics=metrics)


BASELINE = trial(0, {}, TrialKind.BASELINE)
WIDER = {"context_capacity_tokens": 2.3}


def proofs(first: int, factors: dict[str, float], **asked: int) -> list[TrialRecord]:
    """Three trials that prove a configuration."""
    return [trial(first + i, factors, TrialKind.FINALIST, **asked) for i in range(3)]


def chosen(*others: TrialRecord, spec: StudySpec = SPEC) -> Recommendation:
    """What is recommended beside the default."""
    return recommend([BASELINE, *others], spec)


@pytest.mark.parametrize(
    ("tag", "factor"),
    [(BESIDE[0], 3.5), (BESIDE[1], 0.2), (BESIDE[1], 0.0), (BESIDE[2], 0.03)],
)
def test_one_rule_holds_for_one_trial_and_for_proofs(tag: str, factor: float) -> None:
    """Twice the context does not pay for it, in a short study as in a long one."""
    harmed = {**WIDER, tag: factor}
    short = chosen(trial(1, harmed, seqs=64))
    long = chosen(*proofs(1, {}), *proofs(4, harmed, seqs=64))

    assert (short.proved, long.proved) == (False, True)
    assert short.keep_default
    assert long.keep_default


def test_a_smaller_harm_is_served_and_told_where_the_objectives_gain_enough() -> None:
    """40% more, and it is the first that the reason names."""
    found = chosen(trial(1, {**WIDER, BESIDE[0]: 1.4, BESIDE[1]: 0.9}, a=1))

    assert not found.keep_default
    assert "worse beyond the noise: TTFT under load +40.0%, Goodput -10.0%" in found.reason


FP8 = {"output_tokens_per_s": 1.28, "context_capacity_tokens": 2.0, "tpot_p50_ns": 1.59}
"""As an fp8 KV cache did on a card of 11 GiB: twice the streams at once, each of them slower."""


def test_a_large_harm_is_served_where_more_is_gained_and_the_reason_begins_with_it() -> None:
    """1.28 times the throughput and twice the context, for 1.59 times the time per token."""
    found = chosen(trial(1, FP8, fp8=1))

    assert found.configuration.values == {"fp8": 1}
    assert "worse beyond the noise: Time per output token under load +59" in found.reason


def test_who_prefers_throughput_has_little_of_the_context_to_pay_with() -> None:
    """0.25 and a tenth of 0.69 are less than 0.46; logarithms."""
    spec = study_from({"name": "sample", "prefer": "throughput"}, where="test")
    assert chosen(trial(1, FP8, fp8=1), spec=spec).keep_default


def test_one_without_harm_is_taken_where_it_gains_more_than_is_left_of_the_other() -> None:
    """1.75 times the context for nothing is more than 1.28 * 2 / 1.59."""
    harmless = trial(2, {"context_capacity_tokens": 1.75}, a=1)
    assert chosen(trial(1, FP8, fp8=1), harmless).configuration.values == {"a": 1}


def test_a_harm_that_the_noise_can_do_is_none() -> None:
    """The default's own repeats differ by a factor of two in it."""
    noisy = [trial(10 + i, {BESIDE[0]: f}, TrialKind.BASELINE) for i, f in enumerate((0.7, 1.6))]
    assert not chosen(*noisy, trial(1, {**WIDER, BESIDE[0]: 1.7}, a=1)).keep_default


def test_one_that_costs_little_is_taken_before_one_that_gains_more_and_harms() -> None:
    """A third more context without harm."""
    found = chosen(
        trial(1, {**WIDER, BESIDE[1]: 0.2}, seqs=64),
        trial(2, {"context_capacity_tokens": 1.6}, seqs=128),
    )
    assert found.record.number == 2


def test_a_gain_beyond_the_noise_does_not_pay_for_a_large_loss_against_another_one() -> None:
    """1.7% more throughput, thrice each and not by luck, for documents 36 times slower."""
    back = {BESIDE[2]: 36.0}
    faster = {**WIDER, "output_tokens_per_s": 1.017}
    records = [
        *(proofs(1, {})), *proofs(4, faster, fp8=1), *proofs(7, {**WIDER, **back}, fp8=1, offload=8)
    ]  # fmt: skip
    assert chosen(*records).configuration.values == {"fp8": 1, "offload": 8}


def test_what_has_a_setting_that_only_costs_outdoes_nothing() -> None:
    """Documents are back at once, and a prefix cache that was switched off for nothing with it."""
    slower = {"prefix_warm_ttft_ns": 1.3}
    records = [
        trial(1, WIDER, fp8=1),
        trial(2, {**WIDER, **slower, BESIDE[2]: 36.0}, fp8=1, offload=8, prefix=0),
        trial(3, {**WIDER, BESIDE[0]: 3.5}, fp8=1, seqs=64),
        trial(4, {**WIDER, BESIDE[0]: 3.5, **slower}, fp8=1, seqs=64, prefix=0),
    ]
    found = chosen(*records)
    assert found.configuration.values == {"fp8": 1}
    (passed,) = [p for p in found.passed if p.number == 2]
    assert passed.text == "within the noise of it, with prefix: a cost, not shown to help"


def test_what_has_nothing_but_figures_beside_the_objectives_wins_by_none_of_them() -> None:
    """The offload alone gains a little; twice the context does not give way for it."""
    small = {"context_capacity_tokens": 1.25, BESIDE[2]: 36.0}
    records = [*proofs(1, {}), *proofs(4, WIDER, fp8=1), *proofs(7, small, offload=8)]
    assert chosen(*records).configuration.values == {"fp8": 1}


def test_where_the_default_is_no_choice_the_harm_is_told() -> None:
    """Something must be served: the only one that runs, with what it makes worse at the head."""
    broken = trial(1, {**WIDER, BESIDE[1]: 0.2}, seqs=64)
    found = recommend([broken], SPEC)
    assert found.record.number == 1


def test_finalists_are_first_of_all_those_that_may_be_served() -> None:
    """Proofs do not make a large harm smaller."""
    records = [
        BASELINE,
        trial(1, {**WIDER, BESIDE[0]: 3.5}, seqs=64),
        trial(2, {**WIDER, BESIDE[0]: 3.6}, seqs=65),
        trial(3, {"context_capacity_tokens": 1.5}, a=1),
        trial(4, {"context_capacity_tokens": 1.4}, b=1),
    ]
    wanted = [Configuration(), Configuration.of({"a": 1}), Configuration.of({"b": 1})]
    assert list(finalists_of(records, SPEC)) == wanted


@settings(max_examples=60, deadline=None)
@given(data=st.data(), proved=st.booleans())
def test_what_is_recommended_gains_more_than_it_loses_by_a_large_factor(
    data: st.DataObject, proved: bool
) -> None:
    """Whatever a study finds, short or long. The first two are of one probe, the third is not."""
    factor = st.floats(-1.5, 1.5).map(math.exp)
    records = [BASELINE, *(proofs(1, {}) if proved else [])]
    for index in range(data.draw(st.integers(1, 4))):
        factors = {tag: data.draw(factor) for tag in ("context_capacity_tokens", *BESIDE)}
        asked = {"a": index, "b": data.draw(st.integers(0, 1))}
        first = 10 * (index + 1)
        records += proofs(first, factors, **asked) if proved else [trial(first, factors, **asked)]
    found = recommend(records, SPEC)
    lost = {tag: abs(math.log(found.costs.get(tag, 1.0))) for tag in BESIDE}
    large = {tag: harm if harm > math.log(1.5) else 0.0 for tag, harm in lost.items()}
    gain = math.log(found.gains.get("context_capacity_tokens", 1.0))
    assert gain >= max(large[BESIDE[0]], large[BESIDE[1]]) + large[BESIDE[2]]
