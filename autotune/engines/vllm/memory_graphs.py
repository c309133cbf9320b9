"""CUDA graphs: how many are captured, and what they take of the GPU."""

from typing import Final

from autotune.engines.model_shape import ModelShape
from autotune.engines.vllm.memory_settings import MemorySettings
from autotune.engines.vllm.memory_steps import blas_bytes, step_bytes
from autotune.engines.vllm.releases import Release
from autotune.units import BYTES_PER_MIB

GRAPHS_MEASURED_FIRST: Final = Release(0, 18, 0)
"""From here on trial graphs are captured while profiling. What the driver keeps of them counts
as memory in use even where the estimate is not yet part of the budget."""

GRAPHS_BUDGETED_FIRST: Final = Release(0, 20, 0)
"""From here on VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS is on (envs.py)."""

SECOND_RUNNER_GRAPHS_FIRST: Final = Release(0, 29, 0)
"""Before, the second model runner's estimate of its graphs is 0 (v1/worker/gpu/model_runner.py).
0.28.0 and 0.30.0 were read."""

BYTES_PER_LAYER: Final = round(0.19 * BYTES_PER_MIB)
"""One CUDA graph, per layer: 0.18 to 0.22 MiB in eight logs from 0.11.2 to 0.29.0, 24 to 36 layers
("Graph capturing finished ... took")."""

BUFFER_BYTES: Final = 30
"""Per layer and unit of width, in vLLM's estimate (ledgers of 0.19.1 to 0.29.0)."""

HOPPER_BYTES_PER_LAYER: Final = round(0.105 * BYTES_PER_MIB)
"""The same on an H100, what has a name of its own taken off (below): 0.103 to 0.106 MiB between
54 graphs and 102 of 1.5B and for 102 of 14B (0.26.0)."""

HOPPER_POOL_BYTES: Final = 50 * BYTES_PER_MIB
"""What is left of those three logs beside it: the pools' own."""

HOPPER_QUANTIZED_BYTES_PER_LAYER: Final = round(0.2 * BYTES_PER_MIB)
"""The same of a model whose layers are quantized, pools and all: 0.16 to 0.225 MiB for 18, 30 and
102 graphs of 7B in AWQ, with two attention backends (0.26.0)."""

SPLITS: Final = 32
"""Parts of a sequence that FlashAttention 3 may work on at a time in a captured decode step, each
with a result of its own in 32 bit (config/attention.py: `flash_attn_max_num_splits_for_cuda_graph`;
v1/attention/backends/flash_attn.py)."""

FLASHINFER_BYTES_PER_DECODE: Final = 8 * BYTES_PER_MIB
"""FLASHINFER has a wrapper for each captured decode step, and each takes this for plans
(flashinfer/decode.py: `_int_workspace_buffer`; v1/attention/backends/flashinfer.py:
`_get_decode_wrapper`)."""


def captured(settings: MemorySettings) -> tuple[int, int]:
    """Graphs of mixed and of decode batches.

    Mixed ones up to 2 x sequences, decode ones up to those, neither beyond 512 tokens. Sizes are
    1, 2, 4, then steps of 8 to 256 and of 16 to 512 (config/vllm.py: `_set_cudagraph_sizes`;
    v1/worker/gpu/cudagraph_utils.py: `_init_candidates`).
    """
    if settings.eager:
        return 0, 0
    most = largest_step(settings)
    sizes = [s for s in (1, 2, 4, *range(8, 257, 8), *range(272, 513, 16)) if s <= most]
    return len(sizes), len([size for size in sizes if size <= settings.max_num_seqs])


def largest_step(settings: MemorySettings) -> int:
    """Tokens of the largest step that is captured."""
    return min(2 * settings.max_num_seqs, 512, settings.max_num_batched_tokens)


def graph_bytes(shape: ModelShape, settings: MemorySettings) -> float:
    """What all graphs take ("Graph capturing finished ... took")."""
    if settings.eager:
        return 0.0
    if settings.is_hopper:
        found = _hopper_bytes(shape, settings)
    else:
        found = float(sum(captured(settings)) * shape.layers * BYTES_PER_LAYER)
    if settings.attention_backend == "FLASHINFER":
        found += captured(settings)[1] * FLASHINFER_BYTES_PER_DECODE
    return found


def _hopper_bytes(shape: ModelShape, settings: MemorySettings) -> float:
    """Graphs, the activations of the largest one and FlashAttention's partial results."""
    each, pools = HOPPER_BYTES_PER_LAYER, HOPPER_POOL_BYTES + blas_bytes(shape, settings)
    if shape.quantization:
        each, pools = HOPPER_QUANTIZED_BYTES_PER_LAYER, 0.0
    graphs = sum(captured(settings)) * shape.layers * each
    step = step_bytes(shape, settings, largest_step(settings))
    return graphs + pools + step + _split_bytes(shape, settings)


def _split_bytes(shape: ModelShape, settings: MemorySettings) -> float:
    """Partial results of FlashAttention 3, which a Hopper takes where nothing else is asked for."""
    if settings.attention_backend not in {None, "default", "FLASH_ATTN"}:
        return 0.0
    tokens = min(settings.max_num_seqs, largest_step(settings))
    heads = shape.heads / settings.gpus
    return SPLITS * tokens * heads * (shape.head_dim + 1) * 4


def graph_budget_bytes(shape: ModelShape, settings: MemorySettings, release: Release) -> float:
    """What vLLM expects of them from trial graphs: 2 MiB each, buffers by layers x hidden size."""
    if not tries_graphs(settings, release):
        return 0.0
    each = 2 * BYTES_PER_MIB + shape.layers * shape.hidden * BUFFER_BYTES
    return float(sum(captured(settings)) * each)


def tries_graphs(settings: MemorySettings, release: Release) -> bool:
    """Whether graphs are captured on trial while memory is profiled."""
    if settings.eager or release < GRAPHS_MEASURED_FIRST:
        return False
    return not settings.second_runner or release >= SECOND_RUNNER_GRAPHS_FIRST
