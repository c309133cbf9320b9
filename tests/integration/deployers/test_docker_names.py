"""Names that mean another thing by now: a tag that moved, a container of somebody else's."""

import asyncio
import uuid
from pathlib import Path

import pytest

from autotune.clock import MonotonicClock
from autotune.deployers.docker import DockerDeployer
from autotune.deployers.docker_options import container_name
from autotune.deployers.marks import owner
from autotune.errors import DeployerError, ImageMissingError
from autotune.seams.deployment import Identity, LaunchPlan
from tests.support.fake_docker import FakeEngine

CLOCK = MonotonicClock()
PLAN = LaunchPlan(argv=("vllm", "serve"), image="vllm", port=1)
FIRST, SECOND = "sha256:1", "sha256:2"


def identity(trial: int) -> Identity:
    """This test's."""
    pid, start = owner()
    return Identity(study="names", trial=trial, owner_pid=pid, owner_start=start)


def start(deployer: DockerDeployer, log: Path, *, trial: int = 1) -> None:
    """Start a server and stop it."""

    async def main() -> None:
        async with deployer.deploy(PLAN, identity=identity(trial), log_path=log):
            await asyncio.sleep(0)

    CLOCK.run(main())


def test_a_tag_that_moves_changes_no_later_trial(tmp_path: Path) -> None:
    """Every server of a run is of the image that the name meant at first."""
    engine = FakeEngine(images={"vllm": FIRST})
    deployer = DockerDeployer(CLOCK, engine.connect)
    start(deployer, tmp_path / "log")
    engine.images = {"vllm": SECOND, "<none>": FIRST}
    start(deployer, tmp_path / "log", trial=2)
    assert [options["image"] for options in engine.starts] == [FIRST, FIRST]


def test_an_image_that_goes_while_a_study_runs_is_told(tmp_path: Path) -> None:
    """Not with the image that the name means since: those trials could not be compared."""
    engine = FakeEngine(images={"vllm": FIRST})
    deployer = DockerDeployer(CLOCK, engine.connect)
    start(deployer, tmp_path / "log")
    engine.images = {"vllm": SECOND}
    with pytest.raises(ImageMissingError, match=f"{FIRST} when this run began") as raised:
        start(deployer, tmp_path / "log", trial=2)
    assert "--name" in raised.value.hint
    assert engine.containers == {}


def test_an_image_that_is_not_here_is_told_with_the_way_to_fetch_it(tmp_path: Path) -> None:
    """At a start as well as at a look ahead."""
    engine = FakeEngine(images={})
    deployer = DockerDeployer(CLOCK, engine.connect)
    for attempt in (lambda: CLOCK.run(deployer.preflight(PLAN)),
                    lambda: start(deployer, tmp_path / "log")):  # fmt: skip
        with pytest.raises(ImageMissingError) as raised:
            attempt()
        assert raised.value.hint == "Fetch it: docker pull vllm"


def test_a_container_of_the_same_name_that_is_not_ours_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start fails with a word, and clearing up after it touches nobody else's container."""
    number = uuid.uuid4()
    monkeypatch.setattr("autotune.deployers.docker.uuid.uuid4", lambda: number)
    engine = FakeEngine()
    name = container_name(identity(1), number.hex)
    theirs = engine.connect().create(name=name, labels={"autotune.deployment": "of another"})
    with pytest.raises(DeployerError, match="a container of that name exists"):
        start(DockerDeployer(CLOCK, engine.connect), tmp_path / "log")
    assert engine.containers == {name: theirs}


def test_a_container_that_got_another_name_goes_all_the_same(tmp_path: Path) -> None:
    """It is known by its mark: under another name it would keep the card."""
    engine = FakeEngine()

    async def main() -> None:
        deployer = DockerDeployer(CLOCK, engine.connect)
        async with deployer.deploy(PLAN, identity=identity(1), log_path=tmp_path / "log"):
            engine.only.rename("somebody-s-own")

    CLOCK.run(main())
    assert engine.containers == {}
