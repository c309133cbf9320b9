"""The compose file."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from autotune.report.exports.compose import compose_file, escaped, size
from autotune.report.exports.compose_reader import launch_from_compose
from autotune.report.exports.folder import write_recommendation
from autotune.report.exports.service import Service, service_from
from autotune.seams.deployment import LaunchPlan, Mount
from autotune.spec.study import StudySpec
from tests.support.launches import CONFIGURATION, DOCKER, MODEL, PROCESS
from tests.support.records import record


def service(launch: LaunchPlan = DOCKER, *, simulated: bool = False) -> Service:
    """The service of a trial."""
    return service_from(record(5, config=CONFIGURATION, simulated=simulated), launch, StudySpec())


def parsed(text: str) -> dict[str, Any]:
    """The file's one service."""
    document = yaml.safe_load(text)
    vllm: dict[str, Any] = document["services"]["vllm"]
    return vllm


@pytest.mark.parametrize("launch", [DOCKER, PROCESS], ids=["docker", "process"])
@pytest.mark.parametrize("simulated", [False, True])
def test_it_keeps_to_the_compose_specification(launch: LaunchPlan, simulated: bool) -> None:
    """Checked against the specification's own JSON schema."""
    schema = json.loads(
        (files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text()
    )
    document = yaml.safe_load(compose_file(service(launch, simulated=simulated)))
    jsonschema.validate(document, schema)
    assert document["services"]["vllm"]["command"]


def compose_command() -> tuple[list[str], str] | None:
    """Docker's compose plugin or program with its release; None where neither is there."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) is None:
            continue
        asked = [*command, "version", "--short"]
        told = subprocess.run(asked, capture_output=True, check=False, text=True)
        if told.returncode == 0:
            return command, told.stdout.strip().removeprefix("v")
    return None


@pytest.mark.parametrize("launch", [DOCKER, PROCESS], ids=["docker", "process"])
def test_docker_compose_accepts_it(launch: LaunchPlan, tmp_path: Path) -> None:
    """`docker compose config` resolves file and `.env`, where it is installed.

    docker-compose 1.29, which Debian 12 has, is older than `create_host_path`.
    """
    found = compose_command()
    if found is None:
        pytest.skip("docker compose is not installed here")
    command, release = found
    write_recommendation(tmp_path, service(launch))
    path = tmp_path / "docker-compose.yml"
    if release.startswith("1."):
        text = path.read_text()
        assert text.count("create_host_path: true") == 2
        path.write_text(re.sub(r"\n +bind:\n +create_host_path: true", "", text))
    done = subprocess.run(
        [*command, "-f", str(path), "config"],
        capture_output=True, check=False, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "--max-model-len=32768" in done.stdout


def test_it_has_the_shape_of_an_ordinary_vllm_service() -> None:
    """Image by digest, loopback port, caches, GPU, shm, ipc, ulimits, restart, memory limit."""
    vllm = parsed(compose_file(service()))
    assert vllm["image"].startswith("vllm/vllm-openai:v0.33.0@sha256:")
    assert vllm["ports"] == ["${VLLM_BIND:-127.0.0.1}:${VLLM_PORT:-8000}:8000"]
    assert vllm["restart"] == "unless-stopped"
    assert vllm["ipc"] == "private"
    assert vllm["shm_size"] == "65g"
    assert vllm["mem_limit"] == vllm["memswap_limit"] == "85g"
    assert vllm["ulimits"]["memlock"] == {"soft": -1, "hard": -1}
    devices = vllm["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}]
    assert {v["target"] for v in vllm["volumes"]} == {
        "/root/.cache/huggingface", "/root/.cache/vllm",
    }  # fmt: skip


def test_the_token_is_a_reference_and_never_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the exporter's own environment holds."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    text = compose_file(service())
    assert parsed(text)["environment"]["HF_TOKEN"] == "${HF_TOKEN:-}"
    assert "hf_secret" not in text


def test_every_setting_of_the_command_carries_its_reason() -> None:
    """The line above each option is a comment."""
    lines = compose_file(service()).splitlines()
    flags = [i for i, line in enumerate(lines) if line.strip().startswith("- --")
             and "--port" not in line]  # fmt: skip
    assert len(flags) == 8
    assert all(lines[i - 1].strip().startswith("# ") for i in flags)


def test_it_reads_back_as_what_was_measured(tmp_path: Path) -> None:
    """File and `.env` as they are give the trial's options, limits and mounts again."""
    made = service()
    write_recommendation(tmp_path, made)
    plan = launch_from_compose(tmp_path / "docker-compose.yml", {"VLLM_PORT": "45678"})
    assert plan.argv[:3] == ("vllm", "serve", MODEL)
    wanted = {f"{o.flag}={o.value}" if o.value else o.flag for o in made.options}
    assert set(plan.argv[3:]) == {*wanted, "--host=0.0.0.0", "--port=8000"}
    assert (plan.bind_host, plan.port, plan.container_port) == ("127.0.0.1", 45678, 8000)
    assert (plan.shm_bytes, plan.memory_limit_bytes) == (
        DOCKER.shm_bytes, DOCKER.memory_limit_bytes,
    )  # fmt: skip
    assert plan.mounts == (
        DOCKER.mounts[0], Mount(source=tmp_path / "vllm-cache", target="/root/.cache/vllm"),
    )  # fmt: skip
    assert plan.env == made.env
    assert plan.env_passthrough == ("HF_TOKEN", "HF_ENDPOINT")
    assert plan.gpus
    assert plan.startup_timeout_s == DOCKER.startup_timeout_s


def test_a_change_in_the_env_file_changes_the_command(tmp_path: Path) -> None:
    """That is what it is for."""
    write_recommendation(tmp_path, service())
    env = tmp_path / ".env"
    env.write_text(env.read_text().replace("MAX_MODEL_LEN=32768", "MAX_MODEL_LEN=16384"))
    plan = launch_from_compose(tmp_path / "docker-compose.yml")
    assert "--max-model-len=16384" in plan.argv


def test_a_process_study_gets_the_image_of_its_release() -> None:
    """With a comment that it was not measured in it; the model's folder is mounted."""
    model = "/srv/models/tiny"
    launch = replace(PROCESS, argv=("vllm", "serve", model))
    text = compose_file(service(launch), release="0.32.0")
    assert parsed(text)["image"] == "vllm/vllm-openai:v0.32.0"
    assert "was not measured" in text
    assert parsed(text)["volumes"][0] == {
        "type": "bind", "source": model, "target": model, "read_only": True,
    }  # fmt: skip
    on_cpu = parsed(compose_file(service(launch), release="0.32.0+cpu"))
    assert on_cpu["image"] == "vllm/vllm-openai-cpu:v0.32.0"


def test_nothing_of_the_host_that_measured_is_in_the_file_of_a_process_study() -> None:
    """Whoever starts it has the image's own command, no cache and no proxy of another machine."""
    cache = "/home/u/.cache/autotune/engines/0.33.0"
    launch = replace(
        PROCESS,
        argv=("/opt/venv/bin/vllm", *PROCESS.argv[1:]),
        env={**PROCESS.env, "VLLM_CACHE_ROOT": f"{cache}/vllm", "TRITON_CACHE_DIR": f"{cache}/t",
             "FLASHINFER_WORKSPACE_BASE": f"{cache}/f", "DG_JIT_CACHE_DIR": f"{cache}/d"},
        env_passthrough=("HF_TOKEN", "HF_ENDPOINT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    )  # fmt: skip
    text = compose_file(service(launch), release="0.33.0")
    vllm = parsed(text)
    assert vllm["entrypoint"] == ["vllm", "serve"]
    assert vllm["environment"] == {
        "HF_TOKEN": "${HF_TOKEN:-}", "HF_ENDPOINT": None, "VLLM_NO_USAGE_STATS": "1",
    }  # fmt: skip
    assert vllm["shm_size"] == "65g"
    for word in ("/home", "/opt", "PROXY", "autotune/engines"):
        assert word not in text


def test_weights_in_the_cache_of_the_study_stay_mounted() -> None:
    """They are not downloaded a second time; `.env` can move them."""
    cache = Path("/home/u/.cache/autotune/engines/x")
    launch = replace(
        DOCKER,
        env={"HF_HOME": "/var/cache/autotune/huggingface"},
        mounts=(Mount(source=cache, target="/var/cache/autotune"),),
    )
    vllm = parsed(compose_file(service(launch)))
    assert vllm["volumes"][0]["source"] == f"${{HF_CACHE:-{cache}/huggingface}}"
    assert vllm["volumes"][0]["target"] == "/root/.cache/huggingface"
    assert "HF_HOME" not in vllm["environment"]


def test_hostile_text_stays_data(tmp_path: Path) -> None:
    """A model whose name holds YAML, references and quotes is served under that very name."""
    model = "evil: ${HOME} $(id) \"'\\ # {x}"
    made = service(replace(DOCKER, argv=("vllm", "serve", model, "--a", "${B:-c}: d")))
    path = tmp_path / "docker-compose.yml"
    path.write_text(compose_file(made))
    plan = launch_from_compose(path, {"HOME": "/root", "B": "x"})
    assert plan.argv[2:4] == (model, "--a=${B:-c}: d")


def test_sizes_are_exact() -> None:
    """Whole GiB and MiB in short, anything else to the byte."""
    assert [size(2**30), size(3 * 2**20), size(2**30 + 1)] == ["1g", "3m", "1073741825b"]


def test_dollars_are_doubled() -> None:
    """Compose's own escape."""
    assert escaped("a$b") == "a$$b"
