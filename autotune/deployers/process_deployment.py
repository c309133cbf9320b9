"""One server under a supervisor, seen from the controller."""

import asyncio
import errno
import json
import os
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import autotune
from autotune.clock import Clock
from autotune.deployers.footprint import Footprint, footprints
from autotune.deployers.leftovers import end_leftover
from autotune.deployers.marks import environment_marks
from autotune.deployers.order import Order
from autotune.errors import DeployerError
from autotune.seams.deployment import ExitEvidence
from autotune.units import BYTES_PER_MIB

if TYPE_CHECKING:
    from collections.abc import Callable

START_TIMEOUT_S: Final = 30.0
END_TIMEOUT_S: Final = 20.0
"""Beyond the grace: the supervisor insists for 10 s and sweeps."""


class ProcessDeployment:
    """A server process; follows `autotune.seams.deployment.Deployment`."""

    def __init__(self, order: Order, base_url: str, clock: Clock) -> None:
        self._order = order
        self._base_url = base_url
        self._clock = clock
        self._supervisor: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[ExitEvidence] | None = None
        self._started_ns = clock.now_ns()
        self._engine_pid: int | None = None
        self._pids: tuple[int, ...] = ()
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._exit: asyncio.Future[ExitEvidence] = asyncio.get_running_loop().create_future()
        self._asked_to_end = False
        self._left: tuple[int, ...] = ()
        self._swept: tuple[str, ...] = ()
        self._is_gone = False

    @property
    def base_url(self) -> str:
        """Where it answers."""
        return self._base_url

    @property
    def log_path(self) -> Path:
        """Its stdout and stderr, bounded and with secrets masked."""
        return Path(self._order.log_path)

    @property
    def started_ns(self) -> int:
        """When the process was started (the clock is the same in every process)."""
        return self._started_ns

    @property
    def swept(self) -> tuple[str, ...]:
        """Shared memory files that were removed after its end."""
        return self._swept

    def pids(self) -> tuple[int, ...]:
        """The server's own process, then the rest as last seen (once a second)."""
        return () if self._exit.done() else self._pids

    def cgroup(self) -> Path | None:
        """None: it shares the controller's."""
        return None

    def exit_evidence(self) -> ExitEvidence | None:
        """How it ended; None while it runs."""
        return self._exit.result() if self._exit.done() else None

    @property
    def is_out_of_sight(self) -> bool:
        """Never."""
        return False

    async def wait_exit(self) -> ExitEvidence:
        """Return as soon as the supervisor has seen it end."""
        return await asyncio.shield(self._exit)

    async def start(self) -> None:
        """Start supervisor and server.

        Raises:
            DeployerError: If either cannot be started.
        """
        try:
            self._supervisor = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # the current folder must not shadow the standard library
                "-m",
                "autotune.deployers.supervisor",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._supervisor_environment(),
                start_new_session=True,
                limit=BYTES_PER_MIB,
            )
        except OSError as error:
            raise start_error(error.errno, str(error)) from error
        self._listening = asyncio.create_task(self._listen(self._supervisor))
        self._say(self._order.to_bytes())
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await asyncio.shield(self._started)
        except TimeoutError:
            message = f"the engine's supervisor did not start it within {START_TIMEOUT_S:g} s"
            raise DeployerError(message, hint="The machine is overloaded; try again.") from None

    async def stop(self, *, grace_s: float) -> ExitEvidence:
        """End the server, everything it started, and its shared memory files."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(grace_s))
        return await asyncio.shield(self._stopping)

    async def _stop(self, grace_s: float) -> ExitEvidence:
        self._asked_to_end = True
        if self._supervisor is None:
            self._settle(ExitEvidence(stopped_by_us=True, detail="it was never started"))
        elif self._listening is not None:
            self._say(b"stop %.3f\n" % grace_s)
            await asyncio.wait({self._listening}, timeout=grace_s + END_TIMEOUT_S)
            if not self._is_gone:
                await self._end_without_supervisor(self._supervisor)
            await asyncio.wait({self._listening}, timeout=1.0)
            self._let_go(self._supervisor, self._listening)
        evidence = self._exit.result()
        if self._left:
            pids = ", ".join(map(str, self._left))
            evidence = replace(evidence, detail=f"{evidence.detail}; could not be ended: {pids}")
        return evidence

    def _let_go(
        self, supervisor: asyncio.subprocess.Process, listening: asyncio.Task[None]
    ) -> None:
        listening.cancel()
        if supervisor.stdin is not None:
            supervisor.stdin.close()
        if not self._started.done():
            self._started.cancel()
        elif not self._started.cancelled():
            self._started.exception()  # told to whoever waited for the start, if anybody

    async def _end_without_supervisor(self, supervisor: asyncio.subprocess.Process) -> None:
        """The supervisor is dead or hangs: do its work by what it wrote down."""
        with suppress(ProcessLookupError):
            supervisor.kill()
        footprint = self._footprint()
        if footprint is not None:
            ended = await end_leftover(footprint, self._clock)
            self._left, self._swept = ended.left, ended.swept
        self._settle(ExitEvidence(deployer_fault=True, detail="its supervisor hung"))

    def _footprint(self) -> Footprint | None:
        found = footprints(Path(self._order.footprints))
        return next((f for f in found if f.deployment == self._order.deployment), None)

    def _supervisor_environment(self) -> dict[str, str]:
        """Little, and marked: the engine's environment is in the order."""
        root = Path(autotune.__file__).resolve().parent.parent
        paths = [str(root), os.environ.get("PYTHONPATH", "")]
        marks = environment_marks(self._order.identity, self._order.deployment)
        kept = {k: v for k, v in os.environ.items() if k in {"PATH", "HOME", "LANG", "TMPDIR"}}
        return {**kept, **marks, "PYTHONPATH": os.pathsep.join(filter(None, paths))}

    def _say(self, line: bytes) -> None:
        """Write to the supervisor; a dead one is noticed by who listens."""
        if self._supervisor is not None and self._supervisor.stdin is not None:
            with suppress(OSError):
                self._supervisor.stdin.write(line)

    async def _listen(self, supervisor: asyncio.subprocess.Process) -> None:
        """Follow what the supervisor tells, to its end."""
        if supervisor.stdout is None or supervisor.stderr is None:
            raise AssertionError  # both are pipes
        complaint = asyncio.create_task(supervisor.stderr.read())
        try:
            async for line in supervisor.stdout:
                with suppress(ValueError):
                    self._hear(json.loads(line))
            await supervisor.wait()
            said = (await complaint).decode("utf-8", "replace").strip().splitlines()
        finally:
            complaint.cancel()
        detail = f"its supervisor ended with code {supervisor.returncode}"
        detail = ": ".join([detail, *said[-1:]])
        if not self._started.done():
            self._started.set_exception(DeployerError(detail, hint="Try again."))
        if not self._is_gone:
            self._settle(ExitEvidence(deployer_fault=True, detail=detail))

    def _hear(self, told: dict[str, Any]) -> None:
        hearers: dict[str, Callable[[dict[str, Any]], None]] = {
            "started": self._hear_started,
            "failed": self._hear_failed,
            "members": self._hear_members,
            "exited": self._hear_exited,
            "gone": self._hear_gone,
        }
        hearers[told["event"]](told)

    def _hear_started(self, told: dict[str, Any]) -> None:
        self._started_ns = told["at_ns"]
        self._engine_pid = told["pid"]
        self._pids = (told["pid"],)
        if not self._started.done():
            self._started.set_result(None)

    def _hear_failed(self, told: dict[str, Any]) -> None:
        self._is_gone = True
        if not self._started.done():
            self._started.set_exception(start_error(told["errno"], told["message"]))
        self._settle(ExitEvidence(detail=told["message"]))

    def _hear_members(self, told: dict[str, Any]) -> None:
        first, pids = self._engine_pid, told["pids"]
        own = (first,) if first is not None and first in pids else ()
        self._pids = (*own, *(pid for pid in pids if pid != first))

    def _hear_exited(self, told: dict[str, Any]) -> None:
        self._settle(
            ExitEvidence(
                exit_code=told["exit_code"],
                signal=told["signal"],
                oom_killed=told["oom_killed"],
                detail=told["detail"],
            )
        )

    def _hear_gone(self, told: dict[str, Any]) -> None:
        self._is_gone = True
        self._left, self._swept = tuple(told["left"]), tuple(told["swept"])
        self._settle(ExitEvidence(detail="its end was not seen"))

    def _settle(self, evidence: ExitEvidence) -> None:
        """The first account of its end stands."""
        if not self._exit.done():
            self._exit.set_result(replace(evidence, stopped_by_us=self._asked_to_end))


def start_error(number: int | None, message: str) -> DeployerError:
    """Why the system refused to start a program."""
    hints = {
        errno.ENOEXEC: "It is no program for this machine: wrong architecture or no #! line.",
        errno.E2BIG: "Its arguments and environment are too long.",
        errno.ENOMEM: "The host has no memory left.",
        errno.EAGAIN: "This user has too many processes: see `ulimit -u`.",
        errno.ENOENT: "Its interpreter (the #! line) is missing.",
    }
    return DeployerError(
        f"the program cannot be started: {message}",
        hint=hints.get(number or 0, "Start it by hand to see more."),
    )
