"""The Docker deployer keeps the contract of deployers, on a real engine."""

import subprocess
import sys
from collections.abc import Iterator, Mapping

import docker
import pytest

from autotune.deployers.cgroups import cgroup_pids, memory_cgroup
from autotune.deployers.docker import DockerDeployer
from autotune.deployers.marks import ERRANDS, errand, labels, owner
from autotune.deployers.ports import free_port
from autotune.deployers.processes import ProcessId, read_stat
from autotune.seams.deployment import Identity, LaunchPlan
from autotune.units import BYTES_PER_MIB
from tests.contract.deployer_suite import CLOCK, FLOOD_BYTES, DeployerSuite
from tests.support.busybox import make_image

SCRIPTS = {
    # The first process of a container gets no signal that it does not handle: hence the trap.
    "serve": "trap 'exit 143' TERM; httpd -f -p 8000 -h /www & echo $! >/tmp/pid; wait; exit 0",
    "deaf": "trap '' TERM; exec httpd -f -p 8000 -h /www",
    "forks": "setsid sleep 3600 & exec httpd -f -p 8000 -h /www",
    "exit": "echo bye; exit 3",
    "flood": f"echo first; yes | head -c {FLOOD_BYTES}; echo last",
    "hog": "exec tail /dev/zero",
}


class DockerBench:
    """Tiny servers in busybox."""

    quit_path = "/cgi-bin/quit"

    def __init__(self, client: docker.DockerClient) -> None:
        self.deployer = DockerDeployer(CLOCK)
        self._client = client
        self._image = make_image(client)

    def plan(self, behaviour: str) -> LaunchPlan:
        """As the suite says."""
        script = SCRIPTS.get(behaviour)
        argv = ("/no/such/program",) if script is None else ("sh", "-c", script)
        limit = (16 if behaviour == "hog" else 128) * BYTES_PER_MIB
        return LaunchPlan(argv=argv, image=self._image, port=free_port(), memory_limit_bytes=limit)

    def left(self, study: str) -> list[str]:
        """Labelled containers."""
        return [str(container.name) for container in self._labelled(study)]

    def processes_of(self, study: str, owner_pid: int) -> set[ProcessId]:
        """In the cgroups of the containers."""
        found = set()
        for container in self._labelled(study):
            if not container.labels["autotune.owner"].startswith(f"{owner_pid}:"):
                continue
            pid = int(container.attrs["State"]["Pid"])
            cgroup = memory_cgroup(pid, str(container.id))
            pids = (pid,) if cgroup is None else cgroup_pids(cgroup)
            found |= {stat.process for p in pids if (stat := read_stat(p)) is not None}
        return found

    def cripple(self, study: str, owner_pid: int) -> None:
        """Nobody would clean up."""

    def create(self, marks: Mapping[str, str]) -> str:
        """A container that was never started; its name."""
        made = self._client.containers.create(self._image, ["true"], labels=dict(marks))
        return str(made.name)

    def remove(self, name: str) -> None:
        """Away with it."""
        self._client.containers.get(name).remove(force=True)

    def _labelled(self, study: str) -> list[docker.models.containers.Container]:
        label = {"label": f"autotune.study={study}"}
        return list(self._client.containers.list(all=True, filters=label))


@pytest.mark.docker
class TestDockerDeployer(DeployerSuite):
    """The suite."""

    @pytest.fixture
    def bench(self) -> Iterator[DockerBench]:
        """A Docker deployer and its tiny servers."""
        client = docker.from_env()
        yield DockerBench(client)
        client.close()

    def test_looks_of_the_dead_are_swept_by_any_study(self, bench: DockerBench) -> None:
        """A rehearsal or a scan whose autotune was killed goes; one of a living autotune stays."""
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1) as killed:
            pid, start = owner(killed.pid)
            dead = Identity(study=ERRANDS, trial=0, owner_pid=pid, owner_start=start)
            killed.kill()
        made = [bench.create(labels(identity, "scan")) for identity in (dead, errand())]
        try:
            swept = CLOCK.run(bench.deployer.sweep("some-study"))
            assert swept == (f"a look ahead: {made[0]} ended",)
            assert bench.left(ERRANDS) == made[1:]
        finally:
            bench.remove(made[1])
