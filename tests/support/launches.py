"""Launch plans as the vLLM engine writes them, for tests of exports."""

from pathlib import Path

from autotune.records import Configuration
from autotune.seams.deployment import LaunchPlan, Mount
from autotune.units import BYTES_PER_GIB

MODEL = "Qwen/Qwen2.5-7B-Instruct-AWQ"

CONFIGURATION = Configuration.of({
    "attention_backend": "FLASHINFER",
    "async_scheduling": False,
    "gpu_memory_utilization": 0.9,
    "kv_cache_dtype": "fp8",
    "kv_offload_gib": 32,
    "max_model_len": 32768,
})  # fmt: skip

OPTIONS = (
    "--attention-backend", "FLASHINFER", "--no-async-scheduling",
    "--gpu-memory-utilization", "0.9", "--kv-cache-dtype", "fp8",
    "--kv-offloading-size", "32", "--kv-offloading-backend", "native",
    "--max-model-len", "32768",
)  # fmt: skip

DOCKER = LaunchPlan(
    argv=("vllm", "serve", MODEL, "--host", "0.0.0.0", "--port", "8000", *OPTIONS),
    env={
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_LOGGING_LEVEL": "DEBUG",
        "HF_HOME": "/root/.cache/huggingface",
        "VLLM_CACHE_ROOT": "/var/cache/autotune/vllm",
    },
    env_passthrough=("HF_TOKEN", "HF_ENDPOINT"),
    image="vllm/vllm-openai:v0.33.0",
    port=43211,
    mounts=(
        Mount(source=Path("/home/u/.cache/huggingface"), target="/root/.cache/huggingface"),
        Mount(source=Path("/home/u/.cache/autotune/engines/x"), target="/var/cache/autotune"),
    ),
    shm_bytes=65 * BYTES_PER_GIB,
    memory_limit_bytes=85 * BYTES_PER_GIB,
    gpus=True,
    startup_timeout_s=1200.0,
)
"""A trial in a container."""

PROCESS = LaunchPlan(
    argv=("vllm", "serve", MODEL, "--host", "127.0.0.1", "--port", "43211", *OPTIONS),
    env={"VLLM_NO_USAGE_STATS": "1", "VLLM_SERVER_DEV_MODE": "1"},
    env_passthrough=("HF_TOKEN",),
    port=43211,
)
"""The same trial as a process."""
