"""Launch contexts for tests of vLLM's memory: a card, a model, a release."""

from collections.abc import Mapping
from typing import Any

from autotune.seams.engine import Capabilities, EngineTarget, LaunchContext, ModelFacts
from autotune.seams.telemetry import Gpu, Hardware
from autotune.units import BYTES_PER_GIB, BYTES_PER_MIB

QWEN_7B = {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 3584,
    "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
    "intermediate_size": 18944, "vocab_size": 152064, "torch_dtype": "bfloat16",
    "max_position_embeddings": 32768, "tie_word_embeddings": False,
}  # fmt: skip
QWEN_1B5 = {
    **QWEN_7B, "hidden_size": 1536, "num_attention_heads": 12, "num_key_value_heads": 2,
    "intermediate_size": 8960, "vocab_size": 151936, "tie_word_embeddings": True,
}  # fmt: skip
TINY = {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 128,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 256, "vocab_size": 4096, "torch_dtype": "float32",
    "max_position_embeddings": 8192, "tie_word_embeddings": True,
}  # fmt: skip
QWEN_7B_AWQ = {
    **QWEN_7B,
    "torch_dtype": "float16",
    "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128},
}


def context(
    config: Mapping[str, Any] = QWEN_1B5,
    *,
    release: str = "0.33.0",
    gpu_mib: int = 12_227,
    gpu_name: str = "NVIDIA GeForce RTX 5070",
    host_gib: float = 94.0,
    shm_gib: float = 0.0,
    platform: str = "cuda",
    image: str | None = None,
    memory_limit_gib: float | None = None,
    fixed: tuple[str, ...] = (),
    env: Mapping[str, str] | None = None,
    is_wsl: bool = False,
) -> LaunchContext:
    """A start on a 12 GB card with the 1.5B shape, unless told otherwise."""
    gpu = Gpu(
        index=0,
        name=gpu_name,
        memory_bytes=gpu_mib * BYTES_PER_MIB,
        compute_capability=(12, 0),
    )
    limit = None if memory_limit_gib is None else round(memory_limit_gib * BYTES_PER_GIB)
    return LaunchContext(
        target=EngineTarget(
            deployer="process" if image is None else "docker",
            command=("vllm", "serve"),
            image=image,
            env=env or {},
        ),
        capabilities=Capabilities(engine="vllm", release=release, platform=platform),
        hardware=Hardware(
            gpus=() if platform == "cpu" else (gpu,),
            host_memory_bytes=round(host_gib * BYTES_PER_GIB),
            shm_bytes=round(shm_gib * BYTES_PER_GIB),
            is_wsl=is_wsl,
        ),
        model=ModelFacts(name="m", config=config),
        port=8000,
        fixed_arguments=fixed,
        memory_limit_bytes=limit,
    )
