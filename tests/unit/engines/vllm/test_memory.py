"""Predicting, screening, learning."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from autotune.engines.model_shape import shape_of
from autotune.engines.vllm.kv_blocks import kv_layout, request_blocks
from autotune.engines.vllm.memory import LEARNED_UNCERTAINTY_BYTES, MemoryModel
from autotune.records import (
    Configuration,
    Failure,
    FailureKind,
    MemoryLedger,
    Outcome,
    OutcomeStatus,
    Scalar,
    TrialKind,
    TrialRecord,
)
from autotune.seams.engine import LaunchContext, Screening
from autotune.seams.telemetry import Hardware
from autotune.units import BYTES_PER_GIB
from tests.support.vllm_contexts import QWEN_1B5, QWEN_7B, QWEN_7B_AWQ, TINY, context

GIB = BYTES_PER_GIB
SEVEN = context(QWEN_7B)
FOUR_BIT = context(QWEN_7B_AWQ)


def screened(values: Mapping[str, Scalar], start: LaunchContext, model: MemoryModel | None = None
             ) -> Screening:  # fmt: skip
    """What the model says of a configuration."""
    return (model or MemoryModel()).screen(Configuration.of(values), start)


def refused(values: Mapping[str, Scalar], start: LaunchContext) -> Failure:
    """The failure of one that must be screened."""
    failure = screened(values, start).failure
    assert failure is not None
    assert failure.kind is FailureKind.WOULD_NOT_FIT
    assert failure.phase == "screening"
    return failure


def record(
    screening: Screening, kv_gib: float | None, metrics: Mapping[str, float] | None = None
) -> TrialRecord:
    """A trial whose ledger says so much KV memory."""
    return TrialRecord(
        study="s",
        number=0,
        kind=TrialKind.SEARCH,
        configuration=Configuration(),
        outcome=Outcome(status=OutcomeStatus.MEASURED),
        metrics=metrics or {},
        ledger=None if kv_gib is None else MemoryLedger(kv_cache_gib=kv_gib),
        predicted=screening.predicted,
    )


def test_what_is_predicted_carries_its_keys() -> None:
    """Those of the seam, and the terms behind them, for learning."""
    predicted = screened({}, FOUR_BIT).predicted
    assert {"kv_cache_tokens", "kv_cache_bytes", "weights_bytes", "gpu_memory_bytes",
            "host_memory_bytes", "shm_bytes"} <= set(predicted)  # fmt: skip
    assert all(isinstance(value, float) for value in predicted.values())


def test_the_terms_add_up_to_the_share() -> None:
    """KV memory is what is left of the share, and the whole is less than the card."""
    p = MemoryModel().predict(Configuration.of({"gpu_memory_utilization": 0.9}), FOUR_BIT)
    assert p.gpu_total_bytes is not None
    assert p.kv_bytes == pytest.approx(0.9 * p.gpu_total_bytes - p.terms.budgeted)
    assert p.gpu_bytes is not None
    assert p.gpu_bytes < p.gpu_total_bytes + p.reserve_bytes


def test_weights_of_7b_in_bf16_do_not_fit_12_gb() -> None:
    """15.2 GB of parameters; no length would help."""
    failure = refused({}, SEVEN)
    assert failure.margin_gib is not None
    assert failure.margin_gib < -3
    assert failure.repair == {}


def test_known_weight_files_replace_the_estimate() -> None:
    """A model that is smaller on disk than its config suggests is believed."""
    small = replace(SEVEN, model=replace(SEVEN.model, weights_bytes=4 * GIB))
    assert screened({}, small).failure is None


def test_a_length_that_cannot_fit_gets_the_length_that_does() -> None:
    """1 GiB of KV memory holds 18,720 tokens of the 7B shape at 56 KiB each."""
    values: dict[str, Scalar] = {"kv_cache_memory_gib": 1.0, "max_model_len": 32_768}
    failure = refused(values, FOUR_BIT)
    assert failure.needed_gib == pytest.approx(1.75)
    assert failure.available_gib == pytest.approx(1.0)
    assert failure.margin_gib == pytest.approx(-0.75)
    repaired = failure.repair["max_model_len"]
    assert repaired == GIB // (28 * 4 * 128 * 2 * 2) // 16 * 16
    assert screened({**values, **failure.repair}, FOUR_BIT).failure is None


def test_fp8_halves_what_a_token_needs() -> None:
    """The same 1 GiB then holds 32,768 tokens."""
    values: dict[str, Scalar] = {"kv_cache_memory_gib": 1.0, "max_model_len": 32_768}
    assert screened({**values, "kv_cache_dtype": "fp8"}, FOUR_BIT).failure is None


def test_fixed_arguments_are_part_of_what_is_screened() -> None:
    """A length that the study fixes counts like one that it searches."""
    start = replace(FOUR_BIT, fixed_arguments=("--max-model-len", "32768"))
    assert refused({"kv_cache_memory_gib": 1.0}, start).needed_gib == pytest.approx(1.75)


def test_a_length_left_to_the_engine_is_never_too_long() -> None:
    """It fits it to the memory itself."""
    auto: dict[str, Scalar] = {"kv_cache_memory_gib": 1.0, "max_model_len": "auto"}
    screening = screened(auto, FOUR_BIT)
    assert screening.failure is None
    assert screening.predicted["kv_cache_tokens"] == pytest.approx(GIB / 57_344, rel=0.001)


def test_kv_memory_asked_for_above_the_card_is_screened() -> None:
    """5.2 GiB of weights and 8 GiB of KV memory on 11.6 GiB; the share does not matter then."""
    failure = refused({"kv_cache_memory_gib": 8}, FOUR_BIT)
    assert failure.repair == {}
    assert screened({"kv_cache_memory_gib": 4, "gpu_memory_utilization": 0.1},
                    FOUR_BIT).failure is None  # fmt: skip


def test_a_share_that_leaves_no_room_for_the_context_is_screened() -> None:
    """It is held against what is free once its own context is there, from 0.9.2 on."""
    all_of_it: dict[str, Scalar] = {"gpu_memory_utilization": 0.99, "max_model_len": 4096}
    failure = refused(all_of_it, FOUR_BIT)
    assert failure.repair == {"gpu_memory_utilization": 0.98}
    assert failure.margin_gib is not None
    assert -0.1 < failure.margin_gib < 0
    assert screened({**all_of_it, **failure.repair}, FOUR_BIT).failure is None
    assert screened(all_of_it, context(QWEN_7B_AWQ, release="0.8.5")).failure is None


def test_what_lies_within_the_uncertainty_is_started() -> None:
    """A margin that is negative by less than the uncertainty is no verdict."""
    prediction = MemoryModel().predict(Configuration(), FOUR_BIT)
    assert prediction.kv_bytes is not None
    short = int((prediction.kv_bytes + 0.5 * prediction.kv_uncertainty_bytes) // 57_344)
    long = int((prediction.kv_bytes + 1.5 * prediction.kv_uncertainty_bytes) // 57_344)
    big = context({**QWEN_7B_AWQ, "max_position_embeddings": 1 << 20})
    within = screened({"max_model_len": short}, big)
    assert within.failure is None
    assert within.gpu_margin_gib is not None
    assert within.gpu_margin_gib < 0
    assert screened({"max_model_len": long}, big).failure is not None


def test_margins_are_signed() -> None:
    """Positive where there is room, None where there is no GPU to speak of."""
    roomy = screened({"max_model_len": 4096, "gpu_memory_utilization": 0.8}, FOUR_BIT)
    assert roomy.gpu_margin_gib is not None
    assert roomy.gpu_margin_gib > 1
    tight = refused({}, SEVEN)
    assert tight.margin_gib is not None
    assert tight.margin_gib < 0
    nowhere = replace(FOUR_BIT, hardware=Hardware())
    assert screened({}, nowhere).gpu_margin_gib is None
    assert screened({}, nowhere).failure is None


def test_a_model_that_cannot_be_sized_is_never_screened() -> None:
    """The engine itself will say what it thinks of it."""
    start = replace(FOUR_BIT, model=replace(FOUR_BIT.model, config={"model_type": "odd"}))
    screening = screened({}, start)
    assert screening.failure is None
    assert screening.predicted == {}


def test_graphs_are_in_the_share_from_020_on() -> None:
    """The same share leaves less KV memory (envs.py), and the default share is larger."""
    share: dict[str, Scalar] = {"gpu_memory_utilization": 0.9}
    old, new = (
        MemoryModel().predict(Configuration.of(share), context(QWEN_7B_AWQ, release=release)).terms
        for release in ("0.17.1", "0.20.2")
    )
    assert old.graphs_budgeted == 0
    assert new.graphs_budgeted > 0
    own = new.weights + new.activation + new.non_torch
    assert new.budgeted == pytest.approx(own + new.graphs_budgeted)


def test_eager_has_no_graphs() -> None:
    """And more KV memory for it and for what trying them leaves, where graphs are in the share."""
    eager: dict[str, Scalar] = {"enforce_eager": True}
    plain, without = screened({}, FOUR_BIT).predicted, screened(eager, FOUR_BIT).predicted
    assert without["graphs_bytes"] == 0
    assert without["kv_cache_bytes"] == pytest.approx(
        plain["kv_cache_bytes"]
        + MemoryModel().predict(Configuration(), FOUR_BIT).terms.graphs_budgeted
        + (plain["non_torch_bytes"] - without["non_torch_bytes"])
    )


def test_activations_grow_with_the_step() -> None:
    """A budget of 32,768 tokens costs more than one of 2048."""
    small, large = (
        screened({"max_num_batched_tokens": tokens}, FOUR_BIT).predicted["activation_bytes"]
        for tokens in (2048, 32_768)
    )
    assert large > 4 * small


def test_two_ranks_share_weights_and_kv() -> None:
    """One rank's part of a 7B model in bf16 fits 12 GB."""
    assert screened({"tensor_parallel_size": 2, "max_model_len": 4096}, SEVEN).failure is None


def test_the_driver_s_memory_is_not_cuda_s() -> None:
    """Except under WSL2, where CUDA sees all of it."""
    plain = MemoryModel().predict(Configuration(), FOUR_BIT)
    wsl = MemoryModel().predict(Configuration(), context(QWEN_7B_AWQ, is_wsl=True))
    assert plain.gpu_total_bytes is not None
    assert wsl.gpu_total_bytes is not None
    assert wsl.gpu_total_bytes - plain.gpu_total_bytes == pytest.approx(0.38 * GIB, rel=0.01)


def test_one_trial_corrects_the_next_prediction() -> None:
    """By the difference of its ledger, for every share."""
    model = MemoryModel()
    before = screened({"gpu_memory_utilization": 0.9}, FOUR_BIT, model)
    seen = before.predicted["kv_cache_bytes"] / GIB - 0.4
    model.learn(record(before, seen))
    after = model.predict(Configuration.of({"gpu_memory_utilization": 0.9}), FOUR_BIT)
    assert after.kv_bytes == pytest.approx(seen * GIB)
    assert after.kv_uncertainty_bytes == LEARNED_UNCERTAINTY_BYTES
    other = {"gpu_memory_utilization": 0.7}
    raw = screened(other, FOUR_BIT).predicted["kv_cache_bytes"]
    assert screened(other, FOUR_BIT, model).predicted["kv_cache_bytes"] == pytest.approx(
        raw - 0.4 * GIB
    )


def test_a_second_trial_does_not_count_the_first_correction_twice() -> None:
    """Records carry what was added to them."""
    model = MemoryModel()
    first = screened({}, FOUR_BIT, model)
    truth = first.predicted["kv_cache_bytes"] / GIB - 0.3
    for _ in range(4):
        model.learn(record(screened({}, FOUR_BIT, model), truth))
    assert screened({}, FOUR_BIT, model).predicted["kv_cache_bytes"] == pytest.approx(truth * GIB)


def test_the_middle_of_three_trials_counts() -> None:
    """One odd start among them does not move the model."""
    model = MemoryModel()
    base = screened({}, FOUR_BIT, model)
    for off in (-0.1, -3.0, -0.12):
        model.learn(record(base, base.predicted["kv_cache_bytes"] / GIB + off))
    after = screened({}, FOUR_BIT, model).predicted["kv_cache_bytes"]
    assert after == pytest.approx(base.predicted["kv_cache_bytes"] - 0.12 * GIB)


def test_the_second_runner_counts_tokens_for_each_sequence() -> None:
    """32 bit and one for each token of the vocabulary; in the budget from 0.27.0 on."""
    state = 256 * 152_064 * (4 + 1 / 8)
    p = MemoryModel().predict(Configuration(), FOUR_BIT)
    assert p.terms.sampler_state == pytest.approx(state)
    earlier = MemoryModel().predict(Configuration(), context(QWEN_7B_AWQ, release="0.26.0"))
    assert earlier.terms.sampler_state == pytest.approx(state)
    assert p.terms.sampler_state_budgeted
    assert not earlier.terms.sampler_state_budgeted
    first = context(QWEN_7B_AWQ, env={"VLLM_USE_V2_MODEL_RUNNER": "0"})
    assert MemoryModel().predict(Configuration(), first).terms.sampler_state == 0
    old = context(QWEN_7B_AWQ, release="0.24.0")
    assert MemoryModel().predict(Configuration(), old).terms.sampler_state == 0


def test_trials_without_a_ledger_or_a_prediction_teach_nothing() -> None:
    """A crash, another engine's record, a CPU start, KV memory that was asked for directly."""
    model = MemoryModel()
    base = screened({}, FOUR_BIT, model)
    model.learn(record(base, None))
    model.learn(replace(record(base, 1.0), predicted={}))
    model.learn(replace(record(base, 1.0), predicted={"kv_cache_bytes": 1.0}))
    fixed = screened({"kv_cache_memory_gib": 2}, FOUR_BIT, model)
    model.learn(record(fixed, 2.0))
    assert screened({}, FOUR_BIT, model) == base


def test_the_cpu_s_kv_memory_is_what_was_asked_for() -> None:
    """1 GiB holds 2,097,152 tokens of a two-layer model; 32-bit weights are cast to 16."""
    cpu = context(TINY, platform="cpu", release="0.32.0", env={"VLLM_CPU_KVCACHE_SPACE": "1"})
    screening = screened({}, cpu)
    assert screening.failure is None
    assert screening.predicted["kv_cache_tokens"] == 2_097_152
    assert screening.gpu_margin_gib is None
    assert screening.host_margin_gib is not None
    assert screening.host_margin_gib > 80


def test_more_kv_memory_than_the_host_has_is_screened_on_the_cpu() -> None:
    """400 GiB on a host of 24: the CPU engine refuses it too."""
    cpu = context(TINY, platform="cpu", release="0.32.0", host_gib=24)
    failure = refused({"cpu_kv_cache_gib": 400}, cpu)
    assert failure.available_gib == pytest.approx(24.0)
    assert failure.margin_gib == pytest.approx(-376.0, abs=0.1)
    assert screened({"cpu_kv_cache_gib": 8}, cpu).failure is None


def test_needed_kv_memory_is_vllm_s() -> None:
    """Blocks of one longest request times the bytes of a block."""
    prediction = MemoryModel().predict(Configuration.of({"max_model_len": 1000}), context(QWEN_1B5))
    layout = kv_layout(shape_of(context(QWEN_1B5).model), kv_cache_dtype="auto", block_tokens=16)
    assert prediction.kv_needed_bytes == 63 * layout.block_bytes
    assert request_blocks(layout, 1000, batch_tokens=2048) == 63
