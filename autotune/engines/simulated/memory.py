"""What really fits on the simulated card: the truth that the screening model only estimates.

The account is vLLM's (`v1/worker/gpu_worker.py`, `determine_available_memory`, 0.26.0): from the
share of the card that may be used go the weights, the peak of a forward pass at the token budget,
what is not PyTorch's, and from 0.20.0 the CUDA graphs; the rest holds KV blocks. The CUDA context
lies outside. Constants are the card's (`MemoryTruth`), so that screening is not trivially right.
"""

from typing import Final

from autotune.engines.model_shape import ModelShape
from autotune.engines.simulated import refusals, words
from autotune.engines.simulated.card import Card
from autotune.engines.simulated.memory_plan import HostRoom, MemoryPlan
from autotune.engines.simulated.refusals import Refusal, StartRefused
from autotune.engines.simulated.settings import GraphMode, ServeSettings
from autotune.units import BYTES_PER_KIB, BYTES_PER_MIB

_LOGIT_BYTES: Final = 4


class MemoryTruth:
    """Plays the memory side of a start.

    Args:
        card: Its memory and constants.
        shape: The model.
        settings: The server's.
        room: Host memory.
        weights_bytes: Size of the checkpoint where it is known better than by the shape.
        compiles: Whether the start compiles its graphs, for none are in the cache.
    """

    def __init__(
        self,
        card: Card,
        shape: ModelShape,
        settings: ServeSettings,
        room: HostRoom,
        weights_bytes: int | None = None,
        *,
        compiles: bool = False,
    ) -> None:
        self._card, self._shape, self._settings, self._room = card, shape, settings, room
        self._truth, self._compiles = card.memory, compiles
        self.total = card.cuda_memory_bytes
        self.context = _mib(self._truth.context_mib + self._truth.desktop_mib)
        size = shape.weight_bytes if weights_bytes is None else weights_bytes
        if shape.weight_bits < 8:
            packed = shape.linear_parameters * shape.bytes_per_linear_weight
            size += round(packed * (self._truth.int4_weights_factor - 1))
        extra = _mib(self._truth.weights_extra_mib)
        self.weights = round(size * self._truth.weights_factor) + extra
        self.requested = int(self.total * settings.gpu_memory_utilization)

    @property
    def settings(self) -> ServeSettings:
        """The server's."""
        return self._settings

    # ---- sizes ----

    @property
    def activation(self) -> int:
        """Peak of a forward pass: a feed-forward layer at the token budget, or the sampler."""
        shape, settings, truth = self._shape, self._settings, self._truth
        width = max(shape.intermediate, shape.moe_intermediate * shape.experts_per_token)
        per_token = (3 * width + truth.hidden_copies * shape.hidden) * shape.dtype_bytes
        forward = settings.token_budget * per_token
        peak = round(max(forward, self.sampler) * truth.activation_factor)
        more = truth.activation_mib + (truth.compile_mib if self._compiles else 0.0)
        return peak + _mib(more + (truth.int4_profile_mib if shape.weight_bits < 8 else 0.0))

    def compiled(self) -> None:
        """The start has compiled its graphs, and not found them in the cache."""
        self._compiles = True

    @property
    def sampler(self) -> int:
        """Logits of every sequence, with the copies that sampling makes."""
        rows = min(self._settings.max_num_seqs, self._settings.token_budget)
        copies = self._truth.sampler_copies
        return round(rows * self._shape.vocab * _LOGIT_BYTES * copies)

    @property
    def non_torch(self) -> int:
        """CuBLAS and the attention backend's workspace."""
        more = self._truth.flashinfer_workspace_mib
        uses_it = self._settings.attention_backend == "FLASHINFER"
        return _mib(self._truth.non_torch_mib + (more if uses_it else 0.0))

    @property
    def graphs(self) -> int:
        """Captured CUDA graphs: a pool and a little per graph and layer."""
        settings = self._settings
        if not settings.graph_sizes:
            return 0
        kinds = 2 if settings.graph_mode is GraphMode.FULL else 1
        captured = len(settings.graph_sizes) * kinds
        each = self._shape.layers * self._truth.graph_layer_kib * BYTES_PER_KIB
        return _mib(self._truth.graph_pool_mib) + round(captured * each)

    @property
    def block_bytes(self) -> int:
        """One KV block, all layers."""
        per_token = self._shape.kv_bytes_per_token(self._settings.kv_cache_dtype)
        return per_token * self._settings.block_size

    # ---- the start, phase by phase ----

    def check_device(self) -> None:
        """Is the share free at all? (`request_memory`, 0.9.2)."""
        free = self.total - self.context
        if self._settings.kv_cache_memory_bytes is None and free < self.requested:
            share, release = self._settings.gpu_memory_utilization, self._settings.release
            text = words.free_memory(release, free, self.total, share, self.requested)
            raise StartRefused(refusals.core_error(text))

    def load_weights(self) -> int:
        """Weights onto the card."""
        free = self.total - self.context - self.weights
        if free < 0:
            raise StartRefused(self._oom(_weight_matrix_bytes(self._shape), "load_model"))
        return self.weights

    def profile(self) -> int:
        """The profile run at the token budget."""
        if self._settings.kv_cache_memory_bytes is not None:
            return self.activation
        needed = self.context + self.weights + self.non_torch + self.activation
        if needed > self.total:
            raise StartRefused(self._oom(self.activation / 3, "profile_run"))
        return self.activation

    def kv_bytes(self) -> int:
        """What is left for KV blocks.

        Raises:
            StartRefused: If that is nothing.
        """
        fixed = self._settings.kv_cache_memory_bytes
        if fixed is not None:
            return fixed
        left = self.requested - self.weights - self.activation - self.non_torch
        left -= self.graphs_estimate or 0
        if left < self.block_bytes:
            raise StartRefused(refusals.core_error(words.no_blocks(self._settings.release)))
        return left

    @property
    def graphs_estimate(self) -> int | None:
        """What vLLM sets aside for graphs; None where the release does not."""
        if not self._settings.release.graphs_in_budget:
            return None
        return round(self.graphs * self._truth.graph_estimate_factor)

    def check_length(self, kv_bytes: int) -> int:
        """The longest sequence must fit; `auto` takes what does.

        Returns:
            The longest sequence that is allowed.
        """
        settings = self._settings
        blocks = kv_bytes // self.block_bytes
        fits, wanted = blocks * settings.block_size, settings.max_model_len
        if fits >= wanted:
            return wanted
        if settings.auto_length:
            if fits <= 0:
                raise StartRefused(refusals.core_error(words.no_auto_length()))
            return fits
        needed = -(-wanted // settings.block_size) * self.block_bytes
        text = words.too_long(settings.release, wanted, needed, kv_bytes, fits)
        raise StartRefused(refusals.core_error(text))

    def allocate_kv(self, kv_bytes: int) -> int:
        """KV blocks onto the card; returns their number."""
        blocks = kv_bytes // self.block_bytes
        held = self.context + self.weights + self.non_torch + blocks * self.block_bytes
        if held > self.total:
            size = self.block_bytes * blocks / self._shape.layers
            raise StartRefused(self._oom(size, "initialize_kv_cache"))
        return blocks

    def allocate_offload(self) -> tuple[int, int]:
        """The KV offload in host memory; returns its host bytes and its blocks."""
        settings, truth, room = self._settings, self._truth, self._room
        size = settings.offload_bytes
        if size == 0:
            self._check_host(0)
            return 0, 0
        if settings.release.offload_in_shm and size > room.shm_bytes:
            text = words.no_shm(settings.release, size, room.shm_bytes)
            raise StartRefused(refusals.core_error(text, frame="create_region"))
        pinnable = room.memory_bytes * truth.pinnable_share
        if not settings.release.offload_in_shm and size > pinnable:
            raise StartRefused(
                refusals.core_error(words.no_pinning(), frame="create_pinned_tensors")
            )
        host = round(size * truth.offload_host_factor)
        self._check_host(host)
        return host, size // self.block_bytes

    def _check_host(self, offload_bytes: int) -> None:
        """The kernel kills what the host or the container's limit cannot hold."""
        engine = _mib(self._truth.engine_host_mib) + offload_bytes
        limit = self._room.limit_bytes
        if limit is not None and engine > limit:
            raise StartRefused(refusals.killed(by_limit=True))
        if engine + _mib(self._truth.os_mib) > self._room.memory_bytes:
            raise StartRefused(refusals.killed(by_limit=False))

    def capture_graphs(self, blocks: int) -> int:
        """CUDA graphs onto the card."""
        held = self.context + self.weights + self.non_torch + blocks * self.block_bytes
        if held + self.graphs > self.total:
            raise StartRefused(self._oom(64 * BYTES_PER_MIB, "capture_model"))
        return self.graphs

    def warm_up(self, blocks: int) -> None:
        """A sampler run with as many requests as may run at once."""
        held = self.context + self.weights + self.non_torch + blocks * self.block_bytes
        if held + self.graphs + self.sampler > self.total:
            rows = min(self._settings.max_num_seqs, self._settings.token_budget)
            raise StartRefused(refusals.core_error(words.sampler_warmup(rows)))

    def plan(self) -> MemoryPlan:
        """All phases in their order.

        Raises:
            StartRefused: At the first that does not fit.
        """
        self.check_device()
        self.load_weights()
        self.profile()
        kv_bytes = self.kv_bytes()
        length = self.check_length(kv_bytes)
        blocks = self.allocate_kv(kv_bytes)
        offload_host, offload_blocks = self.allocate_offload()
        self.capture_graphs(blocks)
        self.warm_up(blocks)
        return self.finished(kv_bytes, blocks, length, offload_host, offload_blocks)

    def finished(
        self, kv_bytes: int, blocks: int, length: int, offload_host: int, offload_blocks: int
    ) -> MemoryPlan:
        """The account of a server that came up."""
        truth = self._truth
        in_shm = self._settings.release.offload_in_shm
        return MemoryPlan(
            total=self.total,
            context=self.context,
            requested=self.requested,
            weights=self.weights,
            activation=self.activation,
            non_torch=self.non_torch,
            graphs=self.graphs,
            graphs_estimate=self.graphs_estimate,
            kv_cache=kv_bytes,
            blocks=blocks,
            block_size=self._settings.block_size,
            block_bytes=self.block_bytes,
            max_model_len=length,
            engine_host=_mib(truth.engine_host_mib),
            os_host=_mib(truth.os_mib),
            offload_host=offload_host,
            offload_blocks=offload_blocks,
            shm=self._settings.offload_bytes if in_shm else 0,
            load_growth=_mib(truth.load_growth_mib),
        )

    def _oom(self, wanted: float, frame: str) -> Refusal:
        """PyTorch's words; what it could not get is more than what was free."""
        used = self.total - self.context
        text = words.cuda_oom(wanted, self.total, wanted / 2, used)
        hint = words.weights_hint(self._settings.release) if frame == "load_model" else None
        return refusals.core_error(text, before=hint, frame=frame)


def _mib(mib: float) -> int:
    return round(mib * BYTES_PER_MIB)


def _weight_matrix_bytes(shape: ModelShape) -> float:
    """The largest single weight: what the allocation that fails asks for."""
    return 2.0 * shape.hidden * shape.intermediate * shape.bytes_per_linear_weight
