"""The start of a server: argv, environment, and what a container gets."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.engines.vllm.capabilities import declared
from autotune.engines.vllm.launch import launch_plan
from autotune.errors import EngineError
from autotune.records import Configuration, Scalar
from autotune.seams.deployment import LaunchPlan, Mount
from autotune.seams.engine import EngineTarget, LaunchContext, ModelFacts
from autotune.seams.telemetry import Gpu, Hardware
from autotune.units import BYTES_PER_GIB
from tests.support.vllm_contexts import context

GPU = Gpu(index=0, name="gpu", memory_bytes=12 * BYTES_PER_GIB, compute_capability=(12, 0))


def planned(
    values: Mapping[str, Scalar] | None = None,
    release: str = "0.33.0",
    *,
    image: str | None = None,
    env: Mapping[str, str] | None = None,
    mounts: tuple[Mount, ...] = (),
    model: ModelFacts | None = None,
    bind_host: str = "127.0.0.1",
    fixed_arguments: tuple[str, ...] = (),
    cache_dir: Path | None = None,
) -> LaunchPlan:
    """A start of a release with some settings."""
    context = LaunchContext(
        target=EngineTarget(
            deployer="process" if image is None else "docker",
            command=("vllm", "serve"), image=image, env=env or {}, mounts=mounts,
        ),
        capabilities=declared(release, platform="cpu" if "cpu" in release else "cuda"),
        hardware=Hardware(gpus=(GPU,)),
        model=model or ModelFacts(name="org/model"),
        port=8123,
        bind_host=bind_host,
        served_name="tuned",
        fixed_arguments=fixed_arguments,
        cache_dir=cache_dir,
        memory_limit_bytes=90 * BYTES_PER_GIB,
        startup_timeout_s=60.0,
    )  # fmt: skip
    return launch_plan(Configuration.of(values or {}), context)


def test_a_start_without_settings_names_model_address_and_name() -> None:
    """Nothing but what every start has."""
    plan = planned()
    assert plan.argv == ("vllm", "serve", "org/model", "--host", "127.0.0.1", "--port", "8123",
                         "--served-model-name", "tuned")  # fmt: skip
    assert (plan.bind_host, plan.port, plan.health_path) == ("127.0.0.1", 8123, "/health")
    assert plan.startup_timeout_s == 60.0


SAID: list[tuple[str, dict[str, Scalar], list[str]]] = [
    ("0.33.0", {"attention_backend": "TRITON_ATTN"}, ["--attention-backend", "TRITON_ATTN"]),
    ("0.33.0", {"async_scheduling": False}, ["--no-async-scheduling"]),
    ("0.33.0", {"async_scheduling": True}, []),
    ("0.13.0", {"async_scheduling": True}, ["--async-scheduling"]),
    ("0.33.0", {"enable_prefix_caching": False}, ["--no-enable-prefix-caching"]),
    ("0.33.0", {"kv_cache_dtype": "auto"}, []),
    ("0.33.0", {"scheduler_steps": 1, "kv_offload_gib": 0, "v1_engine": True}, []),
    ("0.10.0", {"scheduler_steps": 8}, ["--num-scheduler-steps", "8"]),
    ("0.14.1", {"kv_offload_gib": 32.0},
     ["--kv-offloading-size", "32", "--kv-offloading-backend", "native",
      "--disable-hybrid-kv-cache-manager"]),
    ("0.33.0", {"kv_offload_gib": 7.5},
     ["--kv-offloading-size", "7.5", "--kv-offloading-backend", "native"]),
    ("0.33.0", {"kv_cache_memory_gib": 1.5}, ["--kv-cache-memory-bytes", "1610612736"]),
    ("0.33.0", {"gpu_memory_utilization": 0.92}, ["--gpu-memory-utilization", "0.92"]),
    ("0.33.0", {"max_num_seqs": 64, "max_num_batched_tokens": 4096, "max_model_len": 8192},
     ["--max-model-len", "8192", "--max-num-batched-tokens", "4096", "--max-num-seqs", "64"]),
    ("0.33.0", {"enforce_eager": True}, ["--enforce-eager"]),
    ("0.33.0", {"optimization_level": 0}, ["--optimization-level", "0"]),
]  # fmt: skip


@pytest.mark.parametrize(("release", "values", "arguments"), SAID)
def test_settings_are_said_as_the_release_says_them(
    release: str, values: dict[str, Scalar], arguments: list[str]
) -> None:
    """Defaults send nothing, flags carry their values, sizes their unit."""
    assert list(planned(values, release).argv[9:]) == arguments


def test_settings_inside_json_share_one_option() -> None:
    """Given twice, the second --compilation-config would replace the first."""
    argv = planned({"cudagraph_mode": "FULL_DECODE_ONLY"}).argv
    assert argv[-2] == "--compilation-config"
    assert json.loads(argv[-1]) == {"cudagraph_mode": "FULL_DECODE_ONLY"}


def test_old_releases_are_told_the_kernel_by_a_variable() -> None:
    """To 0.12.0; TRITON_ATTN had a suffix to 0.10.2."""
    plan = planned({"attention_backend": "TRITON_ATTN"}, "0.10.2")
    assert plan.env["VLLM_ATTENTION_BACKEND"] == "TRITON_ATTN_VLLM_V1"
    assert "--attention-backend" not in plan.argv
    newer = planned({"attention_backend": "TRITON_ATTN_VLLM_V1"}, "0.33.0")
    assert newer.argv[-2:] == ("--attention-backend", "TRITON_ATTN")
    assert "VLLM_ATTENTION_BACKEND" not in newer.env


def test_a_boolean_variable_is_a_digit() -> None:
    """The engine reads it with int()."""
    assert planned({"v1_engine": False}, "0.10.2").env["VLLM_USE_V1"] == "0"


def test_the_cpu_s_kv_cache_is_a_whole_number_in_a_variable() -> None:
    """`VLLM_CPU_KVCACHE_SPACE=2.0` would not start."""
    plan = planned({"cpu_kv_cache_gib": 2.0}, "0.32.0+cpu")
    assert plan.env["VLLM_CPU_KVCACHE_SPACE"] == "2"
    assert not plan.gpus


@pytest.mark.parametrize(
    ("values", "release"), [({"scheduler_steps": 8}, "0.33.0"), ({"no_such": 1}, "0.33.0")]
)
def test_what_the_release_cannot_be_told_is_an_error(
    values: dict[str, Scalar], release: str
) -> None:
    """Leaving it out in silence would measure something else."""
    with pytest.raises(EngineError, match=next(iter(values))):
        planned(values, release)


def test_the_search_s_settings_come_after_the_study_s_arguments() -> None:
    """The last of two options counts."""
    argv = planned({"max_num_seqs": 64}, fixed_arguments=("--max-num-seqs", "1")).argv
    assert argv[-4:] == ("--max-num-seqs", "1", "--max-num-seqs", "64")


def test_a_revision_is_passed_and_foreign_code_is_not_trusted() -> None:
    """Trust is the user's to give, among the study's arguments."""
    plan = planned(model=ModelFacts(name="org/model", revision="abc"))
    assert "--revision" in plan.argv
    assert plan.argv[plan.argv.index("--revision") + 1] == "abc"
    assert "--trust-remote-code" not in plan.argv


def test_every_start_is_silent_towards_others_and_open_to_us() -> None:
    """No usage statistics; the read-back endpoint on loopback only, for it asks for no key."""
    env = planned().env
    assert env["VLLM_NO_USAGE_STATS"] == env["DO_NOT_TRACK"] == "1"
    assert env["VLLM_SERVER_DEV_MODE"] == "1"
    assert "VLLM_SERVER_DEV_MODE" not in planned(bind_host="0.0.0.0").env


def test_no_secret_is_in_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token goes by name."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    plan = planned(image="vllm:x")
    assert "HF_TOKEN" in plan.env_passthrough
    assert "VLLM_API_KEY" not in plan.env_passthrough
    assert "hf_secret" not in repr(plan)


@pytest.mark.parametrize("release", ["0.10.2", "0.13.0", "0.20.2", "0.33.0"])
def test_the_log_stays_quiet(release: str) -> None:
    """At DEBUG some releases write a line per step, which slows what is measured."""
    assert "VLLM_LOGGING_LEVEL" not in planned(release=release).env


def test_the_study_s_variables_win_over_ours_and_lose_to_the_search_s() -> None:
    """A study may silence the log; it may not fake a setting."""
    env = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_ATTENTION_BACKEND": "XFORMERS"}
    plan = planned({"attention_backend": "FLASHINFER"}, "0.12.0", env=env)
    assert plan.env["VLLM_LOGGING_LEVEL"] == "ERROR"
    assert plan.env["VLLM_ATTENTION_BACKEND"] == "FLASHINFER"


def test_compile_caches_outlive_the_trial(tmp_path: Path) -> None:
    """In the study's folder, for processes and for containers."""
    plan = planned(cache_dir=tmp_path)
    assert plan.env["VLLM_CACHE_ROOT"] == str(tmp_path / "vllm")
    assert plan.env["TRITON_CACHE_DIR"] == str(tmp_path / "triton")
    contained = planned(cache_dir=tmp_path, image="vllm:x")
    (mount,) = [m for m in contained.mounts if m.source == tmp_path]
    assert contained.env["VLLM_CACHE_ROOT"].startswith(mount.target)
    assert not mount.read_only


def test_a_container_listens_inside_and_is_published_outside() -> None:
    """Every address inside, the chosen one on the host."""
    plan = planned(image="vllm/vllm-openai:v0.33.0")
    assert plan.image == "vllm/vllm-openai:v0.33.0"
    assert plan.argv[plan.argv.index("--host") + 1] == "0.0.0.0"
    assert plan.argv[plan.argv.index("--port") + 1] == str(plan.container_port)
    assert (plan.bind_host, plan.port) == ("127.0.0.1", 8123)
    assert plan.memory_limit_bytes == 90 * BYTES_PER_GIB
    assert plan.gpus


def test_a_process_gets_nothing_that_only_containers_have() -> None:
    """No mounts, no limit, no /dev/shm of its own."""
    plan = planned({"kv_offload_gib": 8}, mounts=(Mount(source=Path("/a"), target="/a"),))
    assert (plan.image, plan.mounts, plan.shm_bytes, plan.memory_limit_bytes) == (
        None, (), None, None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("release", "offload_gib", "shm_gib"),
    [("0.33.0", 0, 1), ("0.26.0", 32, 1), ("0.27.0", 32, 65), ("0.33.0", 7.5, 16)],
)
def test_dev_shm_holds_the_offload_from_0_27_0(
    release: str, offload_gib: float, shm_gib: float
) -> None:
    """Twice the size, which is a bound; 1 GiB for everything else."""
    plan = planned({"kv_offload_gib": offload_gib}, release, image="vllm:x")
    assert plan.shm_bytes == shm_gib * BYTES_PER_GIB


def test_the_hub_s_cache_is_shared_with_the_container(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Weights are downloaded once for all trials, and once for all programs of this machine."""
    hub = tmp_path / "hub"
    hub.mkdir()
    monkeypatch.setenv("HF_HOME", str(hub))
    plan = planned(image="vllm:x")
    (mount,) = plan.mounts
    assert mount.source == hub
    assert plan.env["HF_HOME"] == mount.target


def test_without_a_hub_s_cache_weights_go_to_the_study_s(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Docker refuses to mount a folder that is not there."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "nowhere"))
    plan = planned(image="vllm:x", cache_dir=tmp_path)
    (mount,) = plan.mounts
    assert mount.source == tmp_path
    assert plan.env["HF_HOME"].startswith(mount.target)
    assert planned(image="vllm:x").mounts == ()


def test_a_model_that_is_a_folder_is_mounted_where_it_lies(tmp_path: Path) -> None:
    """Read-only, unless the study mounts it already."""
    model = ModelFacts(name=str(tmp_path))
    plan = planned(image="vllm:x", model=model)
    assert plan.argv[2] == str(tmp_path)
    assert Mount(source=tmp_path, target=str(tmp_path), read_only=True) in plan.mounts
    own = Mount(source=Path("/elsewhere"), target=str(tmp_path.parent))
    assert [m for m in planned(image="vllm:x", model=model, mounts=(own,)).mounts
            if m.target.startswith(str(tmp_path.parent))] == [own]  # fmt: skip


def test_a_servers_key_is_passed_on_by_name_only() -> None:
    """The server reads VLLM_API_KEY itself; its value is in no argument and no record."""
    start = context()
    target = replace(start.target, api_key_env="VLLM_API_KEY")
    plan = launch_plan(Configuration(), replace(start, target=target))
    assert "VLLM_API_KEY" in plan.env_passthrough
    assert not any("api-key" in argument for argument in plan.argv)
    assert "VLLM_API_KEY" not in plan.env
