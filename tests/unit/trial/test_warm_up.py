"""Small requests while something else is waited for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autotune.clock import VirtualClock
from autotune.seams.requests import (
    GenerationRequest,
    HttpAnswer,
    RequestError,
    RequestErrorKind,
    RequestRecord,
)
from autotune.trial.warm_up import ROUNDS, STREAMS, warm_up


@dataclass
class Server:
    """Answers each request after a second, or refuses it."""

    clock: VirtualClock
    refuses: bool = False
    asked: list[GenerationRequest] = field(default_factory=list)

    async def generate(
        self, request: GenerationRequest, *, scheduled_ns: int | None = None
    ) -> RequestRecord:
        self.asked.append(request)
        await self.clock.sleep(1)
        error = RequestError(kind=RequestErrorKind.REFUSED, message="no")
        return RequestRecord(request_id=request.request_id, scheduled_ns=0, sent_ns=0,
                             error=error if self.refuses else None)  # fmt: skip

    async def get(self, path: str, *, timeout_s: float = 10.0) -> HttpAnswer | None:
        return None

    async def post(
        self, path: str, body: Mapping[str, Any], *, timeout_s: float = 30.0
    ) -> HttpAnswer | None:
        return None


def run(server: Server, takes_s: float) -> str:
    """Warm up while an answer takes so long."""

    async def answer() -> str:
        await server.clock.sleep(takes_s)
        return "answer"

    return server.clock.run(warm_up(server, answer(), longest_tokens=512))


def test_an_answer_that_is_there_at_once_still_gets_two_rounds() -> None:
    """What is compiled on first use is compiled before anything is measured."""
    server = Server(VirtualClock())

    assert run(server, 0) == "answer"
    assert len(server.asked) == ROUNDS * STREAMS


def test_it_goes_on_while_the_answer_takes_time() -> None:
    """Ten seconds, a second a round."""
    server = Server(VirtualClock())

    run(server, 10)

    assert len(server.asked) // STREAMS in {10, 11}


def test_no_prompt_is_sent_twice() -> None:
    """Two equal ones would be a prefix cache hit, and warm nothing."""
    server = Server(VirtualClock())

    run(server, 10)

    prompts = [request.prompt for request in server.asked]
    assert len(set(prompts)) == len(prompts) > 0


def test_a_server_that_refuses_is_not_asked_for_ever() -> None:
    """The probes will find out; the answer is waited for all the same."""
    server = Server(VirtualClock(), refuses=True)

    assert run(server, 10) == "answer"
    assert len(server.asked) == STREAMS
