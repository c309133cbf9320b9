"""What a Docker engine refuses, or means by a name: each before a trial, and then a good trial."""

import asyncio
import socket
import types
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Final

import docker
import docker.errors

from autotune.clock import MonotonicClock
from autotune.deployers import docker as deployer
from autotune.deployers.docker_options import container_name
from autotune.deployers.marks import owner
from autotune.deployers.ports import free_port
from autotune.errors import ImageMissingError
from autotune.records import Configuration, TrialKind, TrialRecord
from autotune.seams.deployment import Identity
from autotune.seams.trial import TrialRequest
from autotune.trial.lifecycle import Trials
from benchmarks.reliability import leftovers
from benchmarks.reliability.scripted import DOES, failure_kind, image, runner_of, spec_of, tools_of

OTHER: Final = "autotune-test-other"


class Bench:
    """A study on an engine, and the engine's own view of it."""

    def __init__(self, folder: Path, name: str, clock: MonotonicClock, port: int | None) -> None:
        self.name = name
        self.port = port
        self.client = docker.from_env()
        self._spec = spec_of(name, {} if port is None else {"port": port})
        self._folder = folder
        self._clock = clock
        self._numbers = iter(range(100))
        self.runner = self.begin()

    def begin(self) -> Trials:
        """Another run of the study."""
        tools = tools_of(self._spec, "docker", clock=self._clock)
        self.runner = runner_of(self._spec, self._folder, tools)
        return self.runner

    async def trial(self, does: str = "serves") -> TrialRecord:
        """The next trial."""
        configuration = Configuration.of({DOES: does})
        return await self.runner.run(
            TrialRequest(
                number=next(self._numbers), kind=TrialKind.SEARCH, configuration=configuration
            )
        )

    async def image_of_the_next(self) -> tuple[str, str]:
        """The next trial's end, and the id of the image that its container was of."""
        running = asyncio.create_task(self.trial())
        seen = ""
        while not running.done():
            found = await asyncio.to_thread(self._containers)
            seen = seen or next((str(c.attrs["Image"]) for c in found), "")
            await asyncio.sleep(0.1)
        return failure_kind(running.result()), seen

    def _containers(self) -> list[docker.models.containers.Container]:
        label = {"label": f"autotune.study={self.name}"}
        return list(self.client.containers.list(ignore_removed=True, filters=label))


async def image_missing(bench: Bench) -> list[str]:
    """Somebody removes the image while a study runs; the next run has it again."""
    await asyncio.to_thread(bench.client.images.remove, image(), force=True)
    broken = []
    try:
        record = await bench.trial()
        broken.append(f"it is called {failure_kind(record)}: {record.outcome.failure}")
    except ImageMissingError as error:
        if not error.hint or "when this run began" not in error.message:
            broken.append(f"without clear words: {error} ({error.hint})")
    image()  # made again, with another id
    bench.begin()
    return broken


async def image_of_another_digest(bench: Bench) -> list[str]:
    """Somebody pulls while a study runs: the name means another image."""
    name = image()
    first = str(bench.client.images.get(name).id)
    made = bench.client.containers.create(name, ["true"], labels={"of": "the benchmark"})
    other = made.commit(repository=OTHER, changes="ENV MOVED=1")
    made.remove()
    repository, _, tag = name.partition(":")
    other.tag(repository, tag=tag)
    bench.client.images.get(first).tag(OTHER, tag="kept")
    kind, seen = await bench.image_of_the_next()
    bench.client.images.get(first).tag(repository, tag=tag)
    if (kind, seen) != ("measured", first):
        return [f"it is called {kind}, of image {seen} and not {first}"]
    return []


async def name_taken(bench: Bench) -> list[str]:
    """A container of somebody else's has the name; it stays as it is."""
    with _known_names() as deployment:
        pid, start = owner()
        identity = Identity(study=bench.name, trial=1, owner_pid=pid, owner_start=start)
        name = container_name(identity, deployment)
        theirs = bench.client.containers.create(image(), ["true"], name=name)
        record = await bench.trial()
    broken = []
    if failure_kind(record) != "deployer_fault" or "name exists" not in str(record.outcome):
        broken.append(f"it is called {failure_kind(record)}: {record.outcome.failure}")
    try:
        theirs.remove(force=True)
    except docker.errors.NotFound:
        broken.append("somebody else's container was removed")
    return broken


async def port_taken(bench: Bench) -> list[str]:
    """Somebody listens on the study's port."""
    with closing(socket.create_server(("127.0.0.1", bench.port or 0))):
        record = await bench.trial()
    if failure_kind(record) != "port_in_use":
        return [f"it is called {failure_kind(record)}: {record.outcome.failure}"]
    return []


REFUSALS: Final[Mapping[str, Callable[[Bench], Awaitable[list[str]]]]] = {
    "image-missing": image_missing,
    "image-of-another-digest": image_of_another_digest,
    "name-taken": name_taken,
    "port-taken": port_taken,
}


async def refused(folder: Path, fault: str, clock: MonotonicClock) -> list[str]:
    """A good trial, the fault, a good trial; what was broken.

    Args:
        folder: Scratch.
        fault: One of `REFUSALS`.
        clock: A real one.
    """
    async with _bench(folder, f"engine-{fault}", clock) as bench:
        broken = await _good(bench, "the trial before")
        broken += await REFUSALS[fault](bench)
        broken += await _good(bench, "the next trial")
        return broken + leftovers.containers(bench.name)


async def _good(bench: Bench, which: str) -> list[str]:
    record = await bench.trial()
    if failure_kind(record) == "measured":
        return []
    return [f"{which}: {record.outcome.failure}"]


@asynccontextmanager
async def _bench(folder: Path, name: str, clock: MonotonicClock) -> AsyncIterator[Bench]:
    bench = Bench(folder, name, clock, free_port() if "port" in name else None)
    try:
        await bench.runner.prepare()
        yield bench
    finally:
        bench.client.close()


@contextmanager
def _known_names() -> Iterator[str]:
    """Deployments of which one can tell the name beforehand."""
    number = uuid.uuid4()
    before = deployer.uuid
    deployer.uuid = types.SimpleNamespace(uuid4=lambda: number)  # type: ignore[assignment]
    try:
        yield number.hex
    finally:
        deployer.uuid = before
