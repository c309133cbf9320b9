"""Asks the correctness gate of a real vLLM on the CPU, and of the golden server."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from autotune.clock import MonotonicClock
from autotune.load.client import HttpClient
from autotune.load.runner import InProcessLoad
from autotune.probes.correctness import CorrectnessProbe
from autotune.records import Applied, Configuration, ProbeResult, ProbeStatus
from autotune.seams.probe import ProbeContext, Readiness
from autotune.spec.workload import Workload
from benchmarks.vllm_cpu import NAME, vllm_on_cpu
from tests.support.golden import golden_server

CLOCK: Final = MonotonicClock()
LONGEST_TOKENS: Final = 8192
AT_ONCE: Final = 2
HONEST: Final[Mapping[str, object]] = {"text": "words", "cut_share": 1.0, "logprob_noise": 0.0}

Reference = Mapping[str, Any]


@dataclass(frozen=True)
class Served:
    """What vLLM serves: a model's folder, and more options of `vllm serve`."""

    model: Path
    options: Sequence[str] = ()


class VllmGate:
    """Asks vLLM on the CPU, a fresh server each time.

    Args:
        environment: The virtual environment that holds vLLM.
        folder: Where the servers' logs go.
    """

    def __init__(self, environment: Path, folder: Path) -> None:
        self._environment = environment
        self._folder = folder
        self._asked = 0

    def ask(self, served: Served) -> ProbeResult:
        """The gate's answer without a reference: it becomes one."""
        return CLOCK.run(self._ask(served, None))

    def ask_all(self, served: Sequence[Served], reference: Reference) -> list[ProbeResult]:
        """The gate's answer for each, in order; a few at a time, for starting takes long."""
        at_once = asyncio.Semaphore(AT_ONCE)

        async def ask(one: Served) -> ProbeResult:
            async with at_once:
                return await self._ask(one, reference)

        async def main() -> list[ProbeResult]:
            return await asyncio.gather(*map(ask, served))

        return CLOCK.run(main())

    async def _ask(self, served: Served, reference: Reference | None) -> ProbeResult:
        self._asked += 1
        log = self._folder / f"vllm-{self._asked}.log"
        options = ("--max-model-len", str(LONGEST_TOKENS), *served.options)
        async with (
            vllm_on_cpu(self._environment, served.model, options, clock=CLOCK, log=log) as base_url,
            HttpClient(base_url=base_url, model=NAME, clock=CLOCK) as client,
        ):
            return await _asked(client, reference)


class GoldenGate(AbstractContextManager["GoldenGate"]):
    """Asks one golden server, by another script each time."""

    def __enter__(self) -> Self:
        """Start the server."""
        self._running = golden_server(ttft_ms=0, itl_ms=0)
        self._golden = self._running.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """End it."""
        self._running.__exit__(None, None, None)

    def ask(self, reference: Reference | None = None, **script: object) -> ProbeResult:
        """The gate's answer for a server that answers by a script, else honestly."""
        self._golden.script(**{**HONEST, **script})
        return CLOCK.run(self._asked(reference))

    async def _asked(self, reference: Reference | None) -> ProbeResult:
        url = self._golden.base_url
        async with HttpClient(base_url=url, model="golden", clock=CLOCK) as client:
            return await _asked(client, reference)


async def _asked(client: HttpClient, reference: Reference | None) -> ProbeResult:
    return await CorrectnessProbe().run(
        ProbeContext(
            client=client,
            load=InProcessLoad(client, CLOCK),
            clock=CLOCK,
            workload=Workload(),
            configuration=Configuration(),
            applied=Applied(max_model_len_tokens=LONGEST_TOKENS),
            readiness=Readiness(started_ns=0, healthy_ns=0),
            timeline=(),
            baseline=reference,
            seed=3,
        )
    )


def answers_of(result: ProbeResult) -> dict[str, Any]:
    """A baseline's answers as a record on disk gives them back."""
    assert result.status is ProbeStatus.MEASURED, result.reason
    answers: dict[str, Any] = json.loads(json.dumps({"correctness": dict(result.reference)}))
    return answers
