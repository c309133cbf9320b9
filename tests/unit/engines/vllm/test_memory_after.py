"""What appears on the card once KV memory is fixed."""

import pytest

from autotune.engines.vllm.memory import MemoryModel
from autotune.records import Configuration, Scalar
from autotune.units import BYTES_PER_MIB
from tests.support.vllm_contexts import QWEN_7B, context


def gpu_mib(**values: Scalar) -> float:
    """In use by a server of 7B with 2 GiB of KV cache."""
    asked = Configuration.of({"kv_cache_memory_gib": 2, **values})
    found = MemoryModel().predict(asked, context(QWEN_7B)).gpu_bytes
    assert found is not None
    return found / BYTES_PER_MIB


@pytest.mark.parametrize(
    ("step_tokens", "workspace_mib"),
    [(2048, 394.0), (16_384, 16_384 * 28 * 128 * 16 / 2**20)],
)
def test_flashinfer_s_workspace_grows_with_a_long_step(
    step_tokens: int, workspace_mib: float
) -> None:
    """394 MiB by default; 896 for 16,384 tokens of 28 heads of 128."""
    sizes = [
        gpu_mib(max_num_batched_tokens=step_tokens, attention_backend=backend)
        for backend in ("FLASHINFER", "FLASH_ATTN")
    ]
    plans_mib = 35 * 8  # of the decode graphs for 256 sequences
    assert sizes[0] - sizes[1] == pytest.approx(workspace_mib + plans_mib)
