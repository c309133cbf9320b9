"""The memory model and the compile cache."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.engines.vllm.compile_cache import COLD_COMPILE_NS
from autotune.engines.vllm.memory import LEARNED_UNCERTAINTY_BYTES, MemoryModel
from autotune.records import (
    Configuration,
    MemoryLedger,
    Outcome,
    OutcomeStatus,
    Scalar,
    TrialKind,
    TrialRecord,
)
from autotune.seams.engine import LaunchContext, Screening
from autotune.units import BYTES_PER_GIB
from tests.support.vllm_contexts import QWEN_7B, QWEN_7B_AWQ, context

GIB = BYTES_PER_GIB
FOUR_BIT = context(QWEN_7B_AWQ)


def screened(
    values: Mapping[str, Scalar], start: LaunchContext, model: MemoryModel | None = None
) -> Screening:
    """What the model says of a configuration."""
    return (model or MemoryModel()).screen(Configuration.of(values), start)


def record(screening: Screening, kv_gib: float, compile_ns: float) -> TrialRecord:
    """A trial whose ledger says so much KV memory and whose log so long a compilation."""
    return TrialRecord(
        study="s",
        number=0,
        kind=TrialKind.SEARCH,
        configuration=Configuration(),
        outcome=Outcome(status=OutcomeStatus.MEASURED),
        metrics={"startup_compile_ns": compile_ns},
        ledger=MemoryLedger(kv_cache_gib=kv_gib),
        predicted=screening.predicted,
    )


def test_a_start_with_an_empty_compile_cache_has_less(tmp_path: Path) -> None:
    """By the copy of the embedding that is made while it compiles, beyond the peak of a step."""
    warm = MemoryModel().predict(Configuration(), FOUR_BIT)
    cold = MemoryModel().predict(Configuration(), replace(FOUR_BIT, cache_dir=tmp_path))
    assert warm.kv_bytes is not None
    assert cold.kv_bytes is not None
    copy = 152_064 * 3_584 * 2
    step = 2 * 2_048 * 3_584 * 2
    logits = 256 * 152_064 * 2 + (2_048 + 256) * 3_584 * 2 + 8.125 * 2**20
    peak = max(logits, 2_048 * (3 * 3_584 + 3 * 18_944) * 2)
    assert warm.kv_bytes - cold.kv_bytes == pytest.approx(copy + step - peak)
    assert cold.kv_bytes + cold.kv_uncertainty_bytes == pytest.approx(
        warm.kv_bytes + warm.kv_uncertainty_bytes
    )


def test_both_a_first_and_a_later_start_are_told(tmp_path: Path) -> None:
    """Whatever the cache holds now; the expected one of them is the prediction."""
    found = screened({}, replace(FOUR_BIT, cache_dir=tmp_path)).predicted
    warm = screened({}, FOUR_BIT).predicted
    both = [f"kv_cache_tokens_{which}_start" for which in ("first", "later")]
    assert [found[name] for name in both] == [warm[name] for name in both]
    assert [found[name] for name in both] == [found["kv_cache_tokens"], warm["kv_cache_tokens"]]
    lost = (found[both[1]] - found[both[0]]) * 28 * 2 * 4 * 128 * 2
    assert lost == pytest.approx(found["cold_bytes"], rel=0.01)
    asked = screened({"kv_cache_memory_gib": 2}, FOUR_BIT).predicted
    assert not set(both) & set(asked)


@pytest.mark.parametrize(
    ("release", "values"),
    [("0.11.0", {}), ("0.33.0", {"enforce_eager": True}), ("0.33.0", {"optimization_level": 0})],
)
def test_where_nothing_is_tried_out_an_empty_cache_costs_nothing(
    tmp_path: Path, release: str, values: dict[str, Scalar]
) -> None:
    """Without the comparison of kernels, and without compiling."""
    start = context(QWEN_7B_AWQ, release=release)
    cold = screened(values, replace(start, cache_dir=tmp_path)).predicted
    assert cold["kv_cache_bytes"] == screened(values, start).predicted["kv_cache_bytes"]


def test_the_copy_stays_where_ledgers_show_it() -> None:
    """Unquantized models of 0.28.0, the first runner of 0.29.0; not with the limit of 0.31.0."""
    copy = 152_064 * 3_584 * 2

    def cold(release: str, config: Mapping[str, object], env: Mapping[str, str]) -> float:
        start = context(config, release=release, gpu_mib=49_152, env=env)
        return screened({}, start).predicted["cold_bytes"]

    base = cold("0.28.0", QWEN_7B_AWQ, {})
    assert cold("0.28.0", QWEN_7B, {}) == pytest.approx(base + copy, rel=0.01)
    assert cold("0.29.0", QWEN_7B, {}) == pytest.approx(base, rel=0.02)
    first_runner = cold("0.29.0", QWEN_7B_AWQ, {"VLLM_USE_V2_MODEL_RUNNER": "0"})
    assert first_runner > copy
    assert cold("0.31.0", QWEN_7B, {"VLLM_USE_V2_MODEL_RUNNER": "0"}) < copy


def test_what_a_cold_start_taught_corrects_warm_ones_but_a_little() -> None:
    """Most of its difference may be that of compiling; the next cold start has all of it."""
    model = MemoryModel()
    base = screened({}, FOUR_BIT, model)
    expected = base.predicted["kv_cache_bytes"]
    compiled = expected - base.predicted["cold_bytes"]
    model.learn(record(base, (compiled - 0.9 * GIB) / GIB, 2.0 * COLD_COMPILE_NS))
    after = model.predict(Configuration(), FOUR_BIT)
    assert after.kv_bytes == pytest.approx(expected - LEARNED_UNCERTAINTY_BYTES)
    assert after.kv_uncertainty_bytes > LEARNED_UNCERTAINTY_BYTES
    model.learn(record(base, expected / GIB - 0.05, 3e9))
    warm = model.predict(Configuration(), FOUR_BIT)
    assert warm.kv_bytes == pytest.approx(expected - 0.05 * GIB)
    assert warm.kv_uncertainty_bytes == LEARNED_UNCERTAINTY_BYTES


def test_a_cold_start_corrects_the_next_cold_one(tmp_path: Path) -> None:
    """With all of its difference."""
    model, empty = MemoryModel(), replace(FOUR_BIT, cache_dir=tmp_path)
    base = screened({}, empty, model)
    seen = base.predicted["kv_cache_bytes"] / GIB - 0.5
    model.learn(record(base, seen, 2.0 * COLD_COMPILE_NS))
    after = screened({}, empty, model).predicted
    assert after["kv_cache_bytes"] == pytest.approx(seen * GIB)
