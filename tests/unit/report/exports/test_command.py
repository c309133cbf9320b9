"""Shell scripts, run by a real shell with a program that only prints its arguments."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from autotune.report.exports.folder import write_recommendation
from autotune.report.exports.service import Service, service_from
from autotune.seams.deployment import LaunchPlan, Mount
from autotune.spec.study import StudySpec
from tests.support.launches import CONFIGURATION, DOCKER, MODEL, PROCESS
from tests.support.records import record


def service(launch: LaunchPlan) -> Service:
    """The service of a trial."""
    return service_from(record(5, config=CONFIGURATION), launch, StudySpec())


_PRINT_ARGUMENTS = "import sys; print('\\0'.join(sys.argv[1:]), end='')"


def run(script: Path, program: str, *, code: str = _PRINT_ARGUMENTS, **env: str) -> list[str]:
    """Arguments that a script gives a program that stands in for the real one."""
    bin_ = script.parent / "bin"
    bin_.mkdir(exist_ok=True)
    stand_in = bin_ / program
    stand_in.write_text(f"#!{sys.executable}\n{code}\n")
    stand_in.chmod(0o755)
    path = f"{bin_}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", str(script)], capture_output=True, check=True, text=True,
        env={"PATH": path, **env},
    )  # fmt: skip
    return done.stdout.split("\0")


def test_serve_sh_runs_the_measured_command(tmp_path: Path) -> None:
    """Program, model, options in their order, port on loopback."""
    made = service(PROCESS)
    write_recommendation(tmp_path, made)
    got = run(tmp_path / "serve.sh", "vllm")
    assert tuple(got) == made.arguments(host="127.0.0.1", port=8000)[1:]


def test_the_engine_does_not_see_the_services_port(tmp_path: Path) -> None:
    """VLLM takes VLLM_PORT for ports between its own processes, as it was set in no trial."""
    write_recommendation(tmp_path, service(PROCESS))
    told = tmp_path / "told"
    code = f"import os; open({str(told)!r}, 'w').write(' '.join(sorted(os.environ)))"
    run(tmp_path / "serve.sh", "vllm", code=code, VLLM_PORT="9001")
    assert "VLLM_PORT" not in told.read_text().split()
    assert "MAX_MODEL_LEN" in told.read_text().split()


def test_the_env_file_and_the_shell_change_it(tmp_path: Path) -> None:
    """The file wins over the script, the calling shell over the file."""
    write_recommendation(tmp_path, service(PROCESS))
    env = tmp_path / ".env"
    env.write_text(env.read_text().replace("MAX_MODEL_LEN=32768", "MAX_MODEL_LEN=16384"))
    got = run(tmp_path / "serve.sh", "vllm", VLLM_PORT="9001")
    assert got[got.index("--max-model-len") + 1] == "16384"
    assert got[got.index("--port") + 1] == "9001"


def test_it_runs_without_its_env_file(tmp_path: Path) -> None:
    """Each value has its default in the script."""
    write_recommendation(tmp_path, service(PROCESS))
    (tmp_path / ".env").unlink()
    assert run(tmp_path / "serve.sh", "vllm")[1] == MODEL


def test_docker_run_sh_runs_the_image_under_the_same_limits(tmp_path: Path) -> None:
    """Entry point, limits and options of the study."""
    launch = replace(
        DOCKER, mounts=(Mount(source=tmp_path / "hub", target="/root/.cache/huggingface"),)
    )
    write_recommendation(tmp_path, service(launch))
    got = run(tmp_path / "docker-run.sh", "docker")
    for wanted in (["--entrypoint", "vllm"], ["--shm-size", "65g"], ["--memory", "85g"],
                   ["--publish", "127.0.0.1:8000:8000"], ["--env", "HF_TOKEN"],
                   ["--ipc", "private"]):  # fmt: skip
        assert wanted in [got[i : i + 2] for i in range(len(got))]
    image = got.index("vllm/vllm-openai:v0.33.0@sha256:" + "ab12" * 16)
    assert got[image + 1 : image + 3] == ["serve", MODEL]
    assert (tmp_path / "hub").is_dir()


def test_hostile_text_stays_data(tmp_path: Path) -> None:
    """Quotes, substitutions and line ends in a model's name are not run."""
    model = 'm\'; touch owned; $(touch owned) `touch owned` "${HOME}"'
    launch = replace(PROCESS, argv=("vllm", "serve", model, "--a", "$(touch owned) 'x"))
    write_recommendation(tmp_path, service(launch))
    got = run(tmp_path / "serve.sh", "vllm", HOME="/nowhere")
    assert got[1:4] == [model, "--a", "$(touch owned) 'x"]
    assert not list(tmp_path.glob("**/owned"))


def test_an_env_file_is_read_and_never_run(tmp_path: Path) -> None:
    """A value that looks like a command stays a value."""
    write_recommendation(tmp_path, service(PROCESS))
    (tmp_path / ".env").write_text("MAX_MODEL_LEN=$(touch owned)\n`touch owned`=1\n")
    got = run(tmp_path / "serve.sh", "vllm")
    assert got[got.index("--max-model-len") + 1] == "$(touch owned)"
    assert not list(tmp_path.glob("**/owned"))
