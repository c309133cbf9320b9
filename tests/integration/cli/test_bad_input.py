"""Whatever is wrong: one message that names the thing, a next step, an exit code by kind."""

import gc
import os
import socket
import subprocess
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from autotune.cli.main import run
from autotune.paths import StudyPaths, results_root
from autotune.store import StudyLock
from tests.e2e.conftest import real_study
from tests.support.command import Place

SIMULATED = ("--engine", "simulated", "--trials", "8", "--quiet")

SPACE = "space: {parameters: {max_num_seqs: {%s}}}"


@dataclass(frozen=True, kw_only=True)
class Refused:
    """What a command said as it refused."""

    code: int
    error: str
    hint: str


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> Refused:
    """Run a command that must fail, with one error and one hint and no traceback."""
    code = run(arguments)
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    hints = [line for line in lines if line.startswith("hint: ")]
    assert len(errors) == 1, lines
    assert len(hints) == 1, lines
    assert not any("Traceback" in line for line in lines)
    return Refused(code=code, error=errors[0], hint=hints[0])


@pytest.mark.parametrize(
    ("text", "code", "names"),
    [
        ("trails: 3", 3, ["study.yaml", "trails", "unknown key"]),
        ("a: [1", 3, ["study.yaml", "line 1", "not YAML"]),
        ("[]", 3, ["study.yaml", "expected a mapping"]),
        (SPACE % "low: 9, high: 1", 3, ["max_num_seqs", "upside down"]),
        (SPACE % "choices: [1], when: {zzz: [1]}", 3, ["max_num_seqs", "when", "'zzz'"]),
        (SPACE % "choices: [1], when: {max_num_seqs: [1]}", 3, ["max_num_seqs", "circle"]),
        (SPACE % "choises: [1]", 3, ["max_num_seqs", "choises", "unknown key"]),
        ("space: nosuch", 2, ["'nosuch'", "search_spaces"]),
        ("objectives: [speed]", 3, ["objectives", "'speed'"]),
        ("probes: [thruput]", 3, ["probes", "'thruput'"]),
        ("model: /nowhere/model", 4, ["/nowhere/model"]),
        ("model: nobody/nothing", 4, ["nobody/nothing"]),
        ("engine: {name: vllm, deployer: process, command: [/nowhere/vllm, serve]}", 5,
         ["/nowhere/vllm"]),
    ],
)  # fmt: skip
def test_a_wrong_study_file(
    capsys: pytest.CaptureFixture[str], text: str, code: int, names: list[str]
) -> None:
    """The file and the field are named, and nothing is written."""
    Path("study.yaml").write_text(text)
    answer = refused(capsys, "study", "study.yaml")
    assert answer.code == code
    for name in names:
        assert name in answer.error
    assert not results_root().exists()


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("study", "nosuch"), "'nosuch'"),
        (("study", "--timeout", "soon"), "'soon'"),
        (("study", "--engine", "simulated", "--deployer", "docker"), "'docker'"),
        (("matrix", "--configs", "baseline,Z", "--engine", "simulated"), "'Z'"),
        (("matrix", "--tests", "9", "--engine", "simulated"), "'9'"),
        (("matrix", "--matrix", "nosuch"), "'nosuch'"),
        (("show", "nosuch"), "'nosuch'"),
        (("recommend", "nosuch"), "'nosuch'"),
        (("export", "nosuch"), "'nosuch'"),
    ],
)
def test_a_command_that_asks_for_what_is_not_there(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], names: str
) -> None:
    """Exit code 2, and the hint lists what there is or how it is written."""
    answer = refused(capsys, *arguments)
    assert answer.code == 2
    assert names in answer.error


@pytest.mark.parametrize("arguments", [("nosuch",), ("study", "--trials", "0"), ("study", "-z")])
def test_a_wrong_command_line_shows_the_usage(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    """The command line's own errors have the same exit code."""
    assert run(arguments) == 2
    said = capsys.readouterr().err
    assert "Usage: " in said
    assert "Traceback" not in said


def test_no_docker(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 7, and the hint says how to get one or do without."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    Path("study.yaml").write_text("engine: {deployer: docker, image: some/image, gpus: false}")
    answer = refused(capsys, "study", "study.yaml")
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect()  # docker 7.2 leaves the socket of a failed first call unclosed
    assert answer.code == 7
    assert "Docker" in answer.error


@pytest.mark.docker
def test_an_image_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 8, named, after one try to get it."""
    Path("study.yaml").write_text(
        "engine: {deployer: docker, image: 'localhost:1/no/such:image', gpus: false}"
    )
    answer = refused(capsys, "study", "study.yaml")
    assert answer.code == 8
    assert "localhost:1/no/such:image" in answer.error


@pytest.mark.vllm
def test_a_port_in_use(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Exit code 9 before anything is started, and the port is named."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        study = real_study("process", tmp_path, {"port": port})
        answer = refused(capsys, "study", str(study.file))
    assert answer.code == 9
    assert str(port) in answer.error
    assert study.records() == []


def test_a_study_that_exists_with_another_space(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 12, the difference is named, and the study that is there is left as it was."""
    assert run(["study", *SIMULATED]) == 0
    before = StudyPaths(results_root() / "default").spec.read_bytes()
    Path("mine.yaml").write_text("name: default\n" + SPACE % "choices: [8, 16]")
    answer = refused(capsys, "study", "mine.yaml", *SIMULATED)
    assert answer.code == 12
    assert "'default'" in answer.error
    assert "space" in answer.error
    assert StudyPaths(results_root() / "default").spec.read_bytes() == before


def test_a_study_that_somebody_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 12, and the running one is left alone."""
    paths = StudyPaths(results_root() / "default")
    paths.root.mkdir(parents=True)
    with StudyLock(paths.lock):
        answer = refused(capsys, "study", *SIMULATED)
    assert answer.code == 12
    assert not paths.trials.exists()


def test_a_name_that_leaves_the_folder(capsys: pytest.CaptureFixture[str]) -> None:
    """A study's name is a folder's name and nothing else."""
    for name in ("../up", "/tmp/x", "a/b", ""):
        assert refused(capsys, "study", "--name", name, *SIMULATED).code == 3


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 KiB."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)], check=False
    )
    if made.returncode != 0:
        pytest.skip("this machine lets nobody mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_no_room_on_the_disk(small_disk: Path) -> None:
    """Exit code 10 or 11, the file is named, what was recorded stays, and more room lets it go on.

    In a process of its own: a full disk must not meet the test runner.
    """
    place = Place(folder=small_disk, variables={"XDG_CACHE_HOME": str(small_disk.parent / "cache")})
    command = ("study", "--engine", "simulated", "--trials", "4", "--json")
    full = place.run(*command)
    assert full.code in {10, 11}, full.errors
    assert "Traceback" not in full.errors
    assert "error: " in full.errors
    assert "hint: " in full.errors
    assert str(small_disk) in full.errors
    grown = ["mount", "-o", "remount,size=100m", str(small_disk)]
    subprocess.run(grown, check=True)
    assert place.run(*command).result["trials"] >= 4
