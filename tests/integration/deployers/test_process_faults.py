"""What can go wrong around a process deployment, with real processes."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from autotune.clock import MonotonicClock
from autotune.deployers.footprint import Footprint, footprints, private_folder
from autotune.deployers.marks import owner
from autotune.deployers.ports import free_port
from autotune.deployers.process import ProcessDeployer
from autotune.deployers.process_deployment import ProcessDeployment
from autotune.deployers.processes import ProcessId, is_running, read_stat
from autotune.deployers.shared_memory import SHM
from autotune.errors import DeployerError
from autotune.seams.deployment import Identity, LaunchPlan
from tests.contract.deployer_suite import CONTROLLER

CLOCK = MonotonicClock()
PATIENCE_S = 60.0

WAITS = "import time; print('up', flush=True); time.sleep(3600)"

LEAVES_A_DAEMON = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, getattr(signal, sys.argv[1]))
print("up", flush=True)
time.sleep(3600)
"""

OFFLOADS = """
import mmap, os, signal, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 4096)
memory = mmap.mmap(fd, 4096)
os.close(fd)
print("up", flush=True)
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
input() if False else signal.pause()
"""

DROPS = """
import os, pathlib, sys, time
time.sleep(1.5)  # after the supervisor's first looks, and long before its next one
with open(sys.argv[1], "wb") as file:
    notes = pathlib.Path(sys.argv[2]).glob("*.json")
    end = time.monotonic() + 2.5
    while time.monotonic() < end and not any(sys.argv[1][9:] in n.read_text() for n in notes):
        notes = pathlib.Path(sys.argv[2]).glob("*.json")
        time.sleep(0.01)
print("dropped", flush=True)
time.sleep(3600)
"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Notes of this test's deployments alone."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return private_folder()


@asynccontextmanager
async def deployed(
    log: Path, program: str, *arguments: str, **settings: object
) -> AsyncIterator[ProcessDeployment]:
    """A Python program as a server."""
    pid, start = owner()
    identity = Identity(study="faults", trial=1, owner_pid=pid, owner_start=start)
    argv = (sys.executable, "-c", program, *arguments)
    plan = LaunchPlan(argv=argv, port=free_port(), **settings)  # type: ignore[arg-type]
    async with ProcessDeployer(CLOCK).deploy(plan, identity=identity, log_path=log) as found:
        assert isinstance(found, ProcessDeployment)
        yield found


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - other processes set no event here
            await asyncio.sleep(0.02)


async def ended(deployment: ProcessDeployment) -> None:
    """Wait for its end."""
    async with asyncio.timeout(PATIENCE_S):
        await deployment.wait_exit()


def note(state: Path) -> Footprint:
    """The only footprint."""
    (found,) = footprints(state)
    return found


def proc(pid: int, name: str) -> str:
    """A file of a process's folder in /proc."""
    return Path(f"/proc/{pid}/{name}").read_text(errors="replace")


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run on the real clock."""
    CLOCK.run(main())  # type: ignore[arg-type]


def test_a_killed_controller_takes_its_server_along(tmp_path: Path, state: Path) -> None:
    """If the controller dies at once and for good, the supervisor ends the server."""
    with subprocess.Popen(
        [sys.executable, "-c", CONTROLLER, "process", "s", "", str(free_port()),
         sys.executable, "-c", LEAVES_A_DAEMON, "SIG_DFL"],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
    ) as controller:  # fmt: skip
        assert controller.stdout is not None
        assert controller.stdout.readline() == b"up\n"

        async def main() -> None:
            await eventually(lambda: len(note(state).processes) > 1)
            everybody = {*note(state).processes, note(state).supervisor}
            controller.kill()
            await eventually(lambda: not any(is_running(process) for process in everybody))
            assert list(footprints(state)) == []

        run(main)


def test_a_killed_supervisor(tmp_path: Path, state: Path) -> None:
    """If the supervisor is killed, that is told, and the server ends with its daemon all the same.

    It is the deployer that broke: the configuration is not to blame.
    """

    async def main() -> None:
        async with deployed(tmp_path / "log", LEAVES_A_DAEMON, "SIG_IGN") as deployment:
            await eventually(lambda: len(note(state).processes) > 1)
            everybody = note(state).processes
            os.kill(note(state).supervisor.pid, signal.SIGKILL)
            async with asyncio.timeout(PATIENCE_S):
                evidence = await deployment.wait_exit()
            assert evidence.deployer_fault
            assert "supervisor" in evidence.detail
            assert any(is_running(process) for process in everybody)
        assert not any(is_running(process) for process in everybody)
        assert list(footprints(state)) == []

    run(main)


def test_a_supervisor_that_had_written_nothing_down(tmp_path: Path, state: Path) -> None:
    """A server whose supervisor died before its note was complete is found by its marks."""

    async def main() -> None:
        async with deployed(tmp_path / "log", WAITS) as deployment:
            await eventually(lambda: (tmp_path / "log").read_bytes() == b"up\n")
            found = note(state)
            (server,) = found.processes
            os.kill(found.supervisor.pid, signal.SIGKILL)
            await ended(deployment)
            found.engine, found.processes = None, frozenset()
            found.save(state)
            assert is_running(server)
        assert not is_running(server)
        assert list(footprints(state)) == []

    run(main)


def test_a_stopped_supervisor_does_not_hold_up_the_end(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor that hangs is done away with, and its work done for it."""
    monkeypatch.setattr("autotune.deployers.process_deployment.END_TIMEOUT_S", 0.2)

    async def main() -> None:
        async with deployed(tmp_path / "log", WAITS) as deployment:
            everybody = {*note(state).processes, note(state).supervisor}
            os.kill(note(state).supervisor.pid, signal.SIGSTOP)
            evidence = await deployment.stop(grace_s=0.1)
            assert evidence.stopped_by_us
            assert not any(is_running(process) for process in everybody)

    run(main)


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_shared_memory_of_the_dead_is_swept(tmp_path: Path, how: str) -> None:
    """What the server left in /dev/shm is gone after its end, and only that."""
    mine = SHM / f"vllm_offload_{uuid.uuid4().hex}.mmap"
    older = SHM / f"psm_{uuid.uuid4().hex}"
    older.write_bytes(b"somebody else's")

    async def main() -> None:
        async with deployed(tmp_path / "log", OFFLOADS, str(mine), how) as deployment:
            await eventually(lambda: (tmp_path / "log").read_bytes() == b"up\n")
            if how == "killed":
                await ended(deployment)
            assert mine.exists()
            await deployment.stop(grace_s=5.0)
            assert deployment.swept == (mine.name,)
        assert not mine.exists()
        assert older.exists()

    try:
        run(main)
    finally:
        older.unlink()
        mine.unlink(missing_ok=True)


def test_shared_memory_that_a_server_only_wrote_is_swept(tmp_path: Path) -> None:
    """Nobody has it open any more when the server is looked at next; its memory is taken."""
    mine = SHM / f"psm_{uuid.uuid4().hex}"

    async def main() -> None:
        notes = str(private_folder())
        async with deployed(tmp_path / "log", DROPS, str(mine), notes) as deployment:
            await eventually(lambda: (tmp_path / "log").read_bytes() == b"dropped\n")
            await deployment.stop(grace_s=5.0)
            assert deployment.swept == (mine.name,)
        assert not mine.exists()

    try:
        run(main)
    finally:
        mine.unlink(missing_ok=True)


def test_a_busy_controller_does_not_hold_up_the_server(tmp_path: Path) -> None:
    """A server can write as much as it likes while the controller's event loop is stuck."""
    done = tmp_path / "done"
    program = f"print('x' * 8_000_000); open({str(done)!r}, 'w')"

    async def main() -> None:
        async with deployed(tmp_path / "log", program):
            pause = threading.Event()
            for _ in range(3000):  # the loop turns not once
                if done.exists():
                    break
                pause.wait(0.02)
            assert done.exists()

    run(main)
    assert (tmp_path / "log").stat().st_size == 8_000_001


def test_secrets_stay_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token reaches the server, and neither its log nor anybody's command line."""
    token = f"hf_{uuid.uuid4().hex}"
    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setenv("MY_API_KEY", token[::-1])
    program = "import os; print(os.environ['HF_TOKEN'], os.environ['MY_API_KEY'], flush=True)"

    async def main() -> None:
        settings = {"env_passthrough": ("HF_TOKEN",)}
        async with deployed(tmp_path / "log", program + "\n" + WAITS, **settings) as deployment:
            await eventually(lambda: b"up" in (tmp_path / "log").read_bytes())
            ours = read_stat(deployment.pids()[0])
            assert ours is not None
            for pid in (ours.pid, ours.parent):
                assert token not in proc(pid, "cmdline")
            assert token not in proc(ours.parent, "environ")
            assert token in proc(ours.pid, "environ")

    run(main)
    assert (tmp_path / "log").read_text() == "[secret] [secret]\nup\n"
    for path in (tmp_path / "state").rglob("*"):
        assert path.is_dir() or token not in path.read_text()


@pytest.mark.parametrize("attempt", range(5))
def test_a_program_that_ends_at_once(tmp_path: Path, attempt: int) -> None:
    """An end that comes before anybody has looked is told as well as any other."""
    pid, start = owner()
    identity = Identity(study="faults", trial=attempt, owner_pid=pid, owner_start=start)
    plan = LaunchPlan(argv=("false",), port=free_port())

    async def main() -> None:
        async with ProcessDeployer(CLOCK).deploy(
            plan, identity=identity, log_path=tmp_path / "log"
        ) as deployment:
            async with asyncio.timeout(PATIENCE_S):
                assert (await deployment.wait_exit()).exit_code == 1

    run(main)


def test_a_death_by_signal(tmp_path: Path) -> None:
    """A signal is told as such, and as the code that a shell and Docker would give."""

    async def main() -> None:
        program = "import os, signal; os.kill(os.getpid(), signal.SIGABRT)"
        async with deployed(tmp_path / "log", program) as deployment:
            await ended(deployment)
            evidence = deployment.exit_evidence()
            assert evidence is not None
            assert (evidence.signal, evidence.exit_code) == (signal.SIGABRT, 134)

    run(main)


def test_the_plans_environment_comes_on_top(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server sees this program's variables, the plan's in their place, and the marks."""
    monkeypatch.setenv("INHERITED", "kept")
    monkeypatch.setenv("CHANGED", "before")
    program = (
        "import os; print(*(os.environ[n] for n in ('INHERITED', 'CHANGED', 'AUTOTUNE_STUDY')))"
    )

    async def main() -> None:
        async with deployed(tmp_path / "log", program, env={"CHANGED": "after"}) as deployment:
            await ended(deployment)

    run(main)
    assert (tmp_path / "log").read_text() == "kept after faults\n"


def test_the_end_of_the_main_process_is_the_end(tmp_path: Path, state: Path) -> None:
    """A server whose first process ends has ended, though a child of it runs on; that goes too."""
    program = "import os, time\nif os.fork():\n    os._exit(0)\ntime.sleep(3600)"
    children: set[ProcessId] = set()

    async def main() -> None:
        async with deployed(tmp_path / "log", program) as deployment:
            await ended(deployment)
            assert deployment.pids() == ()
            await eventually(lambda: any(is_running(p) for p in note(state).members()))
            children.update(note(state).members())
        assert not any(is_running(process) for process in children)

    run(main)
    assert children


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    """A log in an impossible place stops the start with a clear word."""
    (tmp_path / "file").write_text("")

    async def main() -> None:
        with pytest.raises(DeployerError, match="cannot be written"):
            async with deployed(tmp_path / "file" / "log", WAITS):
                pytest.fail("there is no place for the log")

    run(main)


@pytest.mark.parametrize(
    ("name", "mode", "fragment"),
    [("no-such-program", None, "no program"), ("notes.txt", 0o644, "not executable")],
)
def test_a_program_that_is_none(tmp_path: Path, name: str, mode: int | None, fragment: str) -> None:
    """A missing program and a file that is none are told before anything starts."""
    program = tmp_path / name
    if mode is not None:
        program.write_text("words")
        program.chmod(mode)
    plan = LaunchPlan(argv=(str(program),), port=free_port())
    with pytest.raises(DeployerError, match=fragment) as raised:
        CLOCK.run(ProcessDeployer(CLOCK).preflight(plan))
    assert raised.value.hint
