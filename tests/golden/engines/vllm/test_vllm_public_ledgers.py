"""The memory model against what real starts have printed.

Before any trial the KV memory is to be within 10%, after one trial on the card within 3%, of starts
that found their compile cache and of those that did not. Where next to nothing is left a percentage
says nothing: there the bounds are absolute.
"""

import pytest

from autotune.engines.model_shape import shape_of
from autotune.engines.vllm.kv_blocks import kv_layout, kv_tokens
from autotune.engines.vllm.memory import MemoryModel
from autotune.engines.vllm.releases import parse_release
from autotune.records import FailureKind
from autotune.units import BYTES_PER_GIB, BYTES_PER_MIB
from tests.support.vllm_ledgers import Start, content, facts, machines, starts

LITTLE_GIB = 0.1
"""Starts with less KV memory than this, or none, were refused for it."""
ALIKE = [s for s in starts() if s.unlike is None]
COLD = [s for s in ALIKE if s.is_cold]
ROOMY = [s for s in ALIKE if s.kv_gib > LITTLE_GIB]
PAIRS = [
    (first, second)
    for machine in machines()
    for first in machine
    for second in machine
    if first is not second and first.failure is None and not {first.unlike, second.unlike} - {None}
]
"""Any two starts on one card of which the first succeeded, cold and warm ones mixed."""


def named(start: Start) -> str:
    """For a test's id."""
    return start.name


def predicted_gib(start: Start, model: MemoryModel) -> float:
    """KV memory that the model expects."""
    return model.screen(start.configuration, start.context).predicted["kv_cache_bytes"] / (
        BYTES_PER_GIB
    )


def test_there_are_ledgers_of_many_cards() -> None:
    """From 4 to 46 GB, nine models, releases from 0.11 to 0.29."""
    assert len({s.card for s in starts()}) >= 12
    assert len({s.context.model.name for s in ALIKE}) >= 9
    assert len(ALIKE) - len(COLD) >= 12
    assert len(COLD) >= 13
    assert len(PAIRS) >= 46


@pytest.mark.parametrize("start", ROOMY, ids=named)
def test_before_any_trial_kv_memory_is_within_a_tenth(start: Start) -> None:
    """Compile cache there or empty, which is told by the folder."""
    assert predicted_gib(start, MemoryModel()) == pytest.approx(start.kv_gib, rel=0.10)


@pytest.mark.parametrize("start", [s for s in ALIKE if s not in ROOMY], ids=named)
def test_where_nothing_is_left_the_prediction_is_within_a_tenth_of_a_gib(start: Start) -> None:
    """0.07 and -0.45 GiB."""
    prediction = MemoryModel().predict(start.configuration, start.context)
    assert prediction.kv_bytes is not None
    assert prediction.kv_bytes / BYTES_PER_GIB == pytest.approx(start.kv_gib, abs=0.1)


@pytest.mark.parametrize("start", [s for s in starts() if s.failure is None], ids=named)
def test_what_started_is_never_screened(start: Start) -> None:
    """Conservative: the estimate's whole uncertainty is on the configuration's side."""
    assert MemoryModel().screen(start.configuration, start.context).failure is None


def test_a_length_that_was_refused_is_screened_where_it_is_certain() -> None:
    """14B at half a 24 GB card: 3.0 GiB for one request of 16,384 tokens were not there."""
    refused = [s for s in starts() if s.failure is FailureKind.KV_TOO_SMALL and not s.is_cold]
    assert refused
    for start in refused:
        failure = MemoryModel().screen(start.configuration, start.context).failure
        assert failure is not None
        assert failure.kind is FailureKind.WOULD_NOT_FIT
        assert failure.needed_gib == pytest.approx(3.0, abs=0.005)
        assert failure.margin_gib is not None
        assert failure.margin_gib < 0


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=named)
def test_after_one_trial_kv_memory_is_within_three_hundredths(first: Start, second: Start) -> None:
    """What one start on the card taught, applied to another one; 0.06 GiB where little is left."""
    model = MemoryModel()
    screening = model.screen(first.configuration, first.context)
    model.learn(first.record(screening.predicted))
    found = model.predict(second.configuration, second.context).kv_bytes
    assert found is not None
    assert found / BYTES_PER_GIB == pytest.approx(second.kv_gib, rel=0.03, abs=0.06)


@pytest.mark.parametrize("start", [s for s in starts() if s.weights_gib], ids=named)
def test_weights_are_within_six_mebibytes(start: Start) -> None:
    """From config.json alone, against "Model loading took"; most logs have two decimals."""
    assert start.weights_gib is not None
    terms = MemoryModel().predict(start.configuration, start.context).terms
    assert terms.weights / BYTES_PER_GIB == pytest.approx(start.weights_gib, abs=0.006)


def test_the_published_peak_under_load_is_within_a_twentieth() -> None:
    """3B in 16 bit on a T4 with 0.31.0, which is no H100."""
    (start,) = (s for s in starts() if s.peak_mib is not None)
    assert start.peak_mib is not None
    found = MemoryModel().predict(start.configuration, start.context).gpu_bytes
    assert found == pytest.approx(start.peak_mib * BYTES_PER_MIB, rel=0.05)


TOLD = [
    pytest.param(
        start.context.model.name,
        start.context.capabilities.release,
        start.kv_gib,
        int(str(start.configuration.get("max_model_len") or 0)),
        start.kv_tokens,
        id=named(start),
    )
    for start in starts()
    if start.kv_tokens is not None
]
ALONE = [
    pytest.param(c["model"], c["release"], c["kv_gib"], c["max_model_len"], c["kv_tokens"],
                 id=f"{c['model']} {c['kv_tokens']}")
    for c in content()["arithmetic"]
    if "kv_gib" in c and "gpus" not in c
]  # fmt: skip


@pytest.mark.parametrize(("model", "release", "kv_gib", "length", "tokens"), [*TOLD, *ALONE])
def test_tokens_follow_from_kv_memory(
    model: str, release: str, kv_gib: float, length: int, tokens: int
) -> None:
    """As exactly as two decimals of GiB allow."""
    shape = shape_of(facts(model))
    layout = kv_layout(shape, kv_cache_dtype="auto", block_tokens=16)
    low, high = (
        kv_tokens(
            layout,
            (kv_gib + off) * BYTES_PER_GIB,
            release=parse_release(release),
            max_model_len_tokens=length or shape.max_position_tokens,
            batch_tokens=2048,
        )
        for off in (-0.0051, 0.0051)
    )
    assert low <= tokens <= high


@pytest.mark.parametrize("case", [c for c in content()["arithmetic"] if "kv_bytes" in c])
def test_tokens_are_exact_where_the_bytes_are(case: dict[str, int | str]) -> None:
    """2 GiB asked for with --kv-cache-memory-bytes."""
    layout = kv_layout(
        shape_of(facts(str(case["model"]))),
        kv_cache_dtype=str(case.get("kv_cache_dtype", "auto")),
        block_tokens=16,
    )
    tokens = kv_tokens(
        layout,
        float(case["kv_bytes"]),
        release=parse_release(str(case["release"])),
        max_model_len_tokens=int(case["max_model_len"]),
        batch_tokens=2048,
    )
    assert tokens == case["kv_tokens"]


def test_a_rank_of_two_holds_half_of_the_heads() -> None:
    """32B on two cards: 7.71 GiB on each were 3,947 blocks."""
    case = next(c for c in content()["arithmetic"] if "gpus" in c)
    layout = kv_layout(
        shape_of(facts(case["model"])), kv_cache_dtype="auto", block_tokens=16, gpus=case["gpus"]
    )
    assert 3947 * layout.block_bytes / BYTES_PER_GIB == pytest.approx(case["kv_gib"], abs=0.005)
