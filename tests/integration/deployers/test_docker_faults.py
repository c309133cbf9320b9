"""What a Docker engine can do to a deployment, with an engine that does it on time."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import docker.errors
import pytest

from autotune.clock import MonotonicClock
from autotune.deployers.docker import DockerDeployer
from autotune.deployers.docker_deployment import DockerDeployment
from autotune.deployers.marks import owner
from autotune.errors import DeployerError, DockerUnavailableError
from autotune.seams.deployment import ExitEvidence, Identity, LaunchPlan
from tests.support.fake_docker import FakeClient, FakeContainer, FakeEngine, refusal

CLOCK = MonotonicClock()
PATIENCE_S = 60.0
PLAN = LaunchPlan(argv=("vllm", "serve"), image="vllm", port=1, env_passthrough=("HF_TOKEN",))
NO_RIGHTS = docker.errors.DockerException(
    "Error while fetching server API version: "
    "('Connection aborted.', PermissionError(13, 'Permission denied'))"
)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are short: only their number matters here."""
    monkeypatch.setattr("autotune.deployers.docker_connect._FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr("autotune.deployers.docker_connect._LONGEST_PAUSE_S", 0.02)
    monkeypatch.setattr("autotune.deployers.docker_watch._RETRY_S", 0.01)


@pytest.fixture
def engine() -> FakeEngine:
    """An engine that works."""
    return FakeEngine()


@asynccontextmanager
async def deployed(
    deployer: DockerDeployer, path: Path, trial: int = 1
) -> AsyncIterator[DockerDeployment]:
    """A server on the engine."""
    pid, start = owner()
    identity = Identity(study="faults", trial=trial, owner_pid=pid, owner_start=start)
    async with deployer.deploy(PLAN, identity=identity, log_path=path / "log") as found:
        assert isinstance(found, DockerDeployment)
        yield found


async def ended(deployment: DockerDeployment) -> ExitEvidence:
    """Wait for its end."""
    async with asyncio.timeout(PATIENCE_S):
        return await deployment.wait_exit()


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - threads set no event here
            await asyncio.sleep(0.01)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run on the real clock."""
    CLOCK.run(main())


def test_an_engine_that_restarts_is_waited_for(engine: FakeEngine, tmp_path: Path) -> None:
    """A start while the engine is away succeeds once it is back."""
    engine.leave()

    async def main() -> None:
        async def come_back() -> None:
            await eventually(lambda: engine.calls >= 3)
            engine.come_back()

        returning = asyncio.create_task(come_back())
        async with deployed(DockerDeployer(CLOCK, engine.connect), tmp_path):
            assert engine.only.state["Running"]
        await returning
        assert engine.containers == {}

    run(main)


def test_missing_rights_are_not_waited_for(engine: FakeEngine, tmp_path: Path) -> None:
    """What time does not mend is told at once."""
    engine.leave(NO_RIGHTS)

    async def main() -> None:
        with pytest.raises(DockerUnavailableError, match="no right"):
            async with deployed(DockerDeployer(CLOCK, engine.connect), tmp_path):
                pytest.fail("nobody may")
        assert engine.calls == 1

    run(main)


def test_an_engine_that_stays_away(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait for the engine has a bound."""
    monkeypatch.setattr(
        "autotune.deployers.docker_connect.connected.__kwdefaults__", {"patience_s": 0.1}
    )
    engine.leave()

    async def main() -> None:
        with pytest.raises(DockerUnavailableError) as raised:
            async with deployed(DockerDeployer(CLOCK, engine.connect), tmp_path):
                pytest.fail("there is no engine")
        assert "systemctl start docker" in raised.value.hint
        assert engine.calls > 2

    run(main)


def test_cancelled_while_the_engine_is_away(engine: FakeEngine, tmp_path: Path) -> None:
    """Ctrl-C ends the wait for an engine."""
    engine.leave()

    async def main() -> None:
        async def deploy() -> None:
            async with deployed(DockerDeployer(CLOCK, engine.connect), tmp_path):
                pytest.fail("there is no engine")

        task = asyncio.create_task(deploy())
        await eventually(lambda: engine.calls > 2)
        task.cancel()
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main)


def test_output_is_kept_and_secrets_are_not(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the time the exit is told the whole output is on disk, with tokens masked."""
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefgh")

    async def main() -> None:
        async with deployed(DockerDeployer(CLOCK, engine.connect), tmp_path) as deployment:
            assert engine.only.options["environment"] == {"HF_TOKEN": "hf_abcdefgh"}
            engine.only.write(b"token is hf_abc")
            engine.only.write(b"defgh\n")
            engine.only.end(1)
            evidence = await ended(deployment)
            assert (evidence.exit_code, evidence.deployer_fault) == (1, False)
            assert deployment.log_path.read_bytes() == b"token is [secret]\n"

    run(main)


@pytest.mark.parametrize(
    ("code", "number"), [(0, None), (1, None), (128, None), (137, 9), (143, 15), (255, None)]
)
def test_exit_codes(engine: FakeEngine, tmp_path: Path, code: int, number: int | None) -> None:
    """Codes above 128 tell a signal."""

    async def main() -> None:
        async with deployed(DockerDeployer(CLOCK, engine.connect), tmp_path) as deployment:
            engine.only.end(code, oom_killed=code == 137)
            evidence = await ended(deployment)
            assert (evidence.exit_code, evidence.signal) == (code, number)
            assert evidence.oom_killed is (code == 137)

    run(main)


def test_an_engine_that_returns_while_the_server_runs(engine: FakeEngine, tmp_path: Path) -> None:
    """A server that outlives its engine's absence goes on; its later end is not its own fault."""

    async def main() -> None:
        async with deployed(DockerDeployer(CLOCK, engine.connect), tmp_path) as deployment:
            engine.leave()
            calls = engine.calls
            await eventually(lambda: engine.calls > calls + 2)
            assert deployment.exit_evidence() is None
            engine.come_back()
            await eventually(lambda: engine.only.listeners != [])
            engine.only.write(b"still here\n")
            engine.only.end(1)
            evidence = await ended(deployment)
            assert deployment.log_path.read_bytes() == b"still here\n"
            assert evidence.exit_code == 1
            assert evidence.deployer_fault
            assert "away" in evidence.detail

    run(main)


def test_an_engine_that_takes_the_server_along(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody can see the server, it counts as lost once the engine was away too long."""
    monkeypatch.setattr("autotune.deployers.docker_watch.PATIENCE_S", 0.05)

    async def main() -> None:
        async with deployed(DockerDeployer(CLOCK, engine.connect), tmp_path) as deployment:
            engine.leave()
            evidence = await ended(deployment)
            assert evidence.exit_code is None
            assert evidence.deployer_fault
            assert "lost with its engine" in evidence.detail
            engine.come_back()
        assert engine.containers == {}

    run(main)


def test_each_outage_has_a_patience_of_its_own(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that nobody can see is not lost at once because of an outage that is long over."""

    async def main() -> None:
        async with deployed(DockerDeployer(CLOCK, engine.connect), tmp_path) as deployment:
            monkeypatch.setattr("autotune.deployers.docker_watch.PATIENCE_S", 3600.0)
            engine.leave()
            await eventually(lambda: deployment.is_out_of_sight)
            engine.come_back()
            await eventually(lambda: not deployment.is_out_of_sight)
            await eventually(lambda: engine.only.listeners != [])
            first_ns = CLOCK.now_ns()
            await eventually(lambda: CLOCK.now_ns() > first_ns + 200_000_000)
            monkeypatch.setattr("autotune.deployers.docker_watch.PATIENCE_S", 0.2)
            engine.leave()
            calls = engine.calls
            await eventually(lambda: engine.calls > calls + 2)
            assert deployment.exit_evidence() is None
            engine.come_back()
            await eventually(lambda: not deployment.is_out_of_sight)

    run(main)


def test_somebody_removes_the_container(engine: FakeEngine, tmp_path: Path) -> None:
    """A container that vanishes is told as such."""

    async def main() -> None:
        async with deployed(DockerDeployer(CLOCK, engine.connect), tmp_path) as deployment:
            engine.forget()
            evidence = await ended(deployment)
            assert evidence.deployer_fault
            assert "somebody else removed" in evidence.detail

    run(main)


def test_settings_that_the_engine_cannot_grant(engine: FakeEngine, tmp_path: Path) -> None:
    """A start that fails for a setting it can do without is tried again without it."""
    engine.refused["ulimits"] = "error setting rlimit type 8: operation not permitted"

    async def main() -> None:
        async with deployed(DockerDeployer(CLOCK, engine.connect), tmp_path):
            assert ["ulimits" in options for options in engine.starts] == [True, False]
            assert list(engine.containers.values()) == [engine.only]
            engine.only.write(b"of the second\n")
        assert (tmp_path / "log").read_bytes() == b"of the second\n"
        assert engine.containers == {}

    run(main)


def test_settings_that_it_must_have(engine: FakeEngine, tmp_path: Path) -> None:
    """A start that is refused for good leaves no container."""
    engine.refused["image"] = 'could not select device driver "" with capabilities: [[gpu]]'

    async def main() -> None:
        with pytest.raises(DeployerError, match="GPUs"):
            async with deployed(DockerDeployer(CLOCK, engine.connect), tmp_path):
                pytest.fail("it cannot start")
        assert len(engine.starts) == 1
        assert engine.containers == {}

    run(main)


def test_an_engine_that_is_away_at_the_end(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be removed is told, and removed before the next start."""
    monkeypatch.setattr(
        "autotune.deployers.docker_connect.connected.__kwdefaults__", {"patience_s": 0.05}
    )
    monkeypatch.setattr("autotune.deployers.docker_deployment._LOG_END_S", 0.05)
    deployer = DockerDeployer(CLOCK, engine.connect)

    async def main() -> None:
        async with deployed(deployer, tmp_path) as deployment:
            engine.leave()
            evidence = await deployment.stop(grace_s=0.0)
            assert "could not be removed" in evidence.detail
            assert evidence.stopped_by_us
        assert list(engine.containers) == [deployment.container_name]
        engine.come_back()
        async with deployed(deployer, tmp_path, trial=2) as following:
            assert list(engine.containers) == [following.container_name]
        assert engine.containers == {}

    run(main)


def test_a_sweep_without_an_engine(engine: FakeEngine) -> None:
    """A sweep says that there is no engine instead of finding nothing."""
    engine.leave()
    with pytest.raises(DockerUnavailableError):
        CLOCK.run(DockerDeployer(CLOCK, engine.connect).sweep("s"))


def test_a_refusal_has_its_text() -> None:
    """The fake engine refuses in the form in which the real client raises."""
    assert refusal("no").explanation == "no"
    assert refusal("no").status_code == 500


@pytest.mark.parametrize("slow", ["create", "start", "stop", "remove"])
def test_three_ctrl_c_leave_no_container(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    """All of them come while the engine is still busy with what was asked of it."""
    pressed = threading.Event()
    where = FakeClient if slow == "create" else FakeContainer
    quick = getattr(where, slow)

    def slowly(*arguments: Any, **options: Any) -> Any:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
        pressed.set()
        return quick(*arguments, **options)

    monkeypatch.setattr(where, slow, slowly)

    async def main() -> None:
        async with deployed(DockerDeployer(CLOCK, engine.connect), tmp_path):
            if slow in {"create", "start"}:
                await asyncio.Event().wait()

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert pressed.is_set()
    assert engine.containers == {}
