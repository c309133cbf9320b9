"""The correctness gate on the simulated engine: the same answers at every start, unless broken."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from autotune.clock import MonotonicClock, VirtualClock
from autotune.deployers.ports import free_port
from autotune.deployers.process import ProcessDeployer
from autotune.deployers.readiness import Ready, wait_ready
from autotune.engines.simulated.client import SimulatedClient
from autotune.engines.simulated.faults import Fault
from autotune.engines.simulated.server import SimulatedServer
from autotune.load.client import HttpClient
from autotune.load.runner import InProcessLoad
from autotune.probes.correctness import CorrectnessProbe
from autotune.records import Applied, Configuration, FailureKind, ProbeResult, ProbeStatus
from autotune.seams.deployment import Identity, LaunchPlan
from autotune.seams.probe import ProbeContext, Readiness
from autotune.seams.requests import Client
from autotune.spec.workload import Workload
from tests.unit.engines.simulated.rig import served

MODEL = "Qwen/Qwen2.5-1.5B-Instruct"


def context(client: Client, clock: Any, baseline: dict[str, Any] | None) -> ProbeContext:
    """Of a deployment that holds 8K."""
    return ProbeContext(
        client=client,
        load=InProcessLoad(client, clock),
        clock=clock,
        workload=Workload(),
        configuration=Configuration(),
        applied=Applied(max_model_len_tokens=8192),
        readiness=Readiness(started_ns=0, healthy_ns=0),
        timeline=(),
        baseline=baseline,
        simulated=True,
        seed=3,
    )


def stored(result: ProbeResult) -> dict[str, Any]:
    """The reference as a record on disk gives it back."""
    answers: dict[str, Any] = json.loads(json.dumps({"correctness": dict(result.reference)}))
    return answers


def asked_in_process(*options: str, baseline: dict[str, Any] | None = None) -> ProbeResult:
    """Of a simulated server within a study's own process, in virtual time."""

    async def talk(client: SimulatedClient, server: SimulatedServer) -> ProbeResult:
        del server
        return await CorrectnessProbe().run(context(client, VirtualClock(), baseline))

    return served(talk, *options)


def asked_over_http(
    folder: Path, *, fault: Fault | None = None, baseline: dict[str, Any] | None = None
) -> ProbeResult:
    """Of `autotune simulate`, a process of its own."""
    clock, port = MonotonicClock(), free_port()
    argv = [sys.executable, "-m", "autotune.engines.simulated.serve", "--card", "h100"]
    argv += ["--boot-speed", "1000", "--speed", "100"]
    argv += [] if fault is None else ["--fault", fault.value]
    argv += [MODEL, "--host", "127.0.0.1", "--port", str(port), "--max-model-len", "8192"]
    plan = LaunchPlan(argv=tuple(argv), port=port)
    identity = Identity(study="answers", trial=0, owner_pid=1, owner_start="0")

    async def main() -> ProbeResult:
        async with (
            ProcessDeployer(clock).deploy(
                plan, identity=identity, log_path=folder / "serve.log"
            ) as deployment,
            HttpClient(base_url=plan.base_url, model=MODEL, clock=clock) as client,
        ):

            async def is_healthy() -> bool:
                answer = await client.get("/health", timeout_s=2)
                return answer is not None and answer.status == 200

            ready = await wait_ready(deployment, is_healthy, clock=clock, timeout_s=60, poll_s=0.05)
            assert isinstance(ready, Ready)
            return await CorrectnessProbe().run(context(client, clock, baseline))

    return clock.run(main())


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The answers of an honest simulated server."""
    result = asked_over_http(tmp_path_factory.mktemp("reference"))
    assert result.status is ProbeStatus.MEASURED, result.reason
    return stored(result)


def test_an_honest_restart_raises_no_alarm(reference: dict[str, Any], tmp_path: Path) -> None:
    """Another process with the same model says the same."""
    result = asked_over_http(tmp_path, baseline=reference)

    assert result.status is ProbeStatus.MEASURED, result.reason
    assert result.metrics["perplexity_ratio"] == 1.0
    assert result.metrics["greedy_agreement_ratio"] == 1.0
    assert result.metrics["needle_recall_ratio"] == 1.0


def test_the_fault_wrong_answers_is_caught(reference: dict[str, Any], tmp_path: Path) -> None:
    """`--fault wrong_answers` ends in WRONG_ANSWERS, with each thing that is wrong."""
    result = asked_over_http(tmp_path, fault=Fault.WRONG_ANSWERS, baseline=reference)

    assert result.failure is not None
    assert result.failure.kind is FailureKind.WRONG_ANSWERS
    for words in ("perplexity", "repeats itself", "needles lost"):
        assert any(words in line for line in result.failure.evidence), result.failure.evidence


@pytest.mark.parametrize("options", [(), ("--kv-cache-dtype", "fp8", "--enforce-eager")])
def test_a_simulated_configuration_agrees_with_the_simulated_baseline(
    options: tuple[str, ...],
) -> None:
    """Settings change a simulated server's pace, never its words."""
    first = asked_in_process("--max-model-len", "8192")
    result = asked_in_process("--max-model-len", "8192", *options, baseline=stored(first))

    assert first.status is ProbeStatus.MEASURED, first.reason
    assert result.failure is None
    assert result.metrics["logprob_deviation_ratio"] == 0.0
    assert result.metrics["greedy_agreement_ratio"] == 1.0
