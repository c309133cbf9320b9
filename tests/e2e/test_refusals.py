"""What real vLLM refuses is named by its first root cause, with vLLM's own words as evidence."""

from pathlib import Path
from typing import Any

import psutil
import pytest

from autotune.records import FailureKind, OutcomeStatus
from autotune.units import BYTES_PER_GIB
from tests.e2e.conftest import real_study

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(300)]

EAGER = ["--enforce-eager", "--max-model-len", "8192"]


def flags_of_this_cpu() -> set[str]:
    """Features of the processor, as the kernel lists them."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return set(next(line for line in lines if line.startswith("flags")).split())


def more_than_a_node_gib() -> int | None:
    """GiB of KV cache that the host has and its first memory node has not; None if there are none.

    What the whole host has not is screened and never started. vLLM counts the node alone.
    """
    node = Path("/sys/devices/system/node/node0/meminfo")
    if not node.is_file():
        return None
    total_kib = int(next(x for x in node.read_text().splitlines() if "MemTotal" in x).split()[-2])
    asked = total_kib // 2**20 + 3
    return asked if asked < psutil.virtual_memory().total / BYTES_PER_GIB - 4 else None


one_node = pytest.mark.skipif(
    more_than_a_node_gib() is None,
    reason="the first memory node has all the host's memory: what does not fit is never started",
)
no_avx512 = pytest.mark.skipif(
    {"avx512f", "amx_tile"} & flags_of_this_cpu() != set(),
    reason="this processor has AVX-512 or AMX, so vLLM takes an fp8 KV cache",
)


@pytest.mark.parametrize(
    ("engine", "kind", "said"),
    [
        pytest.param(
            {"arguments": [*EAGER, "--num-scheduler-steps", "10"]},
            FailureKind.UNKNOWN_ARGUMENT,
            "unrecognized arguments: --num-scheduler-steps 10",
            id="unknown-argument",
        ),
        pytest.param(
            {"arguments": [*EAGER, "--kv-offloading-size", "1"]},
            FailureKind.UNSUPPORTED_COMBINATION,
            "CPU Offloading is currently only supported on CUDA",
            id="offload-on-cpu",
        ),
        pytest.param(
            {
                "arguments": EAGER,
                "env": {
                    "VLLM_CPU_KVCACHE_SPACE": str(more_than_a_node_gib()),
                    "HF_HUB_OFFLINE": "1",
                },
            },
            FailureKind.HOST_OOM,
            f"requested memory for kv ({more_than_a_node_gib()}.0 GiB)",
            id="more-memory-than-there-is",
            marks=one_node,
        ),
        pytest.param(
            {"arguments": [*EAGER, "--kv-cache-dtype", "fp8"]},
            FailureKind.UNSUPPORTED_COMBINATION,
            "FP8 KV cache on CPU requires",
            id="fp8-on-cpu",
            marks=no_avx512,
        ),
    ],
)
def test_a_refusal_is_named(
    tmp_path: Path, engine: dict[str, Any], kind: FailureKind, said: str
) -> None:
    """The study ends with the reason, the record names kind and phase, nothing is left."""
    budget = {"trials": 1, "abort_after_failures": 1, "startup_timeout_s": 200, "retries": 0}
    study = real_study("process", tmp_path, {"engine": engine, "seeds": [], "budget": budget})
    ended = study.place.run("study", str(study.file), "--json", timeout_s=250)
    assert ended.code == 14, ended.errors
    assert "Traceback" not in ended.errors
    assert study.left_running() == []
    record = study.records()[0]
    failure = record.outcome.failure
    assert record.outcome.status is OutcomeStatus.INFEASIBLE
    assert failure is not None
    assert (failure.kind, failure.phase) == (kind, "starting")
    assert any(said in line for line in failure.evidence), failure.evidence
