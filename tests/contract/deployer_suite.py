# ruff: noqa: ASYNC110, ASYNC220, ASYNC240, PT012 - these loops have nothing else to do
"""What every deployer must do: a suite for each to inherit.

A subclass gives a `bench`: the deployer, a tiny server of its kind for each behaviour, and a look
at what is left on the machine.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from autotune.clock import MonotonicClock
from autotune.deployers.marks import owner
from autotune.deployers.processes import ProcessId, is_running, read_stat
from autotune.deployers.readiness import Ready, wait_ready
from autotune.errors import DeployerError, PortInUseError
from autotune.seams.deployment import Deployer, Deployment, Identity, LaunchPlan

CLOCK = MonotonicClock()
PATIENCE_S = 60.0
"""For things that take a second at most, on a machine that is busy with something else."""

FLOOD_BYTES = 64 * 1024**2
LOG_BOUND_BYTES = 25 * 1024**2

CONTROLLER = """
import asyncio, sys
from pathlib import Path
from autotune.clock import MonotonicClock
from autotune.deployers import DEPLOYERS
from autotune.deployers.marks import owner
from autotune.seams.deployment import Identity, LaunchPlan

async def main():
    plan = LaunchPlan(argv=tuple(sys.argv[5:]), image=sys.argv[3] or None, port=int(sys.argv[4]))
    pid, start = owner()
    identity = Identity(study=sys.argv[2], trial=3, owner_pid=pid, owner_start=start)
    deployer = DEPLOYERS[sys.argv[1]](MonotonicClock())
    async with deployer.deploy(plan, identity=identity, log_path=Path("engine.log")):
        print("up", flush=True)
        await asyncio.Event().wait()

MonotonicClock().run(main())
"""
"""A controller of its own, to be killed."""


class Bench(Protocol):
    """What a deployer is tried on."""

    deployer: Deployer
    quit_path: str

    def plan(self, behaviour: str) -> LaunchPlan:
        """A tiny server.

        Behaviours: "serve" (answers 200 on /, ends with code 0 on `quit_path`), "deaf" (the same,
        ignores SIGTERM), "exit" (writes "bye", ends with code 3), "flood" (writes "first", then
        `FLOOD_BYTES`, then "last", ends with code 0), "forks" (serves, and starts a child that
        leaves the session), "hog" (takes memory until stopped), "unstartable" (cannot be
        started, for a reason that shows only after the deployer has begun).
        """
        ...

    def left(self, study: str) -> list[str]:
        """Whatever of a study is on this machine: processes, containers, notes."""
        ...

    def processes_of(self, study: str, owner_pid: int) -> set[ProcessId]:
        """Processes of the servers of one controller."""
        ...

    def cripple(self, study: str, owner_pid: int) -> None:
        """Do away with whoever would clean up if that controller died."""
        ...


class NoSleepClock(MonotonicClock):
    """A clock on which nothing can be waited for: whoever polls by it finds out nothing."""

    async def sleep(self, seconds: float) -> None:
        """Never returns."""
        await asyncio.Event().wait()


def identity(study: str = "contract") -> Identity:
    """This test's."""
    pid, start = owner()
    return Identity(study=study, trial=7, owner_pid=pid, owner_start=start)


async def status(url: str) -> int | None:
    """Status of a GET; None if nobody answers."""
    host, _, rest = url.removeprefix("http://").partition(":")
    port, _, path = rest.partition("/")
    try:
        reader, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return None
    try:
        writer.write(f"GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        words = (await reader.readline()).split()
        return int(words[1]) if len(words) > 1 else None
    except OSError:
        return None
    finally:
        writer.close()


async def ready(deployment: Deployment) -> Ready:
    """Wait until a server answers."""
    found = await wait_ready(
        deployment,
        lambda: _is_healthy(deployment.base_url),
        clock=CLOCK,
        timeout_s=PATIENCE_S,
        poll_s=0.02,
    )
    assert isinstance(found, Ready), found
    return found


async def _is_healthy(base_url: str) -> bool:
    return await status(f"{base_url}/") == 200


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.02)


def named(pids: tuple[int, ...]) -> set[ProcessId]:
    """Processes for all time."""
    return {stat.process for pid in pids if (stat := read_stat(pid)) is not None}


class DeployerSuite:
    """The tests."""

    @pytest.fixture
    def log_path(self, tmp_path: Path) -> Path:
        """Where the server's output goes."""
        return tmp_path / "engine.log"

    def test_starts_answers_and_stops(self, bench: Bench, log_path: Path) -> None:
        """A server answers where the plan says, is seen, and is gone after `stop`."""

        async def main() -> None:
            plan = bench.plan("serve")
            before_ns = CLOCK.now_ns()
            async with bench.deployer.deploy(
                plan, identity=identity(), log_path=log_path
            ) as deployment:
                assert deployment.base_url == plan.base_url
                assert before_ns <= deployment.started_ns <= CLOCK.now_ns()
                healthy = await ready(deployment)
                assert healthy.healthy_ns > deployment.started_ns
                assert deployment.exit_evidence() is None
                processes = named(deployment.pids())
                assert processes
                assert all(is_running(process) for process in processes)
                evidence = await deployment.stop(grace_s=5.0)
                assert evidence.stopped_by_us
                assert evidence == deployment.exit_evidence()
                assert deployment.pids() == ()
                assert not any(is_running(process) for process in processes)
                assert await status(deployment.base_url) is None
                assert await deployment.stop(grace_s=5.0) == evidence
            assert bench.left("contract") == []

        CLOCK.run(main())

    def test_leaving_the_context_is_enough(self, bench: Bench, log_path: Path) -> None:
        """A server that nobody stops is gone once its context is left."""

        async def main() -> None:
            async with bench.deployer.deploy(
                bench.plan("serve"), identity=identity(), log_path=log_path
            ) as deployment:
                await ready(deployment)
            assert await status(deployment.base_url) is None
            assert bench.left("contract") == []

        CLOCK.run(main())

    def test_an_error_inside_leaves_nothing(self, bench: Bench, log_path: Path) -> None:
        """What is raised inside comes out, and the server is gone."""

        async def main() -> None:
            with pytest.raises(ZeroDivisionError):
                async with bench.deployer.deploy(
                    bench.plan("serve"), identity=identity(), log_path=log_path
                ) as deployment:
                    await ready(deployment)
                    _ = 1 / 0
            assert bench.left("contract") == []

        CLOCK.run(main())

    def test_an_exit_is_an_event(self, bench: Bench, log_path: Path) -> None:
        """The end of a server is told, not found by polling, with code and whole output."""

        async def main() -> None:
            bench.deployer._clock = NoSleepClock()  # type: ignore[attr-defined]
            async with bench.deployer.deploy(
                bench.plan("exit"), identity=identity(), log_path=log_path
            ) as deployment:
                async with asyncio.timeout(PATIENCE_S):
                    evidence = await deployment.wait_exit()
                assert (evidence.exit_code, evidence.signal) == (3, None)
                assert not evidence.stopped_by_us
                assert not evidence.oom_killed
                assert log_path.read_text() == "bye\n"
                assert deployment.exit_evidence() == evidence
                assert deployment.pids() == ()
                assert await deployment.stop(grace_s=1.0) == evidence
            assert bench.left("contract") == []

        CLOCK.run(main())

    def test_exit_0_after_healthy(self, bench: Bench, log_path: Path) -> None:
        """A server that was healthy and ends with code 0 has ended all the same."""

        async def main() -> None:
            async with bench.deployer.deploy(
                bench.plan("serve"), identity=identity(), log_path=log_path
            ) as deployment:
                await ready(deployment)
                await status(deployment.base_url + bench.quit_path)
                async with asyncio.timeout(PATIENCE_S):
                    evidence = await deployment.wait_exit()
                assert evidence.exit_code == 0
                assert not evidence.stopped_by_us

        CLOCK.run(main())

    def test_deaf_to_sigterm(self, bench: Bench, log_path: Path) -> None:
        """A server that ignores SIGTERM is killed after the grace."""

        async def main() -> None:
            async with bench.deployer.deploy(
                bench.plan("deaf"), identity=identity(), log_path=log_path
            ) as deployment:
                await ready(deployment)
                evidence = await deployment.stop(grace_s=1.0)
                assert evidence.stopped_by_us
                assert evidence.signal == signal.SIGKILL
            assert bench.left("contract") == []

        CLOCK.run(main())

    def test_a_flood_of_output_is_bounded(self, bench: Bench, log_path: Path) -> None:
        """Of a flood the beginning and the end are kept, and the server is never blocked."""

        async def main() -> None:
            async with bench.deployer.deploy(
                bench.plan("flood"), identity=identity(), log_path=log_path
            ) as deployment:
                async with asyncio.timeout(PATIENCE_S):
                    evidence = await deployment.wait_exit()
                assert evidence.exit_code == 0
            text = log_path.read_bytes()
            assert 1024**2 < len(text) <= LOG_BOUND_BYTES
            assert text.startswith(b"first\n")
            assert text.endswith(b"last\n")
            assert b"[autotune left out" in text

        CLOCK.run(main())

    def test_a_child_that_left_the_session(self, bench: Bench, log_path: Path) -> None:
        """A descendant that detached itself is seen, and ends with the server."""

        async def main() -> None:
            async with bench.deployer.deploy(
                bench.plan("forks"), identity=identity(), log_path=log_path
            ) as deployment:
                await ready(deployment)
                await eventually(lambda: len(deployment.pids()) > 1)
                processes = named(deployment.pids())
                assert len(processes) > 1
                await deployment.stop(grace_s=1.0)
                assert not any(is_running(process) for process in processes)
            assert bench.left("contract") == []

        CLOCK.run(main())

    def test_a_start_that_fails_half_way(self, bench: Bench, log_path: Path) -> None:
        """What was made before a start failed is gone, and the error has a hint."""

        async def main() -> None:
            with pytest.raises(DeployerError) as raised:
                async with bench.deployer.deploy(
                    bench.plan("unstartable"), identity=identity(), log_path=log_path
                ):
                    pytest.fail("it cannot be started")
            assert raised.value.hint
            assert bench.left("contract") == []

        CLOCK.run(main())

    @pytest.mark.parametrize("turns", [1, 3, 10, 40])
    def test_cancelled_while_starting(self, bench: Bench, log_path: Path, turns: int) -> None:
        """A cancellation at any point of the start leaves nothing."""

        async def deploy() -> None:
            async with bench.deployer.deploy(
                bench.plan("serve"), identity=identity(), log_path=log_path
            ):
                await asyncio.Event().wait()

        async def main() -> None:
            task = asyncio.create_task(deploy())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert bench.left("contract") == []

        CLOCK.run(main())

    def test_memory_limit(self, bench: Bench, log_path: Path) -> None:
        """A server that takes more memory than its limit is ended, and the evidence says so."""

        async def main() -> None:
            async with bench.deployer.deploy(
                bench.plan("hog"), identity=identity(), log_path=log_path
            ) as deployment:
                async with asyncio.timeout(PATIENCE_S):
                    evidence = await deployment.wait_exit()
                assert evidence.oom_killed is True
                assert evidence.signal == signal.SIGKILL
                assert not evidence.stopped_by_us
            assert bench.left("contract") == []

        CLOCK.run(main())

    def test_first_choice_of_the_oom_killer(self, bench: Bench, log_path: Path) -> None:
        """When the host's memory runs out, the kernel takes the server before anything else."""

        async def main() -> None:
            async with bench.deployer.deploy(
                bench.plan("serve"), identity=identity(), log_path=log_path
            ) as deployment:
                await ready(deployment)
                seen = set()
                for pid in deployment.pids():
                    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
                        seen.add(Path(f"/proc/{pid}/oom_score_adj").read_text().strip())
                assert seen == {"1000"}

        CLOCK.run(main())

    def test_a_port_in_use_is_refused(self, bench: Bench, log_path: Path) -> None:
        """Neither the look ahead nor a start accepts a port on which somebody else listens."""

        async def main() -> None:
            with socket.create_server(("127.0.0.1", 0)) as taken:
                plan = replace(bench.plan("serve"), port=taken.getsockname()[1])
                with pytest.raises(PortInUseError) as raised:
                    await bench.deployer.preflight(plan)
                assert raised.value.hint
                with pytest.raises(PortInUseError):
                    async with bench.deployer.deploy(plan, identity=identity(), log_path=log_path):
                        pytest.fail("the port is taken")
            assert bench.left("contract") == []

        CLOCK.run(main())

    def test_preflight_of_a_good_plan(self, bench: Bench) -> None:
        """A plan that can be started passes, and nothing of the look is left."""
        CLOCK.run(bench.deployer.preflight(bench.plan("serve")))
        assert bench.left("preflight") == []

    def test_sweep_ends_the_dead_ones_only(
        self, bench: Bench, log_path: Path, tmp_path: Path
    ) -> None:
        """What a killed controller left is ended; a live study's server and strangers stay."""

        async def main() -> None:
            async with (
                bench.deployer.deploy(
                    bench.plan("serve"), identity=identity("swept"), log_path=log_path
                ) as mine,
                killed_controller(bench, "swept", tmp_path / "a") as processes,
                killed_controller(bench, "another", tmp_path / "b") as others,
            ):
                await ready(mine)
                bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1)
                try:
                    assert any(is_running(process) for process in processes)
                    assert await bench.deployer.sweep("swept") != ()
                    assert not any(is_running(process) for process in processes)
                    assert any(is_running(process) for process in others)
                    assert bystander.poll() is None
                    assert await status(mine.base_url + "/") == 200
                    assert mine.exit_evidence() is None
                    assert await bench.deployer.sweep("swept") == ()
                    assert await bench.deployer.sweep("another") != ()
                    assert not any(is_running(process) for process in others)
                finally:
                    bystander.kill()
                    bystander.communicate()
            assert bench.left("swept") == []
            assert bench.left("another") == []

        CLOCK.run(main())


@asynccontextmanager
async def killed_controller(
    bench: Bench, study: str, folder: Path
) -> AsyncIterator[set[ProcessId]]:
    """Start a server from a controller of its own and kill that; gives the server's processes."""
    folder.mkdir()
    plan = bench.plan("serve")
    arguments = [bench.deployer.name, study, plan.image or "", str(plan.port), *plan.argv]
    controller = subprocess.Popen(
        [sys.executable, "-c", CONTROLLER, *arguments],
        stdout=subprocess.PIPE,
        cwd=folder,
        env=dict(os.environ),
    )
    try:
        assert controller.stdout is not None
        assert await asyncio.to_thread(controller.stdout.readline) == b"up\n"
        async with asyncio.timeout(PATIENCE_S):
            while await status(f"{plan.base_url}/") != 200:
                await asyncio.sleep(0.02)
        processes = bench.processes_of(study, controller.pid)
        assert processes
        bench.cripple(study, controller.pid)
    finally:
        controller.kill()
        controller.communicate()
    yield processes
