"""Cards: what a GPU and the host around it can do, one YAML file each in `cards/`.

Peaks are the vendor's. Efficiencies say how much of a peak real kernels reach; they are fitted by
`autotune.engines.simulated.calibrate` from trials on a real card. A card whose `calibrated` is
null carries guesses of the same shape as its kin, and says so.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import Field

from autotune.errors import SpecError
from autotune.spec.files import StrictModel, read_yaml, validate
from autotune.units import BYTES_PER_MIB

CARDS: Final = Path(__file__).resolve().parent / "cards"
DEFAULT_CARD: Final = "rtx-5070"


class Calibration(StrictModel):
    """Where the efficiencies are from.

    Attributes:
        date: ISO 8601 day.
        release: vLLM release that was measured.
        records: Trial records that were fitted.
        held_out_records: Records that were left out of a fit, and predicted.
        method: How they were left out.
        median_error: Metric to median relative error on the records left out.
        p90_error: Metric to 90th percentile of it.
    """

    date: str
    release: str
    records: int = Field(ge=1)
    held_out_records: int = Field(ge=0)
    method: str = "left out by lot"
    median_error: dict[str, float] = Field(default_factory=dict)
    p90_error: dict[str, float] = Field(default_factory=dict)


class PeakFlops(StrictModel):
    """Dense tensor-core peaks in TFLOP/s; None where the chip lacks the type."""

    bf16: float = Field(gt=0)
    fp8: float | None = Field(default=None, gt=0)


class Power(StrictModel):
    """Board power in watts."""

    idle: float = Field(gt=0)
    limit: float = Field(gt=0)


class GemmEfficiency(StrictModel):
    """Share of the peaks that matrix products reach.

    Attributes:
        compute: Of the tensor cores' peak, for a prefill of thousands of tokens.
        bandwidth: Of the memory's peak, reading weights for a small batch.
        fp8_compute: Of the fp8 peak, as a factor on `compute`.
        int4_compute: What dequantising 4-bit weights leaves of `compute` (Marlin, Machete).
        int4_bandwidth: The same for `bandwidth`.
        moe_compute: What routing to experts leaves of `compute`.
        sharpness: How sudden the change from memory-bound to compute-bound is: the two times are
            joined by a p-norm with this exponent.
    """

    compute: float = Field(gt=0, le=1.2)
    bandwidth: float = Field(gt=0, le=1.2)
    fp8_compute: float = Field(default=0.85, gt=0)
    int4_compute: float = Field(default=0.75, gt=0)
    int4_bandwidth: float = Field(default=0.80, gt=0)
    moe_compute: float = Field(default=0.55, gt=0)
    sharpness: float = Field(default=3.0, ge=1)


class AttentionEfficiency(StrictModel):
    """Share of the peaks that one attention backend reaches.

    Attributes:
        prefill: Of the tensor cores' peak.
        decode: Of the memory's peak, reading the KV cache.
        fp8_prefill: Factor on `prefill` with an fp8 KV cache.
        fp8_decode: Factor on `decode` with an fp8 KV cache (half the bytes, some conversion).
        sequence_token_ns: GPU time per layer and token of the longest sequence that decodes, of
            a kernel that does not spread one sequence over the chip; a KV cache of half the bytes
            takes half of it.
        launch_us: Host time per layer to launch attention where no graph holds it, beyond
            FLASH_ATTN's: Triton and FlashInfer launch from Python.
        fp8_launch_us: The same, for what an fp8 KV cache adds: scales that are handed over.
        layer_us: Further GPU time per layer and iteration (planning, small kernels).
        host_us: Further host time per iteration (metadata, planning).
    """

    prefill: float = Field(gt=0, le=1.2)
    decode: float = Field(gt=0, le=1.2)
    fp8_prefill: float = Field(default=0.9, gt=0)
    fp8_decode: float = Field(default=0.8, gt=0)
    sequence_token_ns: float = Field(default=0.0, ge=0)
    launch_us: float = Field(default=0.0, ge=0)
    fp8_launch_us: float = Field(default=0.0, ge=0)
    layer_us: float = Field(default=0.0, ge=0)
    host_us: float = Field(default=0.0, ge=0)


class GpuOverhead(StrictModel):
    """GPU time that no roofline term explains.

    Attributes:
        layer_us: Per layer and iteration: short kernels and the gaps between them in a graph.
        iteration_us: Per iteration: embedding, final norm, sampling.
        token_traffic: Bytes per token and layer read and written between matrix products, in
            units of (hidden size x bytes of an activation), with fused kernels.
        eager_traffic: The same without compilation.
    """

    layer_us: float = Field(default=11.0, ge=0)
    iteration_us: float = Field(default=150.0, ge=0)
    token_traffic: float = Field(default=16.0, ge=0)
    eager_traffic: float = Field(default=28.0, ge=0)


class HostCosts(StrictModel):
    """CPU time of the server, in microseconds unless the name says otherwise.

    Attributes:
        iteration_us: Scheduler, input preparation, output handling, per iteration.
        sequence_us: The same per running sequence.
        prefill_token_us: Input preparation per scheduled prompt token.
        graph_launch_us: Launch of a full graph, per iteration.
        piecewise_layer_us: Per layer where attention runs between pieces of a graph.
        compiled_layer_us: Per layer of compiled code without a graph.
        eager_layer_us: Per layer without compilation.
        eager_sequence_us: Per running sequence, what launching eagerly adds: it holds Python's
            lock for the whole iteration, and the engine core's other threads (copying outputs,
            encoding and sending them) need it for each sequence. While a graph runs they have it.
            On an H100 100 streams decoded 9 ms an iteration slower than one, at 1.5B and at 7B;
            with graphs 3 ms.
        frontend_chunk_us: API server, per chunk that is streamed; while it is busy, tokens
            join the next chunk, and the engine runs on.
        frontend_token_share: Work per token that no merging saves, as a share of that per chunk:
            vLLM 0.26.0's own code spent 11.5 to 14.6 us a token and 33 to 42 us a chunk, 0.33 to
            0.35, in three runs of `benchmarks/gpu/frontend_costs.py`.
        frontend_request_us: API server, per request: HTTP, validation, hand-over.
        frontend_turn_us: The part of that which is done in one turn of the event loop.
        frontend_prompt_token_us: API server, per prompt token.
        request_latency_us: Way of a request from the client to the engine, in no queue.
        latency_us: Way of a token from the engine to the client, in no queue.
        v0_iteration_us: As `iteration_us`, in the V0 engine: no separate processes.
        v0_sequence_us: As `sequence_us`, in the V0 engine.
        overlap_sharpness: How well async scheduling hides the shorter of GPU and host time: an
            iteration takes their p-norm with this exponent, for either is late at times.
        offload_iteration_us: The KV offload's bookkeeping, per iteration.
        offload_sequence_us: The same, per running sequence: each iteration looks through all of
            them for blocks to store, and every block that decoding fills is a store (vLLM
            `kv_connector/v1/offloading/scheduler.py`, `_build_store_jobs`). On an H100 100
            streams of a 1.5B shape decoded a sixth slower for it, one stream did not.
        offload_store_us: The same, per prompt chunk whose blocks go to host memory.
    """

    iteration_us: float = Field(default=1100.0, ge=0)
    sequence_us: float = Field(default=9.0, ge=0)
    prefill_token_us: float = Field(default=0.05, ge=0)
    graph_launch_us: float = Field(default=120.0, ge=0)
    piecewise_layer_us: float = Field(default=60.0, ge=0)
    compiled_layer_us: float = Field(default=110.0, ge=0)
    eager_layer_us: float = Field(default=330.0, ge=0)
    eager_sequence_us: float = Field(default=0.0, ge=0)
    frontend_chunk_us: float = Field(default=45.0, ge=0)
    frontend_token_share: float = Field(default=0.34, ge=0)
    frontend_request_us: float = Field(default=600.0, ge=0)
    frontend_turn_us: float = Field(default=75.0, ge=0)
    frontend_prompt_token_us: float = Field(default=0.35, ge=0)
    request_latency_us: float = Field(default=3500.0, ge=0)
    latency_us: float = Field(default=1500.0, ge=0)
    v0_iteration_us: float = Field(default=2600.0, ge=0)
    v0_sequence_us: float = Field(default=45.0, ge=0)
    overlap_sharpness: float = Field(default=4.0, ge=1)
    offload_iteration_us: float = Field(default=90.0, ge=0)
    offload_sequence_us: float = Field(default=8.0, ge=0)
    offload_store_us: float = Field(default=700.0, ge=0)


class Transfer(StrictModel):
    """Host memory to GPU, for the KV offload."""

    efficiency: float = Field(default=0.75, gt=0, le=1)
    unpinned_efficiency: float = Field(default=0.25, gt=0, le=1)
    latency_us: float = Field(default=900.0, ge=0)


class MemoryTruth(StrictModel):
    """What the simulated card really uses: on purpose not the screening model's estimates.

    Attributes:
        context_mib: CUDA context and libraries, outside vLLM's budget.
        desktop_mib: Other users of the card: a desktop, a browser.
        weights_factor: Loaded weights / their size by the model's shape.
        weights_extra_mib: What loading takes beside them whatever the model's size: on an H100 vLLM
            0.26 named 0.10 GiB more than the weights at 1.5B and at 7B.
        int4_weights_factor: Loaded 4-bit matrices / their size: a kernel that wants zero points in
            16 bits (Machete, which vLLM 0.26 takes for AWQ on Hopper) keeps 2% more.
        int4_profile_mib: What the profile run takes at its peak beyond a forward pass with 4-bit
            weights. On an H100 it took 1.04 GiB at 2,048 tokens of a 7B shape; why is not known.
        activation_factor: Factor on the peak of a forward pass at the token budget.
        hidden_copies: Hidden states that a token holds at that peak, beside its feed-forward layer.
            On an H100 vLLM 0.26 took 62,972 bytes more per token of budget for a 1.5B shape, to 28
            bytes: with 3 it is 62,976.
        activation_mib: What the profile run takes at any token budget.
        compile_mib: What it takes beyond that where the start compiles its graphs instead of
            finding them in the cache.
        sampler_copies: 4-byte copies of the logits that sampling holds at once.
        non_torch_mib: cuBLAS, NCCL and the like, inside the budget.
        flashinfer_workspace_mib: Buffer that FlashInfer allocates.
        graph_layer_kib: Memory of one captured graph, per layer.
        graph_pool_mib: Memory that all graphs share.
        graph_estimate_factor: vLLM's estimate / what graphs take.
        load_growth_mib: What a busy server takes beyond the profile (fragments).
        os_mib: Host memory used by all else.
        engine_host_mib: Host memory of the server's processes.
        offload_host_factor: Host memory of the KV offload / its size.
        pinnable_share: Share of host memory that can be pinned.
    """

    context_mib: float = Field(default=470.0, ge=0)
    desktop_mib: float = Field(default=0.0, ge=0)
    weights_factor: float = Field(default=1.004, gt=0)
    weights_extra_mib: float = Field(default=0.0, ge=0)
    int4_weights_factor: float = Field(default=1.0, gt=0)
    int4_profile_mib: float = Field(default=0.0, ge=0)
    activation_factor: float = Field(default=1.06, gt=0)
    hidden_copies: float = Field(default=5.0, ge=0)
    activation_mib: float = Field(default=0.0, ge=0)
    compile_mib: float = Field(default=0.0, ge=0)
    sampler_copies: float = Field(default=3.0, ge=0)
    non_torch_mib: float = Field(default=110.0, ge=0)
    flashinfer_workspace_mib: float = Field(default=394.0, ge=0)
    graph_layer_kib: float = Field(default=280.0, ge=0)
    graph_pool_mib: float = Field(default=90.0, ge=0)
    graph_estimate_factor: float = Field(default=1.05, gt=0)
    load_growth_mib: float = Field(default=60.0, ge=0)
    os_mib: float = Field(default=3400.0, ge=0)
    engine_host_mib: float = Field(default=5200.0, ge=0)
    offload_host_factor: float = Field(default=1.01, gt=0)
    pinnable_share: float = Field(default=0.95, gt=0, le=1)


class StartCosts(StrictModel):
    """Seconds of a start.

    Measured with vLLM 0.26.0 on an H100 host: a refused argument ends after 23 to 32 s, a small
    model is healthy after 75 s eager, 105 to 140 s with graphs, 228 to 300 s with FlashInfer.

    Attributes:
        import_s: Python, torch, vLLM, argument parsing.
        process_s: Engine core process, CUDA context, model class.
        disk_gb_per_s: Reading weights.
        compile_layer_s: torch.compile of one layer, nothing cached.
        compile_base_s: The rest of a compilation, nothing cached.
        compile_cached_s: Loading a compiled model from the cache.
        profile_s: Profile run.
        graph_capture_s: Capture of one graph.
        kv_s: Allocating the KV cache and warming up.
        flashinfer_jit_s: Building FlashInfer's kernels, nothing cached.
        pin_gib_per_s: Allocating and pinning host memory.
    """

    import_s: float = Field(default=25.0, ge=0)
    process_s: float = Field(default=19.0, ge=0)
    disk_gb_per_s: float = Field(default=1.8, gt=0)
    compile_layer_s: float = Field(default=0.75, ge=0)
    compile_base_s: float = Field(default=14.0, ge=0)
    compile_cached_s: float = Field(default=7.0, ge=0)
    profile_s: float = Field(default=6.0, ge=0)
    graph_capture_s: float = Field(default=0.12, ge=0)
    kv_s: float = Field(default=4.0, ge=0)
    flashinfer_jit_s: float = Field(default=110.0, ge=0)
    pin_gib_per_s: float = Field(default=3.0, gt=0)


class Noise(StrictModel):
    """Relative standard deviations of the measurement noise.

    Attributes:
        gpu: Of GPU time, per deployment.
        host: Of host time, per deployment: processes land on other cores.
        iteration: Of each iteration's time, independent.
    """

    gpu: float = Field(default=0.006, ge=0, lt=0.5)
    host: float = Field(default=0.015, ge=0, lt=0.5)
    iteration: float = Field(default=0.01, ge=0, lt=0.5)


class Card(StrictModel):
    """One GPU and the host around it.

    Attributes:
        name: File name without `.yaml`; what a study writes as `engine.hardware`.
        title: As the driver calls it.
        compute_capability: Of the chip.
        nvml_memory_mib: Total memory as NVML reports it.
        cuda_memory_mib: Total as `cudaMemGetInfo` reports it; vLLM's shares are of this.
        bandwidth_gb_per_s: Peak of the card's memory, 10^9 bytes per second.
        tflops: Peaks of the tensor cores.
        pcie_gb_per_s: Peak from host memory to card that copies reach at best.
        host_memory_gib: Memory of a host that such a card usually sits in.
        host_cpu_count: Its cores.
        calibrated: Where the efficiencies are from; None for guesses.
    """

    name: str
    title: str
    compute_capability: tuple[int, int]
    nvml_memory_mib: int = Field(gt=0)
    cuda_memory_mib: int = Field(gt=0)
    bandwidth_gb_per_s: float = Field(gt=0)
    tflops: PeakFlops
    pcie_gb_per_s: float = Field(gt=0)
    power_w: Power
    host_memory_gib: float = Field(default=64.0, gt=0)
    host_cpu_count: int = Field(default=16, ge=1)
    gemm: GemmEfficiency
    attention: Mapping[str, AttentionEfficiency]
    gpu: GpuOverhead = GpuOverhead()
    host: HostCosts = HostCosts()
    transfer: Transfer = Transfer()
    memory: MemoryTruth = MemoryTruth()
    start: StartCosts = StartCosts()
    noise: Noise = Noise()
    calibrated: Calibration | None = None

    @property
    def cuda_memory_bytes(self) -> int:
        """Total memory as CUDA reports it."""
        return self.cuda_memory_mib * BYTES_PER_MIB

    @property
    def bandwidth_bytes_per_s(self) -> float:
        """Peak of the card's memory."""
        return self.bandwidth_gb_per_s * 1e9

    def attention_of(self, backend: str) -> AttentionEfficiency:
        """Efficiency of a backend; FLASH_ATTN's where the file does not list it."""
        return self.attention.get(backend) or self.attention["FLASH_ATTN"]


def card_names() -> tuple[str, ...]:
    """Every card that there is a file for."""
    return tuple(sorted(path.stem for path in CARDS.glob("*.yaml")))


def read_card(path: Path) -> Card:
    """Read a card file.

    Raises:
        SpecError: Naming the file and the field.
    """
    return validate(Card, read_yaml(path), where=str(path))


def card_named(name: str) -> Card:
    """A card that came with the package, or one from a file that a path names.

    Raises:
        SpecError: If there is none; the hint lists those that there are.
    """
    if name.endswith((".yaml", ".yml")):
        return read_card(Path(name))
    path = CARDS / f"{name.lower()}.yaml"
    if not path.is_file():
        message = f"engine.hardware: there is no simulated card {name!r}"
        raise SpecError(message, hint=f"Known ones: {', '.join(card_names())}.")
    return read_card(path)
