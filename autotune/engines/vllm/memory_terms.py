"""What vLLM's memory is made of: one formula per term, each with its uncertainty.

The forms come from the source (file names below), the factors from memory ledgers that users
have published (`tests/golden/data/vllm_logs/public_ledgers.yaml`); what fits none of them is in
the uncertainty. `memory.py` adds the terms up and learns what they miss on a machine.
"""

from dataclasses import dataclass
from typing import Final

from autotune.engines.model_shape import ModelShape
from autotune.engines.vllm.memory_after import after_profiling_bytes
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

COMBO_KERNELS_FIRST: Final = Release(0, 11, 2)
"""From here on Inductor compares fused kernels by running them while it compiles
(config/compilation.py: `benchmark_combo_kernel`; 0.11.0 has it not)."""

CONSUMED_FIRST: Final = Release(0, 27, 0)
"""From here on the budget is charged by free memory, so what PyTorch keeps reserved counts too
(utils/mem_utils.py: `total_consumed`; 0.26.0 has it not)."""

SPLIT_LIMIT_FIRST: Final = Release(0, 31, 0)
"""From here on large blocks are not split while profiling, so that they can be given back
(v1/worker/gpu_worker.py: `_scoped_allocator_max_split`; 0.30.0 has it for loading alone)."""

SECOND_RUNNER_GRAPHS_FIRST: Final = Release(0, 29, 0)
"""Before, the second model runner's estimate of its graphs is 0 (v1/worker/gpu/model_runner.py).
0.28.0 and 0.30.0 were read."""

DRIVER_RESERVE_BYTES: Final = round(0.38 * BYTES_PER_GIB)
"""Memory that NVML counts and CUDA never sees, where the driver does not say (NVML before driver
510, published ledgers): 0.19 to 0.57 GiB on twelve cards from 6 to 80 GB."""

LEAST_RESERVE_BYTES: Final = round(0.19 * BYTES_PER_GIB)
"""The least of those ten."""

CONTEXT_BYTES: Final = round(0.45 * BYTES_PER_GIB)
"""A CUDA context with vLLM's kernels loaded, where it counts as memory in use (before 0.9.2)."""

FRESH_CONTEXT_BYTES: Final = round(0.25 * BYTES_PER_GIB)
"""A CUDA context before anything is loaded: 0.17 and 0.23 GiB on cards of 24 and 16 GB."""

HOPPER_CONTEXT_BYTES: Final = round(0.52 * BYTES_PER_GIB)
"""The same on an H100 (24 logs of 0.26.0): it has three times the multiprocessors."""

LEAST_CONTEXT_BYTES: Final = round(0.15 * BYTES_PER_GIB)
"""What a CUDA context takes at least: 0.17 to 0.6 GiB of an idle NVIDIA card in nine logs."""

SORT_COPIES: Final = 9.66
"""Sampler peak in copies of the 32-bit logits, with the sort: 1.40 GiB for 256 sequences and
151,936 tokens in six ledgers from 0.10.2 to 0.14."""

TRITON_COPIES: Final = 3.8
"""The same without the sort: logits in 16 and 32 bit, probabilities, noise, a buffer."""

ROTARY_BYTES_PER_POSITION: Final = 2
"""cos and sin of every position, 16 bit each, half a head wide (layers/rotary_embedding)."""

SMALL_ACTIVATIONS_BYTES: Final = round(0.06 * BYTES_PER_GIB)
"""Buffers of the runner that no formula has."""

GRAPH_BYTES_PER_LAYER: Final = round(0.19 * BYTES_PER_MIB)
"""One CUDA graph, per layer: 0.18 to 0.22 MiB in eight logs from 0.11.2 to 0.29.0, 24 to 36 layers
("Graph capturing finished ... took")."""

GRAPH_BUFFER_BYTES: Final = 30
"""Per layer and unit of width, in vLLM's estimate (ledgers of 0.19.1 to 0.29.0)."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """GPU memory of one rank, in bytes.

    Attributes:
        weights: As "Model loading took" counts it.
        activation: Peak of the profiling run.
        non_torch: Driver and library memory within the budget.
        graphs: CUDA graphs.
        graphs_budgeted: What is taken for them out of the KV cache's share, by vLLM's own estimate.
        context: CUDA context outside the budget.
        uncertainty: By how much the KV bytes that follow may be too high or too low.
        sampler_state: Counts of tokens per sequence, beside the weights.
        sampler_state_budgeted: Whether those are taken out of the KV cache's share.
        after_profiling: What appears once KV memory is fixed.
        cold: What a start with an empty compile cache takes in addition.
        cold_uncertainty: By how much that may be too high or too low.
    """

    weights: float
    activation: float
    non_torch: float
    graphs: float
    graphs_budgeted: float
    context: float
    uncertainty: float
    sampler_state: float
    sampler_state_budgeted: bool
    after_profiling: float
    cold: float
    cold_uncertainty: float

    @property
    def budgeted(self) -> float:
        """Everything that is taken out of the share before the KV cache."""
        state = self.sampler_state if self.sampler_state_budgeted else 0.0
        own = self.weights + self.activation + self.non_torch
        return own + self.graphs_budgeted + state


def terms(
    shape: ModelShape, settings: MemorySettings, release: Release, file_bytes: int | None
) -> Terms:
    """Every term of a start; `file_bytes` is the size of the weight files, where they are there."""
    weights = _weights(shape, settings, file_bytes)
    activation = _activation(shape, settings, release)
    budgeted = _graphs_budgeted(shape, settings, release)
    non_torch = _non_torch(settings, release)
    state = _sampler_state(shape, settings)
    cold, cold_uncertainty = _cold(shape, settings, release, activation)
    # Ledgers of warm starts lie within half of the activations, half of the graphs and 0.25 GiB;
    # quantized layers may dequantize into buffers of a layer's size.
    layer = shape.linear_parameters / max(1, shape.layers) * shape.dtype_bytes
    uncertainty = (
        0.02 * weights
        + 0.5 * activation
        + 0.5 * budgeted
        + 0.25 * BYTES_PER_GIB
        + (layer if shape.quantization else 0.0)
    )
    return Terms(
        weights=weights,
        activation=activation,
        non_torch=non_torch,
        graphs=_graphs(shape, settings),
        graphs_budgeted=budgeted,
        context=_context(settings, release),
        uncertainty=uncertainty,
        sampler_state=state,
        sampler_state_budgeted=release >= CONSUMED_FIRST,
        after_profiling=after_profiling_bytes(shape, settings),
        cold=cold,
        cold_uncertainty=cold_uncertainty,
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

    Weights are repacked one matrix after the other, and the allocator keeps what that took
    (layers/quantization/awq_marlin.py, `process_weights_after_loading`): 0.01 to 0.08 GiB.
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
    elif not settings.second_runner:
        # The Triton kernel takes batches of 8 and more (sample/ops/topk_topp_sampler.py).
        sampler = (TRITON_COPIES if sequences >= 8 else SORT_COPIES) * logits
    else:
        sampler = 0.5 * logits
    return max(forward, sampler) + SMALL_ACTIVATIONS_BYTES


def _context(settings: MemorySettings, release: Release) -> float:
    """The CUDA context, where it lies outside the budget."""
    if release < CONTEXT_IS_OUTSIDE_FIRST:
        return 0.0
    return HOPPER_CONTEXT_BYTES if settings.is_hopper else FRESH_CONTEXT_BYTES


def _non_torch(settings: MemorySettings, release: Release) -> float:
    """What driver and libraries keep by the end of profiling, by the logs that say so.

    0.15 to 0.2 GiB where trial graphs were captured, 0.07 where not; on an H100 0.22 without any.
    """
    if release < CONTEXT_IS_OUTSIDE_FIRST:
        return CONTEXT_BYTES + bytes_from_gib(0.1)
    if release < GRAPHS_MEASURED_FIRST:
        return bytes_from_gib(0.05)
    libraries = 0.2 if _tries_graphs(settings, release) else 0.07
    return bytes_from_gib(libraries + (0.15 if settings.is_hopper else 0.0))


def _graphs(shape: ModelShape, settings: MemorySettings) -> float:
    """Bytes of all CUDA graphs."""
    if settings.eager:
        return 0.0
    return float(graph_count(settings.max_num_seqs) * shape.layers * GRAPH_BYTES_PER_LAYER)


def _graphs_budgeted(shape: ModelShape, settings: MemorySettings, release: Release) -> float:
    """What vLLM expects of them from trial graphs: 2 MiB each, buffers by layers x hidden size."""
    if not _tries_graphs(settings, release):
        return 0.0
    each = 2 * BYTES_PER_MIB + shape.layers * shape.hidden * GRAPH_BUFFER_BYTES
    return float(graph_count(settings.max_num_seqs) * each)


def _tries_graphs(settings: MemorySettings, release: Release) -> bool:
    """Whether graphs are captured on trial while memory is profiled."""
    if settings.eager or release < GRAPHS_MEASURED_FIRST:
        return False
    return not settings.second_runner or release >= SECOND_RUNNER_GRAPHS_FIRST


def _sampler_state(shape: ModelShape, settings: MemorySettings) -> float:
    """Counts of every token of the vocabulary, for each sequence, of the second runner.

    32 bit and one each (v1/worker/gpu/sample/penalties.py: `output_bin_counts`, `prompt_bin_mask`),
    made after the weights are counted and before profiling.
    """
    if not settings.second_runner:
        return 0.0
    return settings.max_num_seqs * shape.vocab * (4 + 1 / 8)


def _cold(
    shape: ModelShape, settings: MemorySettings, release: Release, activation: float
) -> tuple[float, float]:
    """What a start with an empty compile cache takes in addition, and by how much it may be off.

    While it compiles, Inductor runs kernels on random tensors as large as their inputs
    (torch/_inductor/codegen/triton_combo_kernel.py: `codegen_kernel_benchmark`); the largest is
    the embedding. Where that is more than the peak of a step, it is the peak that is profiled. So
    it is in ledgers of cold starts from 0.22.1 to 0.29.0.

    The block may stay reserved, since later tensors are cut out of it, and then counts twice.
    Nothing in the sources tells when; it did for unquantized models of 0.28.0 (four ledgers of
    four) and on the first runner of 0.29.0 (one of one), not for quantized models of 0.28.0 (none
    of two) nor on the second runner of 0.29.0 (none of three).
    """
    if settings.eager or release < COMBO_KERNELS_FIRST:
        return 0.0, 0.0
    copy = shape.vocab * shape.hidden * shape.dtype_bytes / settings.gpus
    step = 2 * settings.max_num_batched_tokens * shape.hidden * shape.dtype_bytes
    peak = max(0.0, copy + step + SMALL_ACTIVATIONS_BYTES - activation)
    if not CONSUMED_FIRST <= release < SPLIT_LIMIT_FIRST:
        return peak, 0.5 * peak
    stays = shape.quantization is None
    if release >= SECOND_RUNNER_GRAPHS_FIRST:
        stays = not settings.second_runner
    return peak + (copy if stays else 0.0), copy + 0.5 * peak


def graph_count(max_num_seqs: int) -> int:
    """Graphs that are captured: mixed batches up to 2 x sequences, decode batches up to those.

    Sizes are 1, 2, 4, then steps of 8 to 256 and of 16 to 512
    (config/vllm.py, `_set_cudagraph_sizes`).
    """
    sizes = [1, 2, 4, *range(8, 257, 8), *range(272, 513, 16)]
    mixed = [size for size in sizes if size <= min(2 * max_num_seqs, 512)]
    return len(mixed) + len([size for size in sizes if size <= min(max_num_seqs, 256)])
