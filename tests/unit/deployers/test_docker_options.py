"""A launch plan as the settings of a container."""

from dataclasses import replace
from pathlib import Path

import pytest

from autotune.deployers.docker_options import conceded, container_options
from autotune.deployers.marks import identity_of
from autotune.errors import DeployerError
from autotune.seams.deployment import Identity, LaunchPlan, Mount

IDENTITY = Identity(study="rtx5070", trial=7, owner_pid=41, owner_start="m/b/n/9")
PLAN = LaunchPlan(
    argv=("vllm", "serve", "Qwen/Qwen2.5-7B-Instruct-AWQ", "--max-num-seqs", "128"),
    env={"VLLM_NO_USAGE_STATS": "1"},
    env_passthrough=("HF_TOKEN", "HF_HOME"),
    image="vllm/vllm-openai:v0.33.0",
    port=18000,
    mounts=(
        Mount(source=Path("/home/me/.cache/huggingface"), target="/root/.cache/huggingface"),
        Mount(source=Path("/models"), target="/models", read_only=True),
    ),
    shm_bytes=2**33,
    memory_limit_bytes=2**36,
    gpus=True,
)


def options(plan: LaunchPlan = PLAN, **environ: str) -> dict[str, object]:
    """The settings in a given environment."""
    return container_options(plan, IDENTITY, "0123456789abcdef", environ)


def test_the_command_is_an_argv() -> None:
    """Program and arguments go as lists: no shell, no entrypoint of the image's."""
    found = options()
    assert found["entrypoint"] == ["vllm"]
    assert found["command"] == list(PLAN.argv[1:])


def test_the_port_is_published_where_the_plan_says() -> None:
    """Nobody outside this host reaches the server unless asked for."""
    assert options()["ports"] == {"8000/tcp": ("127.0.0.1", 18000)}
    assert options(replace(PLAN, bind_host="0.0.0.0", container_port=9))["ports"] == {
        "9/tcp": ("0.0.0.0", 18000)
    }


def test_it_is_found_again() -> None:
    """Labels and name say whose it is."""
    found = options()
    assert isinstance(found["labels"], dict)
    assert identity_of(found["labels"]) == IDENTITY
    assert found["name"] == "autotune-rtx5070-0007-01234567"


def test_secrets_come_from_the_environment() -> None:
    """What the plan names and the environment has is passed on; what is not set is not."""
    found = options(HF_TOKEN="hf_x", OTHER="y")
    assert found["environment"] == {"VLLM_NO_USAGE_STATS": "1", "HF_TOKEN": "hf_x"}


def test_memory_is_limited_and_not_swapped() -> None:
    """The limit holds for memory and swap together, and shared memory is private."""
    found = options()
    assert found["mem_limit"] == found["memswap_limit"] == 2**36
    assert found["shm_size"] == 2**33
    assert found["ipc_mode"] == "private"
    assert found["oom_score_adj"] == 1000
    bare = options(replace(PLAN, memory_limit_bytes=None, shm_bytes=None))
    assert {"mem_limit", "memswap_limit", "shm_size"}.isdisjoint(bare)


def test_it_has_no_privileges_and_gets_none() -> None:
    """Capabilities are dropped, new privileges forbidden, a restart by itself impossible."""
    found = options()
    assert found["privileged"] is False
    assert found["cap_drop"] == ["ALL"]
    assert found["cap_add"] == ["CHOWN", "DAC_OVERRIDE", "FOWNER"]
    assert found["security_opt"] == ["no-new-privileges=true"]
    assert found["restart_policy"] == {"Name": "no"}


def test_mounts_are_binds() -> None:
    """Folders of the host, read-only where the plan says so."""
    mounts = options()["mounts"]
    assert isinstance(mounts, list)
    assert [(m["Source"], m["Target"], m["Type"], m["ReadOnly"]) for m in mounts] == [
        ("/home/me/.cache/huggingface", "/root/.cache/huggingface", "bind", False),
        ("/models", "/models", "bind", True),
    ]


def test_gpus() -> None:
    """All of them, those that CUDA_VISIBLE_DEVICES leaves, or none."""
    (every,) = options()["device_requests"]  # type: ignore[misc]
    assert every["Count"] == -1
    assert every["Capabilities"] == [["gpu"]]
    (some,) = options(CUDA_VISIBLE_DEVICES="1, GPU-ab")["device_requests"]  # type: ignore[misc]
    assert some["DeviceIDs"] == ["1", "GPU-ab"]
    assert "device_requests" not in options(replace(PLAN, gpus=False))


def test_without_an_image() -> None:
    """A plan without an image is an error that names the setting."""
    with pytest.raises(DeployerError) as raised:
        options(replace(PLAN, image=None))
    assert "engine.image" in raised.value.hint


@pytest.mark.parametrize(
    ("refusal", "dropped"),
    [
        ("error setting rlimits for ready process: error setting rlimit type 8", "ulimits"),
        ("write /proc/self/oom_score_adj: permission denied", "oom_score_adj"),
    ],
)
def test_what_an_engine_cannot_grant(refusal: str, dropped: str) -> None:
    """A refused setting that a start can do without is left out, once; any other stays."""
    found = options()
    less = conceded(found, refusal)
    assert less is not None
    assert found.keys() - less.keys() == {dropped}
    assert conceded(less, refusal) is None
    assert conceded(found, "could not select device driver") is None
