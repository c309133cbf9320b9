"""What vLLM's memory is made of: one formula per term, each with its uncertainty.

The forms come from the source (file names below), the factors from memory ledgers that users
have published (`tests/golden/data/vllm_logs/public_ledgers.yaml`) and from the project's own; what
fits none of them is in the uncertainty. `memory.py` adds the terms up and learns what they miss on
a machine.
"""

from dataclasses import dataclass
from typing import Final

from autotune.engines.model_shape import ModelShape
from autotune.engines.vllm.memory_after import after_profiling_bytes
from autotune.engines.vllm.memory_graphs import (
    GRAPHS_MEASURED_FIRST,
    SECOND_RUNNER_GRAPHS_FIRST,
    graph_budget_bytes,
    graph_bytes,
    tries_graphs,
)
from autotune.engines.vllm.memory_settings import MemorySettings
from autotune.engines.vllm.memory_steps import activation_bytes, loaded_step_bytes
from autotune.engines.vllm.releases import Release
from autotune.engines.vllm.weight_blocks import LIMIT_BYTES, loaded
from autotune.units import BYTES_PER_GIB, BYTES_PER_MIB, bytes_from_gib

CONTEXT_IS_OUTSIDE_FIRST: Final = Release(0, 9, 2)
"""From here on the CUDA context is there before the budget is measured (v1/worker/gpu_worker.py:
`init_snapshot`); before, it counted as memory in use."""

COMBO_KERNELS_FIRST: Final = Release(0, 11, 2)
"""From here on Inductor compares fused kernels by running them while it compiles
(config/compilation.py: `benchmark_combo_kernel`; 0.11.0 has it not)."""

CONSUMED_FIRST: Final = Release(0, 27, 0)
"""From here on the budget is charged by free memory, so what PyTorch keeps reserved counts too
(utils/mem_utils.py: `total_consumed`; 0.26.0 has it not)."""

SPLIT_LIMIT_LOADING_FIRST: Final = Release(0, 21, 0)
"""From here on large blocks are not split while weights are loaded (v1/worker/gpu_worker.py:
`_scoped_allocator_max_split`; 0.20.2 has it not)."""

MACHETE_AWQ_FIRST: Final = Release(0, 19, 0)
"""From here on AWQ takes the kernel that is best for the card (layers/quantization/awq_marlin.py,
later auto_awq.py: `choose_mp_linear_kernel`; 0.18.0 has it not, 0.19.1 has)."""

SPLIT_LIMIT_FIRST: Final = Release(0, 31, 0)
"""From here on large blocks are not split while profiling, so that they can be given back
(v1/worker/gpu_worker.py: `_scoped_allocator_max_split`; 0.30.0 has it for loading alone)."""

DRIVER_RESERVE_BYTES: Final = round(0.38 * BYTES_PER_GIB)
"""Memory that NVML counts and CUDA never sees, where the driver does not say (NVML before driver
510, published ledgers): 0.19 to 0.57 GiB on twelve cards from 6 to 80 GB."""

LEAST_RESERVE_BYTES: Final = round(0.19 * BYTES_PER_GIB)
"""The least of those ten."""

CONTEXT_BYTES: Final = round(0.45 * BYTES_PER_GIB)
"""A CUDA context with vLLM's kernels loaded, where it counts as memory in use (before 0.9.2)."""

FRESH_CONTEXT_BYTES: Final = round(0.25 * BYTES_PER_GIB)
"""A CUDA context before anything is loaded: 0.17 and 0.23 GiB on cards of 24 and 16 GB."""

HOPPER_CONTEXT_BYTES: Final = round(526.8 * BYTES_PER_MIB)
"""The same on an H100 (29 logs of 0.26.0, to a byte): it has three times the multiprocessors."""

LEAST_CONTEXT_BYTES: Final = round(0.15 * BYTES_PER_GIB)
"""What a CUDA context takes at least: 0.17 to 0.6 GiB of an idle NVIDIA card in nine logs."""

HOPPER_LIBRARY_BYTES: Final = 158 * BYTES_PER_MIB
"""What libraries keep more on an H100: 229 to 232 MiB in all, in 30 logs of 0.26.0."""

HOPPER_CACHE_BYTES: Final = 50 * BYTES_PER_MIB
"""The level-2 cache of an H100 and an H200. Other cards' are not told by NVML and are left out."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """GPU memory of one rank, in bytes.

    Attributes:
        weights: As "Model loading took" counts it.
        weights_held: What the allocator holds beside it, where the budget is charged with it.
        activation: Peak of the profiling run.
        activation_under_load: The same while requests are served.
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
    weights_held: float
    activation: float
    activation_under_load: float
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
        own = self.weights + self.weights_held + self.activation + self.non_torch
        return own + self.graphs_budgeted + state


def terms(
    shape: ModelShape, settings: MemorySettings, release: Release, file_bytes: int | None
) -> Terms:
    """Every term of a start; `file_bytes` is the size of the weight files, where they are there."""
    weights, held = _weights(shape, settings, release, file_bytes)
    activation = activation_bytes(shape, settings, release)
    budgeted = graph_budget_bytes(shape, settings, release)
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
        weights_held=held if release >= CONSUMED_FIRST else 0.0,
        activation=activation,
        activation_under_load=loaded_step_bytes(shape, settings, activation),
        non_torch=non_torch,
        graphs=graph_bytes(shape, settings),
        graphs_budgeted=budgeted,
        context=_context(settings, release),
        uncertainty=uncertainty,
        sampler_state=state,
        sampler_state_budgeted=release >= CONSUMED_FIRST,
        after_profiling=after_profiling_bytes(shape, settings),
        cold=cold,
        cold_uncertainty=cold_uncertainty,
    )


def _weights(
    shape: ModelShape, settings: MemorySettings, release: Release, file_bytes: int | None
) -> tuple[float, float]:
    """As "Model loading took" counts them, and what the allocator holds beside them.

    By the allocator's blocks for a dense model. Where weights are quantized, repacking fills half
    of what would be left of their segments (two ledgers of 7B, 0.28.0).
    """
    files = (file_bytes or shape.weight_bytes) / settings.gpus
    if shape.moe_layers or shape.kv_latent_dim is not None:
        rotary = shape.max_position_tokens * shape.head_dim * shape.dtype_bytes
        return max(0.0, files * 1.003 - settings.weights_offload_bytes) + rotary, 0.0
    found = loaded(
        shape,
        gpus=settings.gpus,
        limit_bytes=LIMIT_BYTES if release >= SPLIT_LIMIT_LOADING_FIRST else None,
        wide_zero_points=_has_wide_zero_points(shape, settings, release),
    )
    beside = found.used_bytes - shape.weight_bytes / settings.gpus
    own = max(0.0, files - settings.weights_offload_bytes) + beside
    return own, found.held_bytes * (0.5 if shape.quantization else 1.0)


def _has_wide_zero_points(shape: ModelShape, settings: MemorySettings, release: Release) -> bool:
    """Whether the kernel for a Hopper multiplies the zero points of AWQ with the scales.

    model_executor/kernels/linear/mixed_precision/machete.py, `transform_w_zp`.
    """
    return settings.is_hopper and shape.quantization == "awq" and release >= MACHETE_AWQ_FIRST


def _context(settings: MemorySettings, release: Release) -> float:
    """The CUDA context, where it lies outside the budget."""
    if release < CONTEXT_IS_OUTSIDE_FIRST:
        return 0.0
    return HOPPER_CONTEXT_BYTES if settings.is_hopper else FRESH_CONTEXT_BYTES


def _non_torch(settings: MemorySettings, release: Release) -> float:
    """What driver and libraries keep by the end of profiling, by the logs that say so.

    0.15 to 0.21 GiB where trial graphs were captured, 0.07 where not; on an H100 0.22 without any.
    """
    if release < CONTEXT_IS_OUTSIDE_FIRST:
        return CONTEXT_BYTES + bytes_from_gib(0.1)
    if release < GRAPHS_MEASURED_FIRST:
        return bytes_from_gib(0.05)
    libraries = 0.21 if tries_graphs(settings, release) else 0.07
    return bytes_from_gib(libraries) + (HOPPER_LIBRARY_BYTES if settings.is_hopper else 0)


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
    it is in ledgers of cold starts from 0.22.1 to 0.29.0. Where it is not, the peak of a step is
    higher by the buffer with which Inductor empties the card's cache between two runs
    (torch/_inductor/runtime/benchmarking.py: `L2_cache_size`): by 50 MiB on an H100.

    The block may stay reserved, since later tensors are cut out of it, and then counts twice.
    Nothing in the sources tells when; it did for unquantized models of 0.28.0 (four ledgers of
    four) and on the first runner of 0.29.0 (one of one), not for quantized models of 0.28.0 (none
    of two) nor on the second runner of 0.29.0 (none of three).
    """
    if settings.eager or release < COMBO_KERNELS_FIRST:
        return 0.0, 0.0
    copy = shape.vocab * shape.hidden * shape.dtype_bytes / settings.gpus
    step = 2 * settings.max_num_batched_tokens * shape.hidden * shape.dtype_bytes
    cache = HOPPER_CACHE_BYTES if settings.is_hopper else 0
    peak = max(float(cache), copy + step - activation)
    if not CONSUMED_FIRST <= release < SPLIT_LIMIT_FIRST:
        return peak, 0.5 * peak
    stays = shape.quantization is None
    if release >= SECOND_RUNNER_GRAPHS_FIRST:
        stays = not settings.second_runner
    return peak + (copy if stays else 0.0), copy + 0.5 * peak
