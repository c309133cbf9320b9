"""The failure texts of each release, read from the packages, against the classifier."""

from typing import Any

import pytest

from autotune.engines.vllm.failures import explain
from autotune.records import FailureKind
from autotune.seams.deployment import ExitEvidence
from autotune.seams.engine import Evidence
from tests.support.vllm_texts import filled, golden, releases

K = FailureKind
RELEASES = releases("vllm_failures")

KINDS: dict[str, FailureKind] = {
    "kv_too_small": K.KV_TOO_SMALL,
    "kv_too_small_v0": K.KV_TOO_SMALL,
    "no_room": K.NO_ROOM_FOR_KV,
    "auto_fit": K.NO_ROOM_FOR_KV,
    "memory_taken": K.GPU_MEMORY_TAKEN,
    "memory_moved": K.GPU_MEMORY_TAKEN,
    "sampler": K.GPU_OOM_WARMUP,
    "load": K.GPU_OOM_WEIGHTS,
    "mamba": K.UNSUPPORTED_COMBINATION,
    "shm": K.SHM_TOO_SMALL,
    "cpu_kv": K.HOST_OOM,
    "cpu_reserved": K.NO_ROOM_FOR_KV,
    "cpu_blocks": K.UNSUPPORTED_COMBINATION,
    "cpu_bytes": K.UNSUPPORTED_COMBINATION,
    "hma": K.UNSUPPORTED_COMBINATION,
    "unify": K.UNSUPPORTED_COMBINATION,
    "unify_later": K.UNSUPPORTED_COMBINATION,
    "offload_platform": K.UNSUPPORTED_COMBINATION,
    "expandable": K.UNSUPPORTED_COMBINATION,
    "offload_size": K.INVALID_VALUE,
    "uva": K.PINNING_REFUSED,
    "backend_invalid": K.UNSUPPORTED_COMBINATION,
    "backend_none": K.UNSUPPORTED_COMBINATION,
    "backend_unknown": K.INVALID_VALUE,
    "backend_unknown_later": K.INVALID_VALUE,
    "triton_fp8": K.UNSUPPORTED_COMBINATION,
    "flash_fp8": K.UNSUPPORTED_COMBINATION,
    "cpu_fp8": K.UNSUPPORTED_COMBINATION,
    "e5m2": K.UNSUPPORTED_COMBINATION,
    "block_size": K.UNSUPPORTED_COMBINATION,
    "bfloat16": K.UNSUPPORTED_COMBINATION,
    "quantization": K.NO_KERNEL,
    "flashinfer": K.UNSUPPORTED_COMBINATION,
    "batch_seqs": K.INVALID_VALUE,
    "batch_length": K.INVALID_VALUE,
    "length": K.INVALID_VALUE,
    "async_pp": K.UNSUPPORTED_COMBINATION,
    "async_pp_later": K.UNSUPPORTED_COMBINATION,
    "async_v1": K.UNSUPPORTED_COMBINATION,
    "multi_step": K.UNSUPPORTED_COMBINATION,
    "v1_only": K.UNSUPPORTED_COMBINATION,
    "environment": K.INVALID_VALUE,
    "repository": K.MODEL_MISSING,
    "device": K.NO_GPU,
    "start_wait": K.START_TIMEOUT,
}
"""Texts that name a failure by themselves. The rest is in ELSEWHERE."""

ELSEWHERE = {"cgroup", "swap", "fatal", "engine_dead", "engine_core", "engine_start",
             "worker_start", "broadcast", "rpc"}  # fmt: skip

ESTIMATE = "Based on the available memory, the estimated maximum model length is 10224. "
NAMED: dict[str, str] = {
    "estimated_msg": ESTIMATE,
    "device_": "cuda:0",
    "suggested": "bfloat16",
    "config_str": "AttentionSelectorConfig(head_size=128)",
    "reasons": "['kv_cache_dtype not supported']",
    "shm_path": "/dev/shm",
    "capability": "7.5",
    "env_name": "VLLM_ATTENTION_BACKEND",
    "max_len_key": "max_position_embeddings",
    "derived_max_model_len": "32768",
}

CASES = [
    pytest.param(release, key, template, id=f"{release}-{key}-{index}")
    for release in RELEASES
    for key in KINDS
    for index, template in enumerate(golden("vllm_failures", release)[key])
]


def wrapped(text: str) -> str:
    """A text as an engine core raises it and as the API server wraps it."""
    core = "(EngineCore_DP0 pid=7) ERROR 02-22 06:35:27 [core.py:946] "
    lines = [
        "EngineCore failed to start.",
        "Traceback (most recent call last):",
        '  File "/usr/lib/python3.12/site-packages/vllm/v1/engine/core.py", line 937, in run',
        "    raise ValueError(",
        *f"ValueError: {text}".splitlines(),
    ]
    api = (
        "(APIServer pid=1) RuntimeError: Engine core initialization failed. "
        "See root cause above. Failed core proc(s): {}\n"
    )
    return "".join(f"{core}{line}\n" for line in lines) + api


def named(text: str, **evidence: Any) -> Any:
    """What a failed start with this log is called."""
    return explain(
        Evidence(phase="starting", exit=ExitEvidence(exit_code=1), log=wrapped(text), **evidence)
    )


def test_every_text_of_the_goldens_has_its_meaning_here() -> None:
    """A text that is read and not judged would be a gap."""
    for release in RELEASES:
        assert set(golden("vllm_failures", release)) == set(KINDS) | ELSEWHERE


def test_every_text_is_in_some_release() -> None:
    """A key that no release fills is a fragment that was misspelt."""
    for key in set(KINDS) | ELSEWHERE:
        assert any(golden("vllm_failures", release)[key] for release in RELEASES), key


@pytest.mark.parametrize(("release", "key", "template"), CASES)
def test_each_releases_text_is_named(release: str, key: str, template: str) -> None:
    """By its first root cause, not by the wrapper that follows it."""
    failure = named(filled(template, 12, **NAMED))
    assert failure is not None
    assert failure.kind is KINDS[key]
    assert "Engine core initialization" not in failure.message


@pytest.mark.parametrize("release", RELEASES)
def test_the_length_that_would_fit_becomes_a_repair(release: str) -> None:
    """From "the estimated maximum model length is M", with the GiB as a signed margin."""
    (template,) = golden("vllm_failures", release)["kv_too_small"]
    failure = named(filled(template, 16384, "3.0", "1.87", estimated_msg=ESTIMATE))
    assert failure.repair == {"max_model_len": 10224}
    assert (failure.needed_gib, failure.available_gib) == (3.0, 1.87)
    assert failure.margin_gib == pytest.approx(-1.13)


@pytest.mark.parametrize("release", [r for r in RELEASES if r != "0.8.5"])
def test_taken_memory_gives_margin_and_share(release: str) -> None:
    """6.44 of 11.63 GiB are free and 10.47 are asked for (a report on an RTX 3060)."""
    templates = golden("vllm_failures", release)["memory_taken"]
    assert templates
    for template in templates:
        failure = named(filled(template, "6.44", "11.63", "0.9", "10.47", device_="cuda:0"))
        assert failure.margin_gib == pytest.approx(6.44 - 10.47)
        assert failure.repair == {"gpu_memory_utilization": 0.55}
