"""What a start will run with, as far as memory depends on it.

In the order in which vLLM itself decides: the configuration, the fixed arguments of the study,
the variables of the target, the defaults of the release and the card.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from autotune.engines.model_shape import ModelShape
from autotune.engines.vllm.releases import Release, parse_release, release_table
from autotune.records import Configuration, Scalar
from autotune.seams.engine import LaunchContext
from autotune.units import BYTES_PER_GIB, bytes_from_gib

SECOND_RUNNER_FIRST: Final = Release(0, 25, 0)
"""From here on dense models run on the second model runner (config/vllm.py)."""

CPU_BLOCK_TOKENS: Final = 128
"""Block size on the CPU (platforms/cpu.py); 16 elsewhere (config/cache.py)."""

_FLAG: Final[Mapping[str, str]] = {
    "gpu-memory-utilization": "gpu_memory_utilization",
    "device-memory-utilization": "gpu_memory_utilization",
    "kv-cache-memory-bytes": "kv_cache_memory_bytes",
    "kv-cache-memory": "kv_cache_memory_bytes",
    "kv-cache-dtype": "kv_cache_dtype",
    "max-num-seqs": "max_num_seqs",
    "max-num-batched-tokens": "max_num_batched_tokens",
    "max-model-len": "max_model_len",
    "block-size": "block_size",
    "kv-offloading-size": "kv_offload_gib",
    "cpu-offload-gb": "cpu_offload_gib",
    "performance-mode": "performance_mode",
    "attention-backend": "attention_backend",
    "tensor-parallel-size": "tensor_parallel_size",
    "tp": "tensor_parallel_size",
    "optimization-level": "optimization_level",
}
_SWITCHES: Final[Mapping[str, tuple[str, bool]]] = {
    "enforce-eager": ("enforce_eager", True),
    "no-enforce-eager": ("enforce_eager", False),
    "no-enable-chunked-prefill": ("chunked_prefill", False),
    "enable-chunked-prefill": ("chunked_prefill", True),
}
_HUMAN: Final = re.compile(r"(\d+(?:\.\d+)?)([kKmMgGtT])?i?")
_DECIMAL: Final = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY: Final = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True, kw_only=True)
class MemorySettings:
    """Settings that memory depends on, as the engine will resolve them.

    Attributes:
        utilization: Share of the GPU's memory; of the host's on the CPU.
        kv_bytes: KV bytes asked for directly; None to take what is left of the share.
        kv_cache_dtype: As spelt; "auto" for the model's own.
        max_num_seqs: Sequences in a step.
        max_num_batched_tokens: Tokens in a step.
        max_model_len_tokens: Longest request; None if the engine fits it to the memory.
        block_tokens: Tokens in a KV block.
        offload_bytes: KV cache in host memory that was asked for.
        weights_offload_bytes: Weights in host memory.
        eager: Whether there are no CUDA graphs.
        attention_backend: As asked; None for the engine's choice.
        gpus: Tensor-parallel ranks.
        second_runner: Whether the second model runner is at work.
        is_hopper: Whether the card's compute capability is 9.x.
    """

    utilization: float
    kv_bytes: int | None
    kv_cache_dtype: str
    max_num_seqs: int
    max_num_batched_tokens: int
    max_model_len_tokens: int | None
    block_tokens: int
    offload_bytes: int
    weights_offload_bytes: int
    eager: bool
    attention_backend: str | None
    gpus: int
    second_runner: bool
    is_hopper: bool


def memory_settings(
    configuration: Configuration, context: LaunchContext, shape: ModelShape
) -> MemorySettings:
    """Resolve what a start will run with."""
    capabilities = context.capabilities
    release, on_cpu = parse_release(capabilities.release), capabilities.platform == "cpu"
    said = {**fixed_settings(context.fixed_arguments), **configuration.values}
    seqs, tokens = _batch_limits(said, context, release)
    length = _length(said.get("max_model_len"), shape)
    if said.get("max_num_batched_tokens") is None:
        if said.get("chunked_prefill") is False and length is not None:
            tokens = max(tokens, length)
        if length is not None:
            tokens = min(tokens, seqs * length)
    if said.get("max_num_seqs") is None:
        seqs = min(seqs, tokens)
    backend, gpu = said.get("attention_backend"), context.hardware.gpu
    return MemorySettings(
        utilization=_utilization(said, release, capabilities.platform),
        kv_bytes=_kv_bytes(said, context, on_cpu=on_cpu),
        kv_cache_dtype=str(said.get("kv_cache_dtype", "auto")),
        max_num_seqs=seqs,
        max_num_batched_tokens=tokens,
        max_model_len_tokens=length,
        block_tokens=whole(said.get("block_size")) or (CPU_BLOCK_TOKENS if on_cpu else 16),
        offload_bytes=bytes_from_gib(real(said.get("kv_offload_gib")) or 0.0),
        weights_offload_bytes=bytes_from_gib(real(said.get("cpu_offload_gib")) or 0.0),
        eager=on_cpu or said.get("enforce_eager") is True or said.get("optimization_level") == 0,
        attention_backend=None if backend in {None, "auto"} else str(backend),
        gpus=whole(said.get("tensor_parallel_size")) or 1,
        second_runner=_second_runner(context, release),
        is_hopper=gpu is not None and gpu.compute_capability[0] == 9,
    )


def fixed_settings(arguments: tuple[str, ...]) -> dict[str, Scalar]:
    """Memory-related settings among a study's fixed arguments, under autotune's names."""
    found: dict[str, Scalar] = {}
    for index, argument in enumerate(arguments):
        name, _, inline = argument.removeprefix("--").replace("_", "-").partition("=")
        if not argument.startswith("-"):
            continue
        if name in _SWITCHES:
            key, value = _SWITCHES[name]
            found[key] = value
        elif name in _FLAG:
            value_text = argument.partition("=")[2] or (
                arguments[index + 1] if not inline and index + 1 < len(arguments) else ""
            )
            if value_text:
                found[_FLAG[name]] = value_text
    return found


def fixed_values(arguments: tuple[str, ...]) -> dict[str, Scalar]:
    """The same as configurations hold them: numbers as numbers, however they are spelt."""
    found: dict[str, Scalar] = {}
    for name, value in fixed_settings(arguments).items():
        number = real(value)
        found[name] = value if number is None else int(number) if number.is_integer() else number
    return found


def whole(value: Scalar | None) -> int | None:
    """A whole number, also in vLLM's spellings 32k, 1.5M (decimal) and 4K (binary)."""
    number = real(value)
    return None if number is None else int(number)


def real(value: Scalar | None) -> float | None:
    """A number, also as text; None where it is none."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    found = _HUMAN.fullmatch(value.strip())
    if found is None:
        return None
    unit = found[2] or ""
    factor = _DECIMAL.get(unit) or _BINARY.get(unit) or 1
    return float(found[1]) * factor


def _second_runner(context: LaunchContext, release: Release) -> bool:
    """Whether the second model runner is at work: by its variable, else by the release."""
    asked = context.target.env.get("VLLM_USE_V2_MODEL_RUNNER")
    return release >= SECOND_RUNNER_FIRST if asked is None else asked == "1"


def _utilization(said: Mapping[str, Scalar], release: Release, platform: str) -> float:
    asked = real(said.get("gpu_memory_utilization"))
    if asked is not None:
        return asked
    facts = release_table().find("gpu_memory_utilization")
    default = None if facts is None else facts.default(release, platform)
    return (real(default.value) if default is not None else None) or 0.9


def _kv_bytes(said: Mapping[str, Scalar], context: LaunchContext, *, on_cpu: bool) -> int | None:
    direct = whole(said.get("kv_cache_memory_bytes"))
    in_gib = real(said.get("kv_cache_memory_gib"))
    if in_gib is not None:
        return bytes_from_gib(in_gib)
    if direct is not None or not on_cpu:
        return direct
    space = real(said.get("cpu_kv_cache_gib"))
    if space is None:
        space = real(context.target.env.get("VLLM_CPU_KVCACHE_SPACE"))
    return bytes_from_gib(space) if space else None


def _length(asked: Scalar | None, shape: ModelShape) -> int | None:
    """Longest request; None for "auto" and -1, where the engine fits it to the memory."""
    if asked in {"auto", -1, "-1"}:
        return None
    return whole(asked) or shape.max_position_tokens


def _batch_limits(
    said: Mapping[str, Scalar], context: LaunchContext, release: Release
) -> tuple[int, int]:
    """Sequences and tokens in a step: asked for, or the defaults of the OpenAI server.

    engine/arg_utils.py `get_batch_defaults`: 1024 and 8192 from 70 GiB on (from 0.10.2 without
    the A100), 16384 tokens from 160 GiB on (0.33.0), else 256 and 2048. The CPU has 128 and 2048
    per rank from 0.10.0 on.
    """
    gpu = context.hardware.gpu
    seqs, tokens = 256, 2048
    if context.capabilities.platform == "cpu":
        seqs, tokens = (128, 2048) if release >= (0, 10, 0) else (256, 2048)
    elif gpu is not None and gpu.memory_bytes >= 70 * BYTES_PER_GIB:
        is_a100 = "a100" in gpu.name.lower() and release >= (0, 10, 2)
        if not is_a100 and gpu.compute_capability != (12, 1):
            seqs, tokens = 1024, 8192
        if gpu.memory_bytes >= 160 * BYTES_PER_GIB and release >= (0, 33, 0):
            seqs, tokens = 1024, 16384
    if said.get("performance_mode") == "throughput":
        seqs, tokens = 2 * seqs, 2 * tokens
    asked_seqs, asked_tokens = (
        whole(said.get("max_num_seqs")),
        whole(said.get("max_num_batched_tokens")),
    )
    return asked_seqs or seqs, asked_tokens or tokens
