"""A server that gets faster as it warms up is measured once it has."""

from dataclasses import dataclass, replace

import pytest

from autotune.clock import VirtualClock
from autotune.probes.throughput import ThroughputProbe
from autotune.seams.requests import GenerationRequest, RequestRecord
from tests.unit.probes.serving import SMALL, Server, context


@dataclass
class Warming(Server):
    """Takes 8 s longer in the first round of warm-up, half of that in the next, and so on.

    Attributes:
        cold_rounds: After which it has its pace.
    """

    cold_rounds: int = 0

    async def generate(
        self, request: GenerationRequest, *, scheduled_ns: int | None = None
    ) -> RequestRecord:
        sent_ns, turn = self.clock.now_ns(), len(self.asked) // SMALL.warmup_requests
        if turn < self.cold_rounds:
            await self.clock.sleep(8 / 2**turn)
        return replace(await super().generate(request, scheduled_ns=scheduled_ns), sent_ns=sent_ns)


@pytest.mark.parametrize(("cold_rounds", "rounds", "notes"), [(0, 2, 0), (2, 4, 0), (9, 5, 1)])
def test_warm_up_goes_on_until_a_round_takes_as_long_as_the_one_before(
    cold_rounds: int, rounds: int, notes: int
) -> None:
    """Five rounds at most; if it is not steady then, the result says so."""
    clock = VirtualClock()
    server = Warming(clock, cold_rounds=cold_rounds)
    result = clock.run(ThroughputProbe().run(context(server, workload=SMALL)))

    warm_up = [r for r in server.asked if "warm-up" in r.request_id]
    assert len(warm_up) == rounds * SMALL.warmup_requests
    assert [note.startswith("still warming up") for note in result.notes] == [True] * notes
