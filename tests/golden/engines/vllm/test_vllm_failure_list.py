"""The list of what a classifier must know, each text with the kind that its excerpts must have.

Two lists: the failure signatures of vLLM 0.6 to 0.33 (weights to hangs), and the texts that users
of consumer cards reported. A text that is no failure by itself (a wrapper, a warning) has no kind.
"""

import pytest

from autotune.records import FailureKind
from tests.golden.engines.vllm.test_vllm_failure_excerpts import excerpts, named

K = FailureKind

LISTED: dict[str, set[FailureKind | None]] = {
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate": {
        K.GPU_OOM_WEIGHTS, K.GPU_OOM_PROFILING, K.GPU_OOM_GRAPHS, K.GPU_OOM_WARMUP,
        K.GPU_OOM_UNDER_LOAD, K.GPU_OOM,
    },
    "Failed to load model - not enough GPU memory. Try lowering": {K.GPU_OOM_WEIGHTS},
    "is less than desired GPU memory utilization": {K.GPU_MEMORY_TAKEN},
    "Error in memory profiling. Initial free memory": {K.GPU_MEMORY_TAKEN},
    "No available memory for the cache blocks. Try increasing": {K.NO_ROOM_FOR_KV},
    "To serve at least one request with the models's max seq len": {K.KV_TOO_SMALL},
    "To serve at least one request with the model's max seq len": {K.KV_TOO_SMALL},
    "is larger than the maximum number of tokens that can be stored in KV cache": {K.KV_TOO_SMALL},
    "Cannot auto-fit max_model_len": {K.NO_ROOM_FOR_KV},
    "in capture_end": {K.GPU_OOM_GRAPHS},
    "CUDA out of memory occurred when warming up sampler with": {K.GPU_OOM_WARMUP},
    "Insufficient space in /dev/shm for CPU KV offload shared region": {K.SHM_TOO_SMALL},
    "Cgroup memory preflight for": {K.CONTAINER_OOM},
    "cudaHostRegister failed (code=": {None},
    "num_cpu_blocks must be specified": {K.UNSUPPORTED_COMBINATION},
    "cpu_bytes_to_use must be specified": {K.UNSUPPORTED_COMBINATION},
    "does not support HMA but HMA is enabled": {K.UNSUPPORTED_COMBINATION},
    "failed to convert the KV cache specs to one unified type": {K.UNSUPPORTED_COMBINATION},
    "is not valid for this configuration": {K.UNSUPPORTED_COMBINATION},
    "No valid attention backend found": {K.UNSUPPORTED_COMBINATION},
    "Invalid attention backend:": {K.INVALID_VALUE},
    "FP8 KV cache is not supported by the Triton attention backend": {K.UNSUPPORTED_COMBINATION},
    "fp8e4nv": {K.UNSUPPORTED_COMBINATION},
    "FlashAttention does not support fp8 kv-cache on this device": {K.UNSUPPORTED_COMBINATION},
    "No common block size for": {K.UNSUPPORTED_COMBINATION},
    "Bfloat16 is only supported on GPUs with compute capability of at least 8.0": {
        K.UNSUPPORTED_COMBINATION
    },
    "Async scheduling is not": {K.UNSUPPORTED_COMBINATION, None},  # also a warning of good starts
    "must be greater than or equal to max_num_seqs": {K.INVALID_VALUE},
    "is smaller than max_model_len": {K.INVALID_VALUE},
    "is greater than the derived max_model_len": {K.INVALID_VALUE},
    "validation error for": {K.INVALID_VALUE},
    "is not supported for the current GPU. Minimum capability": {K.NO_KERNEL},
    "unrecognized arguments:": {K.UNKNOWN_ARGUMENT},
    "invalid choice:": {K.INVALID_VALUE},
    "[Errno 98]": {K.PORT_IN_USE},
    "Invalid repository ID or local directory specified": {K.MODEL_MISSING},
    "GatedRepoError": {K.MODEL_GATED},
    "RepositoryNotFoundError": {K.MODEL_MISSING},
    "401 Client Error": {K.MODEL_GATED, K.MODEL_MISSING},
    "is not a local folder and is not a valid model identifier": {K.MODEL_MISSING},
    "Failed to infer device type": {K.NO_GPU},
    "EngineCore encountered a fatal error.": {
        K.GPU_OOM_UNDER_LOAD, K.DIED_UNDER_LOAD, K.HUNG, K.GPU_OOM_WARMUP,
    },
    "died unexpectedly, shutting down client": {K.DIED_UNDER_LOAD},
    "EngineDeadError": {K.GPU_OOM_UNDER_LOAD, K.DIED_UNDER_LOAD, K.HUNG},
    "No available shared memory broadcast block found": {K.HUNG, None},
    "Timed out waiting for engine": {K.START_TIMEOUT},
    "Failed core proc(s): {'EngineCore': -9}": {K.HOST_OOM},
    "UVA is not available": {K.PINNING_REFUSED},
    "no kernel image is available": {K.NO_KERNEL},
    "illegal memory access": {K.DIED_UNDER_LOAD, K.CRASHED_AT_START},
    "fp8_e5m2 kv-cache is not supported with fp8 checkpoints": {K.UNSUPPORTED_COMBINATION},
}  # fmt: skip

WITH_MARGIN = {
    "is less than desired GPU memory utilization",
    "To serve at least one request with the models's max seq len",
    "To serve at least one request with the model's max seq len",
    "CUDA out of memory occurred when warming up sampler with",
    "Insufficient space in /dev/shm for CPU KV offload shared region",
    "Cgroup memory preflight for",
}
"""Texts whose own figures, or those of the line before them, give a margin."""


@pytest.mark.parametrize("text", LISTED)
def test_each_text_of_the_list_has_an_excerpt_with_its_kind(text: str) -> None:
    """All excerpts that hold it are called so, and there is one at least."""
    holding = [case for case in excerpts() if text in case["log"]]
    assert holding
    found = {failure.kind if (failure := named(case)) else None for case in holding}
    assert found <= LISTED[text]


@pytest.mark.parametrize("text", sorted(WITH_MARGIN))
def test_a_text_with_figures_gives_a_signed_margin(text: str) -> None:
    """Negative: by so many GiB it did not fit."""
    failures = [named(case) for case in excerpts() if text in case["log"]]
    margins = [f.margin_gib for f in failures if f is not None and f.margin_gib is not None]
    assert margins
    assert all(margin < 0 for margin in margins)


def test_a_container_killed_for_its_memory_is_named_without_a_text() -> None:
    """Exit code 137 and Docker's word for it."""
    killed = [case for case in excerpts() if case.get("oom_killed") and case["exit"] == 137]
    kinds = {failure.kind for case in killed if (failure := named(case)) is not None}
    assert kinds == {K.CONTAINER_OOM}
