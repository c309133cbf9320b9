"""What vLLM's memory is made of: one formula per term, each with its uncertainty.

The forms come from the source (file names below), the factors from memory ledgers that users
have published (`tests/golden/data/vllm_logs/public_ledgers.yaml`); what fits none of them is in
the uncertainty. `memory.py` adds the terms up and learns what they miss on a machine.
"""

from dataclasses import dataclass
from typing import Final

from autotune.engines.model_shape import ModelShape
from autotune.engines.vllm.memory_settings import MemorySettings
from autotune.engines.vllm.releases import Release
from autotune.units import BYTES_PER_GIB, BYTES_PER_MIB, bytes_from_gib

CONTEXT_IS_OUTSIDE_FIRST: Final = Release(0, 9, 2)
"""From here on the CUDA context is there before the budget is measured (v1/worker/gpu_worker.py:
`init_snapshot`); before, it counted as memory in use."""

SAMPLER_WITHOUT_SORT_FIRST: Final = Release(0, 17, 0)
"""From here on a Triton kernel replaces the sort of the whole vocabulary (sample/ops)."""

GRAPHS_MEASURED_FIRST: Final = Release(0, 18, 0)
"""From here on trial graphs are captured while profiling. What the driver keeps of them counts
as memory in use even where the estimate is not yet part of the budget."""

GRAPHS_BUDGETED_FIRST: Final = Release(0, 20, 0)
"""From here on VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS is on (envs.py)."""

SECOND_RUNNER_FIRST: Final = Release(0, 25, 0)
"""From here on dense models run on the second model runner (config/vllm.py)."""

SECOND_RUNNER_GRAPHS_FIRST: Final = Release(0, 29, 0)
"""Before, the second model runner's estimate of its graphs is 0 (v1/worker/gpu/model_runner.py).
0.28.0 and 0.30.0 were read."""

DRIVER_RESERVE_BYTES: Final = round(0.38 * BYTES_PER_GIB)
"""Memory that NVML counts and CUDA never sees, where the driver does not say (NVML before driver
510, published ledgers): 0.19 to 0.57 GiB on ten cards from 6 to 80 GB."""

LEAST_RESERVE_BYTES: Final = round(0.19 * BYTES_PER_GIB)
"""The least of those ten."""

CONTEXT_BYTES: Final = round(0.45 * BYTES_PER_GIB)
"""A CUDA context with vLLM's kernels loaded."""

LEAST_CONTEXT_BYTES: Final = round(0.2 * BYTES_PER_GIB)
"""What a CUDA context takes at least: 0.23 to 0.6 GiB of an idle NVIDIA card in eight logs."""

SORT_COPIES: Final = 9.66
"""Sampler peak in copies of the 32-bit logits, with the sort: 1.40 GiB for 256 sequences and
151,936 tokens in six ledgers from 0.10.2 to 0.14."""

TRITON_COPIES: Final = 3.8
"""The same without the sort: logits in 16 and 32 bit, probabilities, noise, a buffer."""

ROTARY_BYTES_PER_POSITION: Final = 2
"""cos and sin of every position, 16 bit each, half a head wide (layers/rotary_embedding)."""

SMALL_ACTIVATIONS_BYTES: Final = round(0.06 * BYTES_PER_GIB)
"""Buffers of the runner that no formula has."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """GPU memory of one rank, in bytes.

    Attributes:
        weights: As "Model loading took" counts it.
        activation: Peak of the profiling run.
        non_torch: Driver and library memory within the budget.
        graphs: CUDA graphs.
        graphs_budgeted: Whether graphs are taken out of the KV cache's share.
        context: CUDA context outside the budget.
        uncertainty: By how much the KV bytes that follow may be too high or too low.
    """

    weights: float
    activation: float
    non_torch: float
    graphs: float
    graphs_budgeted: bool
    context: float
    uncertainty: float

    @property
    def budgeted(self) -> float:
        """Everything that is taken out of the share before the KV cache."""
        graphs = self.graphs if self.graphs_budgeted else 0.0
        return self.weights + self.activation + self.non_torch + graphs


def terms(
    shape: ModelShape, settings: MemorySettings, release: Release, file_bytes: int | None
) -> Terms:
    """Estimate every term for a start with a warm compile cache.

    `file_bytes` is the size of the weight files where they are there: exact but for padding.
    """
    weights = _weights(shape, settings, file_bytes)
    activation = _activation(shape, settings, release)
    graphs, budgeted = _graphs(shape, settings, release)
    non_torch = _non_torch(release)
    # Ledgers of warm starts lie within half of the activations, half of the graphs and 0.25 GiB;
    # quantized layers may dequantize into buffers of a layer's size.
    layer = shape.linear_parameters / max(1, shape.layers) * shape.dtype_bytes
    uncertainty = (
        0.02 * weights
        + 0.5 * activation
        + (0.5 * graphs if budgeted else 0.0)
        + 0.25 * BYTES_PER_GIB
        + (layer if shape.quantization else 0.0)
    )
    return Terms(
        weights=weights,
        activation=activation,
        non_torch=non_torch,
        graphs=graphs,
        graphs_budgeted=budgeted,
        context=CONTEXT_BYTES if release >= CONTEXT_IS_OUTSIDE_FIRST else 0.0,
        uncertainty=uncertainty,
    )


def _weights(shape: ModelShape, settings: MemorySettings, file_bytes: int | None) -> float:
    total = float(file_bytes or shape.weight_bytes)
    if settings.gpus > 1:
        total /= settings.gpus
    rotary = shape.max_position_tokens * shape.head_dim * ROTARY_BYTES_PER_POSITION
    loaded = max(0.0, total * 1.003 - settings.weights_offload_bytes)
    return loaded + rotary + _repacked(shape) / settings.gpus


def _repacked(shape: ModelShape) -> float:
    """A second copy of the largest quantized matrix, gate and up projection of a dense layer.

    Weights are repacked for the GPU's kernels one matrix after the other, and the allocator keeps
    what that took (layers/quantization/awq_marlin.py, `process_weights_after_loading`): 0.01 to
    0.08 GiB between the checkpoint and "Model loading took" in five ledgers of AWQ models.
    """
    if shape.quantization is None or shape.moe_layers >= shape.layers:
        return 0.0
    return 2 * shape.hidden * shape.intermediate * shape.bytes_per_linear_weight


def _activation(shape: ModelShape, settings: MemorySettings, release: Release) -> float:
    """The larger of a forward pass of a full step and the sampler on a full batch."""
    wide = shape.intermediate if shape.moe_layers < shape.layers else 0
    mixture = shape.experts_per_token * shape.moe_intermediate + shape.shared_intermediate
    wide = max(wide, mixture if shape.moe_layers else 0)
    width = 2 * shape.hidden + 3 * wide / settings.gpus
    forward = settings.max_num_batched_tokens * width * shape.dtype_bytes
    sequences = min(settings.max_num_seqs, settings.max_num_batched_tokens)
    logits = sequences * shape.vocab * 4
    if release < SAMPLER_WITHOUT_SORT_FIRST:
        sampler = SORT_COPIES * logits
    elif release < SECOND_RUNNER_FIRST:
        # The Triton kernel takes batches of 8 and more (sample/ops/topk_topp_sampler.py).
        sampler = (TRITON_COPIES if sequences >= 8 else SORT_COPIES) * logits
    else:
        sampler = 0.5 * logits
    return max(forward, sampler) + SMALL_ACTIVATIONS_BYTES


def _non_torch(release: Release) -> float:
    if release < CONTEXT_IS_OUTSIDE_FIRST:
        return CONTEXT_BYTES + bytes_from_gib(0.1)
    return bytes_from_gib(0.05 if release < GRAPHS_MEASURED_FIRST else 0.2)


def _graphs(shape: ModelShape, settings: MemorySettings, release: Release) -> tuple[float, bool]:
    """Bytes of all CUDA graphs, and whether they come out of the KV cache's share.

    One graph costs the driver about 2 MiB and its own buffers by layers x hidden size.
    """
    if settings.eager:
        return 0.0, False
    count = graph_count(settings.max_num_seqs)
    per_unit = 200 if release < GRAPHS_MEASURED_FIRST else 30
    size = count * (2 * BYTES_PER_MIB + shape.layers * shape.hidden * per_unit)
    budgeted = release >= GRAPHS_MEASURED_FIRST
    if SECOND_RUNNER_FIRST <= release < SECOND_RUNNER_GRAPHS_FIRST:
        budgeted = False
    return float(size), budgeted


def graph_count(max_num_seqs: int) -> int:
    """Graphs that are captured: mixed batches up to 2 x sequences, decode batches up to those.

    Sizes are 1, 2, 4, then steps of 8 to 256 and of 16 to 512
    (config/vllm.py, `_set_cudagraph_sizes`).
    """
    sizes = [1, 2, 4, *range(8, 257, 8), *range(272, 513, 16)]
    mixed = [size for size in sizes if size <= min(2 * max_num_seqs, 512)]
    return len(mixed) + len([size for size in sizes if size <= min(max_num_seqs, 256)])
