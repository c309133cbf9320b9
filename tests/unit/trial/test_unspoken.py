"""No record holds a secret, by whatever way it came."""

import base64
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.records import (
    Applied,
    Failure,
    FailureKind,
    Outcome,
    OutcomeStatus,
    ProbeResult,
    ProbeStatus,
)
from autotune.trial.unspoken import without_secrets
from tests.support.fakes import FakeProbe
from tests.support.records import record
from tests.unit.trial.test_lifecycle import bench, failure_of

KEY = "planted-key-0123456789"
BASIC = base64.b64encode(f"me:{KEY}".encode()).decode()
WORDS = f"401: no such key {KEY}, {BASIC}"
FAILURE = Failure(
    kind=FailureKind.REQUESTS_FAILED, phase="probe:ttft", message=WORDS, evidence=(WORDS, "fine")
)


def test_every_text_of_a_record_is_masked_and_nothing_else() -> None:
    """Failures, reasons, notes, answers, what the server says it runs with."""
    probe = ProbeResult(
        probe="ttft", status=ProbeStatus.FAILED, reason=WORDS, failure=FAILURE, notes=(WORDS,),
        reference={"answers": [WORDS, {"tokens": [1, 2]}]}, metrics={"ttft_8k_ns": 1e9},
    )  # fmt: skip
    written = replace(
        record(3),
        outcome=Outcome(status=OutcomeStatus.INFEASIBLE, failure=FAILURE),
        probes=(probe,),
        applied=Applied(settings={"api_key": WORDS, "max_num_seqs": 8}),
        notes=(WORDS,),
        environment={"host": WORDS},
    )
    found = without_secrets(written, {"VLLM_API_KEY": KEY, "HOME": "/home/somebody"})
    assert KEY not in repr(found)
    assert BASIC[8:] not in repr(found)
    assert failure_of(found).evidence[1] == "fine"
    assert found.probes[0].reference["answers"][1] == {"tokens": [1, 2]}  # type: ignore[index]
    assert found.applied is not None
    assert found.applied.settings["max_num_seqs"] == 8
    assert (found.metrics, found.configuration) == (written.metrics, written.configuration)


def test_without_secrets_a_record_is_itself() -> None:
    """And so is one in which none appears."""
    assert without_secrets(record(3), {"HOME": "/home/somebody"}) == record(3)
    assert without_secrets(record(3), {"VLLM_API_KEY": KEY}) == record(3)


def test_a_refusal_that_repeats_the_key_leaves_none_in_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server's words come through a probe and not through its log."""
    monkeypatch.setenv("VLLM_API_KEY", KEY)
    probes = (FakeProbe("ttft", failure=FAILURE), FakeProbe("long_context"))
    found = bench(tmp_path, probes=probes).run()
    assert failure_of(found).kind is FailureKind.REQUESTS_FAILED
    assert "no such key [secret]" in failure_of(found).message
    assert KEY not in repr(found)
