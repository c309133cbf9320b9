"""Peaks of a step against "GiB for peak activation" in logs of 0.26.0."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from autotune.engines.vllm.memory import MemoryModel
from autotune.engines.vllm.memory_terms import Terms
from autotune.records import Configuration
from autotune.seams.telemetry import Gpu, Hardware
from autotune.units import BYTES_PER_GIB
from tests.support.vllm_contexts import QWEN_1B5, QWEN_7B_AWQ, context
from tests.support.vllm_ledgers import facts

QWEN_0B5 = facts("Qwen/Qwen2.5-0.5B-Instruct").config


def terms(config: Mapping[str, Any], tokens: int, seqs: int, *, hopper: bool = True) -> Terms:
    """What a start on an H100, or on a small card, takes."""
    start = context(config, release="0.26.0")
    gpu = Gpu(index=0, name="H100", memory_bytes=85_520_809_984, compute_capability=(9, 0))
    if hopper:
        start = replace(start, hardware=Hardware(gpus=(gpu,), host_memory_bytes=1 << 38))
    asked = Configuration.of({"max_num_batched_tokens": tokens, "max_num_seqs": seqs})
    return MemoryModel().predict(asked, start).terms


@pytest.mark.parametrize(
    ("config", "tokens", "seqs", "said_gib"),
    [
        (QWEN_1B5, 8192, 1024, 0.51),
        (QWEN_1B5, 8192, 128, 0.51),
        (QWEN_7B_AWQ, 2048, 64, 0.26),
        (QWEN_7B_AWQ, 4096, 64, 0.52),
        (QWEN_7B_AWQ, 2048, 1024, 0.34),  # the logits of 1,024 sequences
    ],
)
def test_the_profile_of_a_step_is_the_log_s(
    config: Mapping[str, Any], tokens: int, seqs: int, said_gib: float
) -> None:
    """On an H100, compile cache there."""
    found = terms(config, tokens, seqs).activation / BYTES_PER_GIB
    assert found == pytest.approx(said_gib, abs=0.0051)


def test_a_small_card_has_less_workspace() -> None:
    """16 GB, 0.5B in steps of 32,768 tokens: 1.06 GiB."""
    found = terms(QWEN_0B5, 32_768, 256, hopper=False).activation / BYTES_PER_GIB
    assert found == pytest.approx(1.06, abs=0.0051)


def test_under_load_a_full_batch_has_a_copy_of_its_logits() -> None:
    """Twice 297 MiB for 1,024 sequences of 7B; a long step is more than a few sequences' logits."""
    many, few = terms(QWEN_7B_AWQ, 2048, 1024), terms(QWEN_7B_AWQ, 2048, 64)
    copies = 2 * 1024 * 152_064 * 2
    assert many.activation_under_load == pytest.approx(copies, rel=0.06)
    assert many.activation_under_load > many.activation
    assert few.activation_under_load == few.activation
