"""Failures that were provoked on a real card are named by their real logs."""

import gzip
from pathlib import Path

import pytest

from autotune.engines.vllm.failures import explain
from autotune.seams.deployment import ExitEvidence
from autotune.seams.engine import Evidence

LOGS = Path(__file__).parents[4] / "docs" / "results" / "2026-11-26-h100" / "provoked"

KINDS = {
    "fp8-and-flex-attention": "unsupported_combination",
    "kv-too-small": "kv_too_small",
    "no-room-for-kv": "no_room_for_kv",
}


@pytest.mark.parametrize("name", KINDS)
def test_a_real_failure_has_its_name(name: str) -> None:
    """Logs of vLLM 0.26.0 on an H100."""
    log = gzip.decompress((LOGS / f"{name}.log.gz").read_bytes()).decode()
    evidence = Evidence(phase="starting", exit=ExitEvidence(exit_code=1), log=log)

    failure = explain(evidence)

    assert failure is not None
    assert failure.kind.value == KINDS[name]


def test_the_length_that_fits_is_the_repair() -> None:
    """It is vLLM's own estimate; and how much was short: 0.88 GiB needed, 0.28 GiB there."""
    log = gzip.decompress((LOGS / "kv-too-small.log.gz").read_bytes()).decode()

    failure = explain(Evidence(phase="starting", exit=ExitEvidence(exit_code=1), log=log))

    assert failure is not None
    assert failure.repair["max_model_len"] == 10448
    assert failure.margin_gib == pytest.approx(0.28 - 0.88)
