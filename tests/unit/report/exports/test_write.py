"""The folder `recommended/`."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.report.exports.folder import write_recommendation
from autotune.report.exports.names import file_name
from autotune.report.exports.service import service_from, written_for
from autotune.report.exports.write import FORMATS, export
from autotune.seams.deployment import LaunchPlan
from autotune.spec.study import StudySpec
from tests.support.launches import CONFIGURATION, DOCKER, PROCESS
from tests.support.records import record


def names(folder: Path, launch: LaunchPlan, *, simulated: bool = False) -> set[str]:
    """Files that a trial's recommendation consists of."""
    trial = record(5, config=CONFIGURATION, simulated=simulated)
    made = write_recommendation(folder, service_from(trial, launch, StudySpec()))
    return {p.name for p in made.files}


def test_a_container_study_writes_compose_env_and_commands(tmp_path: Path) -> None:
    """Four files; the scripts can be run."""
    assert names(tmp_path, DOCKER) == {"docker-compose.yml", ".env", "serve.sh", "docker-run.sh"}
    assert (tmp_path / "serve.sh").stat().st_mode & 0o111


def test_a_process_study_has_no_docker_command(tmp_path: Path) -> None:
    """There was no image."""
    assert names(tmp_path, PROCESS) == {"docker-compose.yml", ".env", "serve.sh"}


def test_a_simulated_study_says_so_in_every_file_name(tmp_path: Path) -> None:
    """And in every file's first line of prose."""
    made = names(tmp_path, DOCKER, simulated=True)
    assert made == {
        "docker-compose.SIMULATED.yml", ".env.SIMULATED", "serve.SIMULATED.sh",
        "docker-run.SIMULATED.sh",
    }  # fmt: skip
    assert all("SIMULATED" in (tmp_path / name).read_text()[:200] for name in made)


@pytest.mark.parametrize("form", FORMATS)
def test_every_file_tells_its_trial(form: str) -> None:
    """However long the study's name is, and wherever the line is broken."""
    trial = replace(record(17, config=CONFIGURATION), study="s" * 64)
    for one in export(service_from(trial, DOCKER, StudySpec()), form):  # type: ignore[arg-type] # a Format
        assert written_for(one.text) == 17
    assert written_for("services: {}") is None


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_a_file(form: str) -> None:
    """None is forgotten, and none is empty."""
    trial = record(5, config=CONFIGURATION)
    made = export(service_from(trial, DOCKER, StudySpec()), form)  # type: ignore[arg-type] # a Format
    assert made
    assert all(len(one.text) > 200 for one in made)


def test_file_names_keep_their_suffix() -> None:
    """So that tools still know what they are."""
    assert file_name("vllm.service", simulated=True) == "vllm.SIMULATED.service"
    assert file_name(".env", simulated=True) == ".env.SIMULATED"
    assert file_name("serve.sh", simulated=False) == "serve.sh"


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("launch", [DOCKER, PROCESS])
def test_every_file_that_is_named_is_one_that_was_written(form: str, launch: LaunchPlan) -> None:
    """A command in a comment that names a file of the folder names it as it is called."""
    trial = record(5, config=CONFIGURATION, simulated=True)
    service = service_from(trial, launch, StudySpec())
    written = {one.name for known in FORMATS for one in export(service, known)}
    for one in export(service, form):  # type: ignore[arg-type] # a Format
        prose = " ".join(line.lstrip("# ") for line in one.text.splitlines() if line[:1] == "#")
        commands = re.findall(r"(?:-f|--env-file|copy) (\S+)", prose)
        assert set(commands) <= written
        assert commands or form in {"env", "command"}
