"""The Docker deployer keeps the contract of deployers, on a real engine."""

import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import psutil
import pytest

from autotune.deployers.cgroups import cgroup_pids, memory_cgroup
from autotune.deployers.docker import DockerDeployer
from autotune.deployers.marks import ERRANDS, errand, labels, owner
from autotune.deployers.ports import free_port
from autotune.deployers.processes import ProcessId, read_stat
from autotune.errors import DeployerError, ImageMissingError
from autotune.seams.deployment import Identity, LaunchPlan
from autotune.units import BYTES_PER_MIB
from tests.contract.deployer_suite import (
    CLOCK,
    FLOOD_BYTES,
    DeployerSuite,
    identity,
    ready,
    status,
)
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


SHM_BYTES = 24 * BYTES_PER_MIB
LIMIT_BYTES = 128 * BYTES_PER_MIB
KEPT_BITS = 1 << 0 | 1 << 1 | 1 << 3  # CHOWN, DAC_OVERRIDE, FOWNER (linux/capability.h)


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
        limit = 16 * BYTES_PER_MIB if behaviour == "hog" else LIMIT_BYTES
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

    def inspected(self, study: str) -> dict[str, Any]:
        """What the engine says of the only container of a study."""
        (container,) = self._labelled(study)
        return dict(container.attrs)

    def has_gpus(self) -> bool:
        """Whether the engine could hand GPUs to a container."""
        return "nvidia" in self._client.info()["Runtimes"]

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

    def test_the_kernel_holds_a_trial_to_what_it_may(
        self, bench: DockerBench, log_path: Path
    ) -> None:
        """Read from /proc while it runs: no privileges, none to gain, memory and shm of its own."""
        plan = replace(bench.plan("serve"), shm_bytes=SHM_BYTES)

        async def main() -> None:
            async with bench.deployer.deploy(
                plan, identity=identity(), log_path=log_path
            ) as deployment:
                await ready(deployment)
                pid, *_ = deployment.pids()  # its children have what it has, and come and go
                facts = proc_status(pid)
                assert facts["NoNewPrivs"] == "1"
                for which in ("CapEff", "CapPrm", "CapBnd"):
                    assert int(facts[which], 16) & ~KEPT_BITS == 0
                for namespace in ("ipc", "pid", "net", "mnt"):
                    assert namespace_of(pid, namespace) != namespace_of("self", namespace)
                assert shm_kib(pid) == SHM_BYTES // 1024
                cgroup = deployment.cgroup()
                assert cgroup is not None
                assert memory_limit(cgroup) == LIMIT_BYTES

        CLOCK.run(main())

    def test_the_engine_is_asked_for_no_privileges(
        self, bench: DockerBench, log_path: Path
    ) -> None:
        """As `docker inspect` shows a running trial; no log of the engine's own, no restart."""
        plan = replace(bench.plan("serve"), shm_bytes=SHM_BYTES)

        async def main() -> None:
            async with bench.deployer.deploy(plan, identity=identity(), log_path=log_path):
                found = bench.inspected("contract")
                host = found["HostConfig"]
                assert host["Privileged"] is False
                assert host["SecurityOpt"] == ["no-new-privileges=true"]
                assert host["CapDrop"] == ["ALL"]
                added = {name.removeprefix("CAP_") for name in host["CapAdd"]}
                assert added == {"CHOWN", "DAC_OVERRIDE", "FOWNER"}
                assert host["IpcMode"] == "private"
                assert host["PidMode"] == host["UTSMode"] == ""
                assert host["Devices"] in (None, [])
                assert host["ShmSize"] == SHM_BYTES
                assert host["Memory"] == host["MemorySwap"] == LIMIT_BYTES
                assert host["OomKillDisable"] in (None, False)
                assert host["RestartPolicy"]["Name"] in {"", "no"}
                assert host["LogConfig"]["Type"] == "none"
                assert found["LogPath"] == ""

        CLOCK.run(main())

    def test_only_this_host_reaches_it(self, bench: DockerBench, log_path: Path) -> None:
        """The port is open on 127.0.0.1 and on no other address of this host."""
        plan = bench.plan("serve")

        async def main() -> None:
            async with bench.deployer.deploy(
                plan, identity=identity(), log_path=log_path
            ) as deployment:
                await ready(deployment)
                others = addresses() - {"127.0.0.1"}
                assert others
                for address in others:
                    assert await status(f"http://{address}:{plan.port}/") is None
                ports = bench.inspected("contract")["NetworkSettings"]["Ports"]
                assert [p["HostIp"] for p in ports["8000/tcp"]] == ["127.0.0.1"]

        CLOCK.run(main())

    def test_a_card_that_the_engine_cannot_hand_out(self, bench: DockerBench) -> None:
        """Without the NVIDIA runtime the look ahead says which package is missing."""
        if bench.has_gpus():
            pytest.skip("this engine has the NVIDIA runtime")
        with pytest.raises(DeployerError) as raised:
            CLOCK.run(bench.deployer.preflight(replace(bench.plan("serve"), gpus=True)))
        assert "NVIDIA Container Toolkit" in raised.value.hint
        assert bench.left(ERRANDS) == []

    def test_an_image_that_is_not_here(self, bench: DockerBench, log_path: Path) -> None:
        """Neither a look ahead nor a start pulls it: both say how to."""
        plan = replace(bench.plan("serve"), image="autotune-test:no-such-tag")

        async def main() -> None:
            async with bench.deployer.deploy(plan, identity=identity(), log_path=log_path):
                pytest.fail("there is no such image")

        for attempt in (bench.deployer.preflight(plan), main()):
            with pytest.raises(ImageMissingError) as raised:
                CLOCK.run(attempt)
            assert raised.value.hint == "Fetch it: docker pull autotune-test:no-such-tag"


def proc_status(pid: int) -> dict[str, str]:
    """`/proc/PID/status` by name."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def namespace_of(pid: int | str, kind: str) -> str:
    """Which namespace of a kind a process is in (namespaces(7))."""
    return str(Path(f"/proc/{pid}/ns/{kind}").readlink())


def shm_kib(pid: int) -> int:
    """Size of a process's /dev/shm, which must be a mount of its own."""
    mounts = Path(f"/proc/{pid}/mounts").read_text().splitlines()
    (options,) = [line.split()[3] for line in mounts if line.split()[1] == "/dev/shm"]
    (size,) = [o for o in options.split(",") if o.startswith("size=")]
    return int(size.removeprefix("size=").removesuffix("k"))


def memory_limit(cgroup: Path) -> int:
    """The kernel's limit of a memory cgroup, of either version."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        if (cgroup / name).exists():
            return int((cgroup / name).read_text())
    raise AssertionError(cgroup)


def addresses() -> set[str]:
    """IPv4 addresses of this host."""
    return {
        address.address
        for found in psutil.net_if_addrs().values()
        for address in found
        if address.family is socket.AF_INET
    }
