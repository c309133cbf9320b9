"""What one iteration of the engine costs: roofline terms on the GPU, microseconds on the host.

GPU time is the sum of
  matrix products   p-norm of (FLOPs / reached FLOP/s) and (weight bytes / reached bandwidth)
  attention         FLOPs of the prompt chunks, KV bytes of the decoding sequences
  the rest          traffic between matrix products, short kernels, sampling
as in the roofline model (Williams et al. 2009); FLOPs per token follow Kaplan et al. 2020, section
2.1. Host time is the engine core's and, beside it, the API server's; async scheduling (vLLM
`v1/core/sched/async_scheduler.py`) hides the engine core's behind the GPU.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from autotune.engines.model_shape import ModelShape
from autotune.engines.simulated.card import Card
from autotune.engines.simulated.frontend import Sending
from autotune.engines.simulated.settings import GraphMode, ServeSettings

_US: Final = 1e-6
_LEAST_SHARE: Final = 0.02
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Load:
    """The work of one iteration.

    Attributes:
        decode_sequences: Sequences that get one token each.
        decode_kv_tokens: Tokens in their KV caches, together, as far as attention reads them.
        longest_kv_tokens: Tokens in the longest of their KV caches.
        prefill_tokens: Prompt tokens that are computed.
        prefill_pairs: Sum over prompt chunks of (query, key) pairs that attention looks at.
        prefill_kv_tokens: Tokens that those chunks read from the KV cache.
        prefill_sequences: Prompt chunks.
        sampled: Sequences for which a token is sampled.
    """

    decode_sequences: int = 0
    decode_kv_tokens: float = 0.0
    longest_kv_tokens: int = 0
    prefill_tokens: int = 0
    prefill_pairs: float = 0.0
    prefill_kv_tokens: float = 0.0
    prefill_sequences: int = 0
    sampled: int = 0

    @property
    def tokens(self) -> int:
        """Tokens that go through the model."""
        return self.decode_sequences + self.prefill_tokens

    @property
    def is_mixed(self) -> bool:
        """Whether some sequences decode while prompts of others are computed."""
        return self.decode_sequences > 0 and self.prefill_tokens > 0


@dataclass(frozen=True, kw_only=True)
class Jitter:
    """How this deployment differs from the next: factors on GPU and host time."""

    gpu: float = 1.0
    host: float = 1.0


class CostModel:
    """Times of one model on one card with one set of settings."""

    def __init__(
        self, card: Card, shape: ModelShape, settings: ServeSettings, jitter: Jitter | None = None
    ) -> None:
        self._card, self._shape, self._settings = card, shape, settings
        self._jitter = jitter or Jitter()
        self._attention = card.attention_of(settings.attention_backend)
        self._peak = _reached_flops(card, shape)
        self._weight_bandwidth = _reached_bandwidth(card, shape)
        self._attention_peak = card.tflops.bf16 * 1e12 * self._attention.prefill
        self._kv_bandwidth = card.bandwidth_bytes_per_s * self._attention.decode
        if settings.fp8_kv:
            self._attention_peak *= self._attention.fp8_prefill
            self._kv_bandwidth *= self._attention.fp8_decode
        self._kv_bytes = shape.kv_bytes_per_token(settings.kv_cache_dtype)
        # A kernel that gives one sequence to few processors waits for that sequence's bytes.
        plain = shape.kv_bytes_per_token()
        share = self._kv_bytes / plain if plain else 1.0
        self._sequence_token_s = self._attention.sequence_token_ns * 1e-9 * share

    @property
    def scheduler_steps(self) -> int:
        """Decode steps per scheduling."""
        return self._settings.scheduler_steps

    @property
    def sending(self) -> Sending:
        """The API server's work for the tokens and chunks of answers; V0 does not merge chunks."""
        if not self._settings.v1:
            return Sending(token_ns=0.0, chunk_ns=0.0)
        host = self._card.host
        chunk_ns = host.frontend_chunk_us * 1e3 * self._jitter.host
        return Sending(token_ns=chunk_ns * host.frontend_token_share, chunk_ns=chunk_ns)

    # ---- one iteration ----

    def iteration_s(self, load: Load) -> float:
        """Seconds between the end of one iteration and of the next such one."""
        return float(self._join(self.gpu_s(load), load))

    def decode_run_s(self, load: Load, growth: float, count: int) -> FloatArray:
        """Seconds of each of `count` decode iterations in a row with the same sequences.

        Args:
            load: The first of them.
            growth: KV tokens by which each adds to the reading of the next.
            count: How many.
        """
        first = self.gpu_s(load)
        per_token = self._kv_bytes / self._kv_bandwidth * self._jitter.gpu
        gpu = first + per_token * growth * np.arange(count, dtype=np.float64)
        return np.asarray(self._join(gpu, load), dtype=np.float64)

    def gpu_s(self, load: Load) -> float:
        """Seconds of GPU time of one iteration, launches not counted."""
        seconds = self._gemm_s(load) + self._attention_s(load) + self._rest_s(load)
        return seconds * self._jitter.gpu

    def _join(self, gpu: float | FloatArray, load: Load) -> float | FloatArray:
        """Put GPU, launches and engine core together.

        Async scheduling hides the host's work for decoding behind the GPU. With prompt chunks
        there is nothing to hide behind (see `handover_s`).
        """
        settings, power = self._settings, self._card.host.overlap_sharpness
        launch, core = self._launch_s(load), self._core_s(load)
        if settings.async_scheduling and not load.prefill_tokens:
            longer, shorter = np.maximum(gpu, core + launch), np.minimum(gpu, core + launch)
            return longer * (1 + (shorter / longer) ** power) ** (1 / power)
        steps = settings.scheduler_steps if load.prefill_tokens == 0 else 1
        return np.maximum(gpu, launch) + core / steps

    def handover_s(
        self, load: Load, lasted_s: float | FloatArray, following: Load
    ) -> float | FloatArray:
        """How long tokens of an iteration wait in the engine core, if so long at all.

        With async scheduling it launches the following iteration before it looks at them
        (`step_with_batch_queue`, vLLM `v1/engine/core.py`, 0.26.0), and it launches one iteration
        ahead of the GPU. The launch of an iteration that mixes prompt chunks and decodes lasts as
        long as the iteration: on an H100, the first tokens of such a batch came when the next
        batch had ended, those of a batch of prompts alone did not.

        Args:
            load: Of the iteration.
            lasted_s: How long it took.
            following: The iteration that runs next.
        """
        if not self._settings.async_scheduling:
            return 0.0
        if following.is_mixed:
            return np.inf
        launched: float | FloatArray = lasted_s
        if not load.is_mixed:
            launched = np.minimum(lasted_s, self._core_s(load) + self._launch_s(load))
        next_launch = self._core_s(following) + self._launch_s(following)
        return np.asarray(np.maximum(0.0, launched + next_launch - lasted_s), dtype=np.float64)

    # ---- GPU ----

    def _gemm_s(self, load: Load) -> float:
        shape = self._shape
        head = shape.vocab * shape.hidden
        tokens = self._padded(load)
        body = shape.active_parameters - head
        flops = 2.0 * (body * tokens + head * load.sampled)
        compute = flops / self._peak
        memory = self._weights_read_bytes(tokens, load.sampled) / self._weight_bandwidth
        power = self._card.gemm.sharpness
        return float((compute**power + memory**power) ** (1 / power))

    def _weights_read_bytes(self, tokens: int, sampled: int) -> float:
        """Weights of one pass; of the experts only those that some token was sent to."""
        shape = self._shape
        linear = shape.linear_parameters * shape.bytes_per_linear_weight
        if shape.experts:
            expert = shape.mlp_matrices * shape.hidden * shape.moe_intermediate
            routed = shape.moe_layers * shape.experts * expert * shape.bytes_per_linear_weight
            untouched = (1 - shape.experts_per_token / shape.experts) ** tokens
            linear -= routed * untouched
        head = shape.vocab * shape.hidden * shape.dtype_bytes if sampled else 0
        return linear + head + shape.small_parameters * shape.dtype_bytes

    def _attention_s(self, load: Load) -> float:
        shape = self._shape
        layers = shape.layers - shape.stateless_layers
        flops = 4.0 * layers * shape.heads * shape.head_dim * load.prefill_pairs
        kv_tokens = load.decode_kv_tokens + load.prefill_kv_tokens
        read = kv_tokens * self._kv_bytes / self._kv_bandwidth
        read = max(read, layers * load.longest_kv_tokens * self._sequence_token_s)
        return flops / self._attention_peak + read + layers * self._attention.layer_us * _US

    def _rest_s(self, load: Load) -> float:
        shape, gpu = self._shape, self._card.gpu
        eager = self._settings.graph_mode is GraphMode.EAGER
        factor = gpu.eager_traffic if eager else gpu.token_traffic
        traffic = factor * shape.layers * shape.hidden * shape.dtype_bytes * load.tokens
        traffic += load.sampled * shape.vocab * 4 * 3  # logits: written, read, sampled from
        seconds = traffic / (self._card.bandwidth_bytes_per_s * self._card.gemm.bandwidth)
        return seconds + (shape.layers * gpu.layer_us + gpu.iteration_us) * _US

    def _padded(self, load: Load) -> int:
        """Tokens after padding to the next captured graph."""
        sizes = self._settings.graph_sizes
        if not sizes or load.tokens > sizes[-1]:
            return load.tokens
        return sizes[int(np.searchsorted(sizes, load.tokens))]

    # ---- host ----

    def _launch_s(self, load: Load) -> float:
        """Time to issue an iteration's kernels; the GPU runs beside it."""
        host, layers = self._card.host, self._shape.layers
        mode = self._settings.graph_mode
        small = load.tokens <= self._settings.largest_graph
        if mode is GraphMode.EAGER:
            seconds = layers * host.eager_layer_us
        elif mode is GraphMode.COMPILED or not small:
            seconds = layers * host.compiled_layer_us
        elif mode is GraphMode.PIECEWISE or load.prefill_tokens:
            seconds = layers * host.piecewise_layer_us
        else:  # attention is in the graph
            return host.graph_launch_us * _US * self._jitter.host
        attention = self._attention
        each = attention.launch_us + (attention.fp8_launch_us if self._settings.fp8_kv else 0.0)
        return (seconds + layers * each) * _US * self._jitter.host

    def _core_s(self, load: Load) -> float:
        """Scheduling, input preparation and output handling in the engine core."""
        host = self._card.host
        sequences = load.decode_sequences + load.prefill_sequences
        if self._settings.v1:
            eager = self._settings.graph_mode is GraphMode.EAGER
            each = host.sequence_us + (host.eager_sequence_us if eager else 0.0)
            seconds = host.iteration_us + each * sequences
        else:
            seconds = host.v0_iteration_us + host.v0_sequence_us * sequences
        seconds += host.prefill_token_us * load.prefill_tokens + self._attention.host_us
        if self._settings.offload_bytes:
            seconds += host.offload_iteration_us + host.offload_sequence_us * sequences
        return seconds * _US * self._jitter.host

    def admission_s(self, prompt_tokens: int) -> float:
        """The API server's time for a request before the engine core sees it."""
        host = self._card.host
        seconds = host.frontend_request_us + host.frontend_prompt_token_us * prompt_tokens
        return seconds * _US * self._jitter.host

    def intake_share(self, requests: int, streams: int, iteration_s: float) -> float:
        """Share of the API server's time for requests that come in beside running streams.

        All take turns in one event loop. Streams leave it free between their chunks; where they
        have no pauses, shares go by what a turn of each takes.
        """
        each_ns = self.sending.per_token_ns(self._settings.stream_interval)
        sending_s = streams * each_ns * 1e-9
        if not sending_s or not iteration_s:
            return 1.0
        free = 1.0 - min(1.0, sending_s / iteration_s)
        turns_s = requests * self._card.host.frontend_turn_us * _US * self._jitter.host
        return max(free, turns_s / (turns_s + sending_s), _LEAST_SHARE)

    def request_latency_s(self) -> float:
        """Way of a request to the engine core, beside the API server's work for it."""
        return self._card.host.request_latency_us * _US * self._jitter.host

    def latency_s(self) -> float:
        """Way of a token from the engine core to the client."""
        return self._card.host.latency_us * _US * self._jitter.host

    # ---- KV offload ----

    def store_s(self, chunks: int) -> float:
        """Time that an iteration takes longer because of prompt chunks that go to host memory."""
        return chunks * self._card.host.offload_store_us * _US * self._jitter.host

    def transfer_s(self, blocks: int, *, pinned: bool = True) -> float:
        """Seconds to copy so many blocks between host memory and GPU."""
        transfer = self._card.transfer
        share = transfer.efficiency if pinned else transfer.unpinned_efficiency
        size = blocks * self._settings.block_size * self._kv_bytes
        return transfer.latency_us * _US + size / (self._card.pcie_gb_per_s * 1e9 * share)


def _reached_flops(card: Card, shape: ModelShape) -> float:
    gemm = card.gemm
    if shape.quantization in {"fp8", "fbgemm_fp8"} and card.tflops.fp8 is not None:
        peak = card.tflops.fp8 * gemm.fp8_compute
    elif shape.weight_bits < 8:
        peak = card.tflops.bf16 * gemm.int4_compute
    else:
        peak = card.tflops.bf16
    return peak * 1e12 * gemm.compute * (gemm.moe_compute if shape.experts else 1.0)


def _reached_bandwidth(card: Card, shape: ModelShape) -> float:
    factor = card.gemm.int4_bandwidth if shape.weight_bits < 8 else 1.0
    return card.bandwidth_bytes_per_s * card.gemm.bandwidth * factor


def kv_tokens_read(shape: ModelShape, length_tokens: int) -> float:
    """Tokens of a sequence's KV cache that one decode step reads, averaged over the layers.

    Layers with a sliding window read no more than the window.
    """
    window = shape.sliding_window_tokens
    layers = shape.layers - shape.stateless_layers
    if window is None or length_tokens <= window or layers <= 0:
        return float(length_tokens)
    return length_tokens - (length_tokens - window) * shape.sliding_layers / layers


def attention_pairs(shape: ModelShape, chunk_tokens: int, context_tokens: int) -> float:
    """(Query, key) pairs of a causal prompt chunk after so many tokens, averaged over layers."""
    full = chunk_tokens * (context_tokens + (chunk_tokens + 1) / 2)
    window = shape.sliding_window_tokens
    layers = shape.layers - shape.stateless_layers
    if window is None or layers <= 0:
        return full
    short = min(full, float(chunk_tokens * window))
    return full - (full - short) * shape.sliding_layers / layers
