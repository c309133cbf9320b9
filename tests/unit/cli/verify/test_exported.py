"""Exported files as a plan."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.cli.verify.exported import ExportedFiles, exported_files, require_unchanged
from autotune.errors import UsageError
from autotune.report.exports.folder import write_recommendation
from autotune.report.exports.service import Service, service_from
from autotune.seams.deployment import LaunchPlan
from autotune.spec.study import StudySpec
from tests.support.launches import CONFIGURATION, DOCKER, MODEL, PROCESS
from tests.support.records import record


def service(launch: LaunchPlan, *, simulated: bool = False) -> Service:
    """What trial 5 is exported to."""
    trial = record(5, config=CONFIGURATION, simulated=simulated)
    return service_from(trial, launch, StudySpec())


def written(folder: Path, deployer: str) -> ExportedFiles:
    """The files of a study by its deployer."""
    launch = DOCKER if deployer == "docker" else PROCESS
    write_recommendation(folder, service(launch, simulated=deployer == "simulated"))
    return exported_files(folder, deployer=deployer)


@pytest.mark.parametrize(
    ("deployer", "names"),
    [
        ("docker", ["docker-compose.yml", ".env"]),
        ("process", ["serve.sh", ".env"]),
        ("simulated", ["docker-compose.SIMULATED.yml", ".env.SIMULATED"]),
    ],
)
def test_the_files_of_each_deployer(tmp_path: Path, deployer: str, names: list[str]) -> None:
    """What is started comes first; each tells its trial, and has a digest."""
    files = written(tmp_path, deployer)
    assert [path.name for path in files.files] == names
    assert files.trial == 5
    text = (tmp_path / names[0]).read_bytes()
    assert files.digests()[names[0]] == hashlib.sha256(text).hexdigest()


def test_a_compose_file_is_run_as_it_is_on_another_port(tmp_path: Path) -> None:
    """Image, command and limits are the file's."""
    plan = written(tmp_path, "docker").plan(45678)
    assert plan.image == "vllm/vllm-openai:v0.33.0@sha256:" + "ab12" * 16
    assert plan.argv[:3] == ("vllm", "serve", MODEL)
    assert "--kv-cache-dtype=fp8" in plan.argv
    assert (plan.port, plan.container_port) == (45678, 8000)
    assert plan.memory_limit_bytes == DOCKER.memory_limit_bytes
    assert plan.shm_bytes == DOCKER.shm_bytes


def test_a_simulated_engine_gets_the_files_command_without_a_container(tmp_path: Path) -> None:
    """Else it would be compared with a default in other surroundings."""
    plan = written(tmp_path, "simulated").plan(8000)
    assert plan.image is None
    assert plan.mounts == ()
    assert "--max-model-len=32768" in plan.argv


def test_the_callers_variables_do_not_change_what_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A MODEL in the shell would win over the file; the script is run to see that it does not."""
    folder = tmp_path / "recommended"
    files = written(folder, "process")
    monkeypatch.setenv("MODEL", "somebody/else")
    monkeypatch.setenv("MAX_MODEL_LEN", "1")
    stand_in = tmp_path / "vllm"
    stand_in.write_text(f"#!{sys.executable}\nimport sys\nprint('\\n'.join(sys.argv[1:]))\n")
    stand_in.chmod(0o755)
    plan = files.plan(45678)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(plan.argv, env={**os.environ, **plan.env, "PATH": path}, check=True,
                          capture_output=True, text=True)  # fmt: skip
    said = done.stdout.splitlines()
    assert said[:2] == ["serve", MODEL]
    assert said[said.index("--max-model-len") + 1] == "32768"
    assert said[said.index("--port") + 1] == "45678"
    assert plan.base_url == "http://127.0.0.1:45678"


def test_a_script_is_bound_where_its_file_says(tmp_path: Path) -> None:
    """So it is also asked there."""
    files = written(tmp_path, "process")
    env = tmp_path / ".env"
    env.write_text(env.read_text().replace("VLLM_BIND=127.0.0.1", "VLLM_BIND=127.0.0.2"))
    assert files.plan(1).bind_host == "127.0.0.2"


@pytest.mark.parametrize("deployer", ["docker", "process", "simulated"])
def test_files_that_are_not_there(tmp_path: Path, deployer: str) -> None:
    """The hint says what writes them."""
    folder = tmp_path / "studies" / "mine" / "recommended"
    with pytest.raises(UsageError, match="is not there") as caught:
        exported_files(folder, deployer=deployer)
    assert caught.value.hint == "`autotune recommend mine` writes it."


def test_files_of_nobody_knows_which_trial(tmp_path: Path) -> None:
    """Without a trial there is nothing to hold them against."""
    written(tmp_path, "process")
    (tmp_path / "serve.sh").write_text("#!/bin/sh\nexec vllm serve m\n")
    with pytest.raises(UsageError, match="does not say which trial"):
        exported_files(tmp_path, deployer="process")


def test_another_setting_in_the_env_file_is_refused(tmp_path: Path) -> None:
    """The trial's figures are those of its own settings."""
    files = written(tmp_path, "process")
    require_unchanged(files, service(PROCESS))
    env = tmp_path / ".env"
    env.write_text(env.read_text().replace("MAX_MODEL_LEN=32768", "MAX_MODEL_LEN=16384"))
    with pytest.raises(UsageError, match=r"MAX_MODEL_LEN=16384 in \.env: trial 5 .* 32768"):
        require_unchanged(files, service(PROCESS))


def test_another_port_address_or_folder_is_the_users_business(tmp_path: Path) -> None:
    """They change nothing that was measured."""
    files = written(tmp_path, "docker")
    env = tmp_path / ".env"
    text = env.read_text().replace("VLLM_PORT=8000", "VLLM_PORT=9000")
    env.write_text(text.replace("HF_CACHE=/home/u/.cache/huggingface", "HF_CACHE=/srv/hub"))
    require_unchanged(files, service(DOCKER))
    env.unlink()
    require_unchanged(files, service(DOCKER))


def test_another_model_is_refused(tmp_path: Path) -> None:
    """It is a setting like the others."""
    files = written(tmp_path, "docker")
    other = service(replace(DOCKER, argv=("vllm", "serve", "other/model", *DOCKER.argv[3:])))
    with pytest.raises(UsageError, match="MODEL="):
        require_unchanged(files, other)
