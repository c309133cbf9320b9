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
from tests.support.command import PROGRAM, Place

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
        ("probes: [thruput]", 3, ["probes", "'thruput'", "did you mean throughput?"]),
        ("headroom: {host_gib: 1e300}", 3, ["study.yaml", "headroom -> host_gib"]),
        ("headroom: {host_gib: 50000}\nengine: {name: simulated}", 3,
         ["headroom -> host_gib", "this machine has"]),
        ("baseline: {kv_cach_dtype: fp8}", 3, ["baseline", "did you mean kv_cache_dtype?"]),
        ("seeds: [{max_num_seqs: many}]", 3, ["seeds -> 0 -> max_num_seqs", "'many'"]),
        ("space: {parameters: {max_num_seq: {choices: [8, 16]}}}", 3,
         ["parameters -> max_num_seq", "did you mean max_num_seqs?"]),
        ("space: {parameters: {kv_cache_dtype: {choices: [default, fp9]}}}", 3,
         ["parameters -> kv_cache_dtype", "'fp9'"]),
        ("space: {parameters: {gpu_memory_utilization: {low: 0.5, high: 95}}}", 3,
         ["gpu_memory_utilization", "it cannot be over 1"]),
        ("limits: [{metric: ttft_8k_ns, at_most: 2}]", 3, ["limits -> 0", "at_most_s"]),
        ("limits: [{metric: ttft_8k_ns, at_most_s: -2}]", 3, ["limits -> 0", "negative"]),
        ("objectives: [needle_recall_ratio]\nprobes: [startup]", 3,
         ["objectives -> 0", "needle_recall_ratio"]),
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
        answer = refused(capsys, "study", "--name", name, *SIMULATED)
        assert answer.code == 3
        assert answer.error.startswith(f"error: --name {name!r}: it must be 1 to 64 letters")


def test_a_folder_given_as_the_study(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and the file in it is named."""
    Path("mine").mkdir()
    Path("mine", "study.yaml").write_text("")
    answer = refused(capsys, "study", "mine", *SIMULATED)
    assert answer.code == 2
    assert "'mine' is a folder" in answer.error
    assert "mine/study.yaml" in answer.hint


def test_a_cell_of_a_matrix_that_no_engine_has(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 3, and cell and setting are named."""
    Path("cells.yaml").write_text(
        "configurations: {A: {title: a, configuration: {async_sheduling: true}}}"
    )
    answer = refused(capsys, "matrix", "--matrix", "cells.yaml", "--engine", "simulated")
    assert answer.code == 3
    assert "A -> configuration -> async_sheduling" in answer.error


def test_a_key_that_is_not_set(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, before anything is started."""
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    Path("study.yaml").write_text(
        "engine: {name: vllm, deployer: process, api_key_env: VLLM_API_KEY}"
    )
    answer = refused(capsys, "study", "study.yaml")
    assert answer.code == 2
    assert "VLLM_API_KEY is not set" in answer.error


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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("options", [("--json",), ()])
def test_an_output_on_a_full_disk(tmp_path: Path, options: tuple[str, ...]) -> None:
    """One message, an exit code of its own, and no traceback."""
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [PROGRAM, "study", "--engine", "simulated", "--trials", "2", *options],
            cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            timeout=100,
        )  # fmt: skip
    assert ended.returncode == 15, ended.stderr
    assert "the output cannot be written: No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr
