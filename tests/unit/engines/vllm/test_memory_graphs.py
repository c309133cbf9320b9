"""CUDA graphs: their number and what they take."""

from dataclasses import replace

import pytest

from autotune.engines.vllm.memory import MemoryModel
from autotune.engines.vllm.memory_graphs import captured, largest_step
from autotune.engines.vllm.memory_prediction import Prediction
from autotune.records import Configuration, Scalar
from autotune.seams.engine import LaunchContext
from autotune.seams.telemetry import Gpu, Hardware
from autotune.units import BYTES_PER_MIB
from tests.support.vllm_contexts import QWEN_1B5, QWEN_7B_AWQ, context


def on_hopper(start: LaunchContext) -> LaunchContext:
    """The same on an H100."""
    gpu = Gpu(index=0, name="H100", memory_bytes=85_520_809_984, compute_capability=(9, 0))
    return replace(start, hardware=Hardware(gpus=(gpu,), host_memory_bytes=1 << 38))


def predicted(start: LaunchContext, **values: Scalar) -> Prediction:
    """What a start is expected to take."""
    return MemoryModel().predict(Configuration.of(values), start)


@pytest.mark.parametrize(
    ("seqs", "graphs"),
    [(1, (2, 1)), (8, (5, 4)), (64, (19, 11)), (128, (35, 19)), (256, (51, 35)), (1024, (51, 51))],
)
def test_graphs_are_counted_as_the_log_counts_them(seqs: int, graphs: tuple[int, int]) -> None:
    """Mixed and decode captures (logs of 0.11 to 0.26); 1,024 sequences have 102 in all."""
    assert captured(predicted(context(), max_num_seqs=seqs).settings) == graphs


def test_a_short_step_is_the_largest_that_is_captured() -> None:
    """256 tokens in a step leave no graph of 512."""
    settings = predicted(context(), max_num_batched_tokens=256, max_num_seqs=256).settings
    assert largest_step(settings) == 256
    assert captured(settings) == (35, 35)


def test_eager_captures_nothing() -> None:
    """And takes nothing for it."""
    p = predicted(context(), enforce_eager=True)
    assert captured(p.settings) == (0, 0)
    assert p.terms.graphs == 0


def test_flashinfer_has_a_wrapper_for_each_decode_graph() -> None:
    """8 MiB each, 11 of them for 64 sequences, where FlashAttention 3 has partial results."""
    start = on_hopper(context(QWEN_7B_AWQ, release="0.26.0"))
    plain, other = (
        predicted(start, max_num_seqs=64, attention_backend=backend).terms.graphs
        for backend in ("TRITON_ATTN", "FLASHINFER")
    )
    assert other - plain == 11 * 8 * BYTES_PER_MIB


def test_flash_attention_3_keeps_partial_results_of_every_sequence() -> None:
    """32 parts of 12 heads of 128 and a sum, in 32 bit: 97 MiB for 512 sequences of 1.5B."""
    start = on_hopper(context(QWEN_1B5, release="0.26.0"))
    plain, own = (
        predicted(start, attention_backend=backend).terms.graphs
        for backend in ("TRITON_ATTN", "FLASH_ATTN")
    )
    assert own - plain == 32 * 512 * 12 * 129 * 4
    other_card = context(QWEN_1B5, release="0.26.0")
    assert len({
        predicted(other_card, attention_backend=backend).terms.graphs
        for backend in ("TRITON_ATTN", "FLASH_ATTN")
    }) == 1  # fmt: skip
