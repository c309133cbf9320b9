"""The wait for a healthy server, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from autotune.clock import VirtualClock
from autotune.deployers.readiness import Died, Ready, TimedOut, wait_ready
from autotune.seams.deployment import Deployment, ExitEvidence
from autotune.units import ns_from_s
from tests.support.fakes import FakeDeployment, Script

Health = Callable[[FakeDeployment, VirtualClock], Callable[[], Awaitable[bool]]]


def as_scripted(deployment: FakeDeployment, _clock: VirtualClock) -> Callable[[], Awaitable[bool]]:
    """The fake server's own answer."""

    async def ask() -> bool:
        return deployment.is_healthy

    return ask


def never_answers(
    _deployment: FakeDeployment, clock: VirtualClock
) -> Callable[[], Awaitable[bool]]:
    """A question that hangs."""

    async def ask() -> bool:
        await clock.sleep(1e9)
        return True

    return ask


def always_healthy(
    _deployment: FakeDeployment, _clock: VirtualClock
) -> Callable[[], Awaitable[bool]]:
    """Somebody else answers on the port."""

    async def ask() -> bool:
        return True

    return ask


def wait(
    script: Script, path: Path, *, health: Health = as_scripted, timeout_s: float = 60.0
) -> tuple[Ready | Died | TimedOut, float]:
    """Wait for a scripted server; gives the result and the virtual seconds that passed."""
    clock = VirtualClock()

    async def main() -> Ready | Died | TimedOut:
        deployment = FakeDeployment(script, clock, path / "engine.log")
        server: Deployment = deployment
        return await wait_ready(server, health(deployment, clock), clock=clock, timeout_s=timeout_s)

    return clock.run(main()), clock.now_ns() / 1e9


def test_healthy(tmp_path: Path) -> None:
    """The time of health is that of the first good answer, to within a poll."""
    result, _ = wait(Script(healthy_after_s=10.0), tmp_path)
    assert isinstance(result, Ready)
    assert ns_from_s(10.0) <= result.healthy_ns <= ns_from_s(10.3)


@pytest.mark.parametrize("health", [as_scripted, never_answers])
def test_a_death_is_noticed_at_once(tmp_path: Path, health: Health) -> None:
    """A dead server ends the wait when it dies and not at the time-out, whatever is being asked."""
    died = ExitEvidence(exit_code=137, signal=9)
    result, seconds = wait(
        Script(healthy_after_s=None, dies_after_s=7.0, exit=died), tmp_path, health=health
    )
    assert result == Died(exit=died)
    assert 7.0 <= seconds < 7.01


def test_out_of_time(tmp_path: Path) -> None:
    """A server that lives and is not healthy in time is a time-out, with the time it had."""
    result, seconds = wait(Script(healthy_after_s=None), tmp_path, timeout_s=20.0)
    assert isinstance(result, TimedOut)
    assert result.after_s == pytest.approx(20.0)
    assert seconds == pytest.approx(20.0)


def test_a_hanging_question_does_not_stop_the_clock(tmp_path: Path) -> None:
    """A health question that never returns is cut off at the time-out."""
    result, _ = wait(Script(healthy_after_s=None), tmp_path, health=never_answers, timeout_s=20.0)
    assert isinstance(result, TimedOut)


def test_a_stranger_who_answers_for_the_dead(tmp_path: Path) -> None:
    """If the server is dead, a healthy answer came from somebody else: it died."""
    died = ExitEvidence(exit_code=1)
    result, _ = wait(
        Script(healthy_after_s=None, dies_after_s=0.0, exit=died), tmp_path, health=always_healthy
    )
    assert result == Died(exit=died)


def test_time_runs_from_the_start_of_the_server(tmp_path: Path) -> None:
    """What passed between the start and the wait counts towards the time-out."""
    clock = VirtualClock()

    async def main() -> Ready | Died | TimedOut:
        deployment = FakeDeployment(Script(healthy_after_s=None), clock, tmp_path / "engine.log")
        await clock.sleep(15.0)
        return await wait_ready(
            deployment, as_scripted(deployment, clock), clock=clock, timeout_s=20.0
        )

    result = clock.run(main())
    assert isinstance(result, TimedOut)
    assert clock.now_ns() == pytest.approx(ns_from_s(20.0), rel=1e-6)


def test_what_the_question_raises_is_raised(tmp_path: Path) -> None:
    """A bug in the question is not taken for a sick server."""

    def broken(_deployment: FakeDeployment, _clock: VirtualClock) -> Callable[[], Awaitable[bool]]:
        async def ask() -> bool:
            message = "a bug"
            raise LookupError(message)

        return ask

    with pytest.raises(LookupError, match="a bug"):
        wait(Script(healthy_after_s=None), tmp_path, health=broken)


def test_cancelling_the_wait_leaves_no_task(tmp_path: Path) -> None:
    """A cancelled wait takes its question and its look at the exit with it."""
    clock = VirtualClock()

    async def main() -> int:
        deployment = FakeDeployment(Script(healthy_after_s=None), clock, tmp_path / "engine.log")
        waiting = asyncio.create_task(
            wait_ready(deployment, as_scripted(deployment, clock), clock=clock, timeout_s=60.0)
        )
        await clock.sleep(1.0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return len(asyncio.all_tasks())

    assert clock.run(main()) == 1
