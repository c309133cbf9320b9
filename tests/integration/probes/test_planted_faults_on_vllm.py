"""The correctness gate on real vLLM: each planted fault is caught, a restart raises no alarm."""

import pytest

from benchmarks.correctness.run import FAULTS, FP8_CACHE, Case, planted, vllm_cases
from benchmarks.correctness.servers import VllmGate
from tests.support import machine

pytestmark = [pytest.mark.vllm, pytest.mark.thorough, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    """Every copy of the small model, served once and asked; by what is wrong with it."""
    folder = tmp_path_factory.mktemp("gate")
    environment = machine.vllm_environment().resolve()
    copies = planted(environment, machine.model_folder().resolve(), folder / "copies")
    gate = VllmGate(environment, folder)
    return {case.what: case for case in vllm_cases(gate, copies, (FP8_CACHE,))}


@pytest.mark.parametrize("fault", FAULTS.values())
def test_a_planted_fault_is_caught(cases: dict[str, Case], fault: str) -> None:
    """Its answers are wrong, and the gate says so."""
    result = cases[fault].result
    assert cases[fault].is_caught, (result.status, result.reason, result.metrics)


def test_what_has_no_fault_raises_no_alarm(cases: dict[str, Case]) -> None:
    """A restart and an fp8 KV cache give the same answers, or near enough."""
    alarms = {
        what: case.result.failure
        for what, case in cases.items()
        if not case.is_fault and case.result.failure is not None
    }
    assert alarms == {}
    assert len(cases) == len(FAULTS) + 2


def test_a_restart_says_what_the_first_server_said(cases: dict[str, Case]) -> None:
    """The same settings on the same machine: agreement is nearly whole."""
    metrics = cases["clean, restarted"].result.metrics
    assert metrics["perplexity_ratio"] == pytest.approx(1.0, abs=0.02)
    assert metrics["greedy_agreement_ratio"] == pytest.approx(1.0, abs=0.2)
