"""The process between autotune and an engine: starts it, writes its log, ends it.

Run as `python -m autotune.deployers.supervisor`, one per deployment, by the process deployer.
It exists because the controller may be killed at any instant and has better things to do:

- its standard input ends when the controller dies, however it dies; it then ends the engine;
- it is a subreaper (prctl(2)), so no descendant of the engine escapes it;
- it reads the engine's output at once, whatever the controller's event loop is busy with;
- it enforces a limit of memory without a cgroup.

Standard input: an `Order`, then lines "stop SECONDS". Standard output: one JSON
object per line, with an "event": "started" (pid, start_ticks, at_ns), "failed" (errno, message),
"members" (pids), "exited" (exit_code, signal, oom_killed, detail), "gone" (left, swept).
"""

import asyncio
import ctypes
import fcntl
import itertools
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from autotune.clock import MonotonicClock
from autotune.deployers import shared_memory
from autotune.deployers.arrivals import Arrivals
from autotune.deployers.bounded_log import BoundedLog
from autotune.deployers.footprint import Footprint
from autotune.deployers.kernel import oom_detail, oom_kills
from autotune.deployers.order import Order
from autotune.deployers.processes import ProcessId, end_all, read_stat
from autotune.deployers.resident import resident_bytes
from autotune.errors import DeployerError
from autotune.units import BYTES_PER_GIB, BYTES_PER_MIB, s_from_ns

PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h
SCAN_S: Final = 1.0
SHM_TURNS: Final = 5  # scans between two looks at shared memory, for which maps are read
SHM_PAUSE_S: Final = 0.2  # between two looks because of new files, however many come
GUARD_S: Final = 0.2
ORPHAN_GRACE_S: Final = 5.0
PIPE_BYTES: Final = BYTES_PER_MIB  # the most that a user may ask for (pipe(7))
FIRST_CHOICE: Final = "1000"  # oom_score_adj: the kernel's OOM killer takes these first (proc(5))


class Supervisor:
    """One engine's."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._clock = MonotonicClock()
        self._folder = Path(order.footprints)
        self._log = BoundedLog(Path(order.log_path), secrets=order.secrets)
        self._output_fd = -1
        self._child: subprocess.Popen[bytes] | None = None
        self._exited = asyncio.Event()
        self._commands: asyncio.Queue[float] = asyncio.Queue()
        self._over_limit = ""
        self._oom_kills_before = oom_kills()
        self._arrivals = Arrivals(shared_memory.SHM)
        self._footprint = Footprint(
            deployment=order.deployment,
            identity=order.identity,
            supervisor=_this_process(),
            shm_before=shared_memory.listing(),
        )

    async def run(self) -> None:
        """Start the engine, watch it, end it when told to or when the controller is gone."""
        loop = asyncio.get_running_loop()
        for ignored in (signal.SIGINT, signal.SIGHUP):  # the terminal's; the controller decides
            signal.signal(ignored, signal.SIG_IGN)
        loop.add_signal_handler(signal.SIGTERM, self._commands.put_nowait, ORPHAN_GRACE_S)
        loop.add_signal_handler(signal.SIGCHLD, self._reap)
        self._footprint.save(self._folder)
        if not self._start(loop):
            self._footprint.path(self._folder).unlink(missing_ok=True)
            return
        loop.add_reader(sys.stdin.fileno(), self._read_command)
        self._await_arrivals()
        watching = [asyncio.create_task(self._scan()), asyncio.create_task(self._guard())]
        grace_s = await self._commands.get()
        for task in watching:
            task.cancel()
        await self._end(grace_s)
        self._arrivals.close()

    def _start(self, loop: asyncio.AbstractEventLoop) -> bool:
        self._output_fd, writing = os.pipe()
        with suppress(OSError):
            fcntl.fcntl(self._output_fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.set_blocking(self._output_fd, False)
        try:
            # Kept: an object that is forgotten would take its child's status away from `_reap`.
            started = self._child = subprocess.Popen(
                self._order.argv,
                env=self._order.env,
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            tell("failed", errno=getattr(error, "errno", None), message=str(error))
            return False
        finally:
            os.close(writing)
        at_ns = self._clock.now_ns()
        with suppress(OSError):
            Path(f"/proc/{started.pid}/oom_score_adj").write_text(FIRST_CHOICE)
        stat = read_stat(started.pid)
        ticks = 0 if stat is None else stat.start_ticks
        self._footprint.engine = ProcessId(started.pid, ticks)
        self._footprint.processes = frozenset({self._footprint.engine})
        self._footprint.save(self._folder)
        tell("started", pid=started.pid, start_ticks=ticks, at_ns=at_ns)
        loop.add_reader(self._output_fd, self._pump)
        return True

    def _pump(self) -> bool:
        """Move what the engine wrote to the log; False if there is nothing more for now."""
        try:
            data = os.read(self._output_fd, PIPE_BYTES)
        except BlockingIOError:
            return False
        if not data:
            asyncio.get_running_loop().remove_reader(self._output_fd)
            return False
        self._log.write(data)
        return True

    def _drain(self) -> None:
        """Take what a full pipe can hold, so that the log is whole when an exit is told."""
        for _ in range(2):
            if not self._pump():
                break

    def _read_command(self) -> None:
        try:
            data = os.read(sys.stdin.fileno(), 4096)
        except OSError:
            data = b""
        if not data:  # the controller is gone
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            self._commands.put_nowait(ORPHAN_GRACE_S)
        for line in data.splitlines():
            self._commands.put_nowait(float(line.removeprefix(b"stop ")))

    def _reap(self) -> None:
        """Take the status of every child that ended; descendants that lost their parent too."""
        engine = self._footprint.engine
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if engine is not None and pid == engine.pid and not self._exited.is_set():
                    code = os.waitstatus_to_exitcode(status)
                    if self._child is not None:
                        self._child.returncode = code
                    self._tell_exit(code)

    def _tell_exit(self, code: int) -> None:
        self._drain()
        details = (self._over_limit or oom_detail(self._oom_kills_before), self._log.error)
        tell(
            "exited",
            exit_code=128 - code if code < 0 else code,
            signal=-code if code < 0 else None,
            oom_killed=True if self._over_limit else None,
            detail="; ".join(detail for detail in details if detail),
        )
        self._exited.set()

    async def _scan(self) -> None:
        """Write down who belongs to the deployment; notice a controller that is gone.

        A child that it forked may hold the other end of standard input open.
        """
        controller = os.getppid()
        for turn in itertools.count():
            self._note(self._footprint.members(), look=turn % SHM_TURNS == 0)
            if os.getppid() != controller:
                self._commands.put_nowait(ORPHAN_GRACE_S)
            await self._clock.sleep(SCAN_S)

    def _await_arrivals(self) -> None:
        if self._arrivals.descriptor is not None:
            asyncio.get_running_loop().add_reader(self._arrivals.descriptor, self._arrived)

    def _arrived(self) -> None:
        """Look at once who has the new files, then not again for a while."""
        loop = asyncio.get_running_loop()
        if self._arrivals.descriptor is not None:
            loop.remove_reader(self._arrivals.descriptor)
            self._arrivals.clear()
            self._note(self._footprint.members(), look=True)
            loop.call_later(SHM_PAUSE_S, self._await_arrivals)

    def _note(self, members: set[ProcessId], *, look: bool) -> None:
        """Write down members and, now and then, the shared memory that they use."""
        footprint = self._footprint
        is_new = members != footprint.processes
        if is_new:
            footprint.processes = frozenset(members)
            tell("members", pids=sorted(process.pid for process in members))
        seen = footprint.shm_seen
        if is_new or look:
            used = shared_memory.used_files(process.pid for process in members)
            footprint.shm_seen = seen | (used - footprint.shm_before)
        if is_new or footprint.shm_seen != seen:
            footprint.save(self._folder)

    async def _guard(self) -> None:
        """End everything at once if it takes more memory than allowed."""
        limit = self._order.memory_limit_bytes
        while limit is not None and not self._over_limit:
            start_ns = self._clock.now_ns()
            used = resident_bytes(self._footprint.processes, limit)
            took_s = s_from_ns(self._clock.now_ns() - start_ns)
            if used > limit:
                self._over_limit = (
                    f"autotune ended it at {used / BYTES_PER_GIB:.2f} GiB of memory, over its "
                    f"limit of {limit / BYTES_PER_GIB:.2f} GiB"
                )
                await end_all(self._footprint.members, clock=self._clock, grace_s=0.0)
            await self._clock.sleep(max(GUARD_S, 20 * took_s))  # no more than 5% of the time

    async def _end(self, grace_s: float) -> None:
        """End everyone, sweep shared memory, forget the footprint."""
        self._note(self._footprint.members(), look=True)
        left = await end_all(self._footprint.members, clock=self._clock, grace_s=grace_s)
        self._reap()
        self._drain()
        swept = shared_memory.sweep(self._footprint.shm_before, self._footprint.shm_seen)
        self._log.close()
        if not left:
            self._footprint.path(self._folder).unlink(missing_ok=True)
        tell("gone", left=sorted(process.pid for process in left), swept=swept)


def tell(event: str, **facts: object) -> None:
    """Write a line to the controller; it may be gone."""
    with suppress(OSError):
        os.write(sys.stdout.fileno(), json.dumps({"event": event, **facts}).encode() + b"\n")


def _this_process() -> ProcessId:
    stat = read_stat(os.getpid())
    return ProcessId(os.getpid(), 0 if stat is None else stat.start_ticks)


def main() -> None:
    """Supervise one engine."""
    order = Order.read(sys.stdin.fileno())
    if order is None:
        return  # the controller went away before it had said what to run
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        supervisor = Supervisor(order)
    except DeployerError as error:
        tell("failed", errno=None, message=str(error))
        return
    MonotonicClock().run(supervisor.run())


if __name__ == "__main__":
    main()
