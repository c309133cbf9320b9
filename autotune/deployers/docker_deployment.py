"""One server in a container."""

import asyncio
import signal
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from autotune.clock import Clock
from autotune.deployers.bounded_log import BoundedLog
from autotune.deployers.cgroups import cgroup_pids, memory_cgroup
from autotune.deployers.docker_connect import ClientFactory, connected
from autotune.deployers.docker_errors import FOREIGN, translating
from autotune.deployers.docker_images import Images
from autotune.deployers.docker_start import remove_container, start_container
from autotune.deployers.docker_stream import OutputPump
from autotune.deployers.docker_watch import ExitWatch, with_detail
from autotune.deployers.kernel import oom_detail, oom_kills
from autotune.deployers.patience import to_the_end
from autotune.deployers.processes import ProcessId, read_stat, send
from autotune.errors import DeployerError
from autotune.seams.deployment import ExitEvidence

if TYPE_CHECKING:
    import docker

_LOG_END_S: Final = 5.0


class DockerDeployment:
    """A server in a container; follows `autotune.seams.deployment.Deployment`.

    The Docker client blocks, so every call to it runs in a thread: a short one in the event
    loop's pool, the wait for the container's end and its output in threads of their own.

    Args:
        options: Arguments of `containers.create`; see `docker_options`.
        connect: Makes a client; one is not for two threads.
        images: Which image a name means.
        log: Gets the output.
        log_path: Where that is.
        base_url: Where the server will answer.
        clock: A real one.
    """

    def __init__(
        self,
        options: dict[str, Any],
        connect: ClientFactory,
        images: Images,
        log: BoundedLog,
        *,
        log_path: Path,
        base_url: str,
        clock: Clock,
    ) -> None:
        self._options = options
        self._connect = connect
        self._images = images
        self._log = log
        self._log_path = log_path
        self._base_url = base_url
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[ExitEvidence] = self._loop.create_future()
        self._stopping: asyncio.Task[ExitEvidence] | None = None
        self._client: docker.DockerClient | None = None
        self._container: Any = None
        self._pump: OutputPump | None = None
        self._watch: ExitWatch | None = None
        self._process: ProcessId | None = None
        self._cgroup: Path | None = None
        self._started_ns = clock.now_ns()
        self._asked_to_end = False
        self._given_up = threading.Event()
        self._oom_kills_before = oom_kills()
        self._is_removed = False

    @property
    def base_url(self) -> str:
        """Where it answers."""
        return self._base_url

    @property
    def log_path(self) -> Path:
        """Its stdout and stderr, bounded and with secrets masked."""
        return self._log_path

    @property
    def started_ns(self) -> int:
        """When the engine was asked to start the container."""
        return self._started_ns

    @property
    def options(self) -> dict[str, Any]:
        """With which it was created."""
        return self._options

    @property
    def container_name(self) -> str:
        """Its name."""
        return str(self._options["name"])

    def pids(self) -> tuple[int, ...]:
        """Its processes as this host numbers them; empty where the engine is not on this host."""
        if self._process is None or self._exit.done():
            return ()
        others = cgroup_pids(self._cgroup) if self._cgroup is not None else ()
        return (self._process.pid, *(pid for pid in others if pid != self._process.pid))

    def cgroup(self) -> Path | None:
        """Folder of the container's memory cgroup."""
        return self._cgroup

    def exit_evidence(self) -> ExitEvidence | None:
        """How it ended; None while it runs."""
        return self._exit.result() if self._exit.done() else None

    @property
    def is_out_of_sight(self) -> bool:
        """Whether the Docker engine is away; its ports' proxies may have gone with it."""
        return self._watch is not None and self._watch.is_away

    async def wait_exit(self) -> ExitEvidence:
        """Return as soon as the engine tells that it has ended."""
        return await asyncio.shield(self._exit)

    @property
    def is_removed(self) -> bool:
        """Whether nothing of it is left."""
        return self._is_removed

    async def start(self) -> None:
        """Create and start the container.

        Raises:
            DeployerError: If the engine refuses; what was created is removed by `stop`.
        """
        starting = asyncio.ensure_future(asyncio.to_thread(self._start))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._given_up.set()
            await to_the_end(_ended(starting))
            raise

    def _start(self) -> None:
        self._client = connected(self._connect, self._clock, self._given_up)
        with translating("starting a container"):
            options = self._images.meant(self._client, self._options)
            self._container = start_container(self._client, options, self._about_to_start)
            self._container.reload()
        self._find_process(self._container.attrs)
        self._watch = ExitWatch(
            self._connect,
            self._container.id,
            self._process,
            self._clock,
            tell=self._tell,
            returned=lambda: self._attach(self._container),
        )

    def _about_to_start(self, container: Any) -> None:
        self._attach(container)
        self._started_ns = self._clock.now_ns()

    def _attach(self, container: Any) -> None:
        """Read the output of a container from now on; all of it if it is about to start."""
        if self._pump is not None:
            self._pump.close()
        self._pump = OutputPump(self._connect(), container.id, self._log)

    async def stop(self, *, grace_s: float) -> ExitEvidence:
        """End and remove the container."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(grace_s))
        return await asyncio.shield(self._stopping)

    async def _stop(self, grace_s: float) -> ExitEvidence:
        self._asked_to_end = True
        complaint, self._is_removed = "", self._client is None
        if self._client is not None:
            complaint = await asyncio.to_thread(self._end, grace_s)
        self._settle(ExitEvidence(detail="its end was not seen"))
        if self._watch is not None:
            self._watch.give_up()
        await asyncio.to_thread(self._close)
        evidence = self._exit.result()
        return with_detail(evidence, complaint)

    def _end(self, grace_s: float) -> str:
        """Ask, insist, remove; what could not be done is returned."""
        try:
            client = connected(self._connect, self._clock, threading.Event())
            with translating("ending a container"):
                remove_container(client, self._options, grace_s, self._wait_for_exit)
        except DeployerError as error:
            if self._process is not None:
                send(self._process, signal.SIGKILL)
            return f"{self.container_name} could not be removed: {error}"
        self._is_removed = True
        client.close()
        return ""

    def _wait_for_exit(self) -> None:
        """Let the watcher read how it ended before the container is removed."""
        seen = threading.Event()
        self._loop.call_soon_threadsafe(self._exit.add_done_callback, lambda _future: seen.set())
        if self._watch is not None:
            seen.wait(2 * _LOG_END_S)

    def _close(self) -> None:
        if self._pump is not None:
            self._pump.join(_LOG_END_S)
            self._pump.close()
        self._log.close()
        if self._client is not None:
            with suppress(*FOREIGN):
                self._client.close()

    def _find_process(self, attrs: dict[str, Any]) -> None:
        pid = int(attrs.get("State", {}).get("Pid") or 0)
        stat = read_stat(pid) if pid > 0 else None
        self._cgroup = memory_cgroup(pid, str(attrs["Id"])) if stat is not None else None
        if stat is not None and self._cgroup is not None:
            self._process = stat.process

    def _tell(self, evidence: ExitEvidence) -> None:
        """From the watcher to the event loop, once the output is on disk."""
        if self._pump is not None:
            self._pump.join(_LOG_END_S)
        evidence = with_detail(evidence, self._log.error)
        if not evidence.oom_killed:
            evidence = with_detail(evidence, oom_detail(self._oom_kills_before))
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._settle, evidence)

    def _settle(self, evidence: ExitEvidence) -> None:
        """The first account of its end stands."""
        if not self._exit.done():
            self._exit.set_result(replace(evidence, stopped_by_us=self._asked_to_end))


async def _ended(task: "asyncio.Future[None]") -> None:
    """Wait for the end of a task, whatever it comes to."""
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
