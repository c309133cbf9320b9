"""A start that found no room because others took GPU memory while it was profiled, by its log.

0.5B in AWQ on an H100 asked for a tenth of 79.18 GiB, beside other servers that were starting.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from autotune.engines.vllm.failures import explain
from autotune.engines.vllm.memory import MemoryModel
from autotune.records import Configuration, Failure, FailureKind
from autotune.seams.deployment import ExitEvidence
from autotune.seams.engine import Capabilities, EngineTarget, Evidence, LaunchContext
from autotune.seams.telemetry import Gpu, Hardware
from autotune.units import BYTES_PER_GIB
from tests.support.vllm_ledgers import Start, facts, starts
from tests.support.vllm_texts import DATA

EXCERPTS = yaml.safe_load((DATA / "vllm_failures" / "excerpts.yaml").read_text(encoding="utf-8"))
(LOG,) = (case["log"] for case in EXCERPTS if "by what neighbours took" in case["name"])
H100 = Gpu(
    index=0,
    name="NVIDIA H100 80GB HBM3",
    memory_bytes=85_520_809_984,
    compute_capability=(9, 0),
    reserved_bytes=503_316_480,
)


def context(cache_dir: Path | None = None) -> LaunchContext:
    """As it was started."""
    return LaunchContext(
        cache_dir=cache_dir,
        target=EngineTarget(deployer="process", command=("vllm", "serve")),
        capabilities=Capabilities(engine="vllm", release="0.26.0", platform="cuda"),
        hardware=Hardware(gpus=(H100,), host_memory_bytes=128 * BYTES_PER_GIB),
        model=facts("Qwen/Qwen2.5-0.5B-Instruct-AWQ"),
        port=18200,
        fixed_arguments=("--max-model-len", "32768", "--gpu-memory-utilization", "0.1"),
    )


def named(log: str, asked: Configuration, at: LaunchContext) -> Failure:
    """What a start that ended with a log is called."""
    predicted = MemoryModel().screen(asked, at).predicted
    ended = ExitEvidence(exit_code=1)
    failure = explain(Evidence(phase="starting", exit=ended, log=log, predicted=predicted))
    assert failure is not None
    return failure


def test_others_are_named_with_what_they_took() -> None:
    """7.92 + 2.89 - 0.44 GiB were counted, of which the engine's own are two at the very most."""
    failure = named(LOG, Configuration(), context())
    assert failure.kind is FailureKind.GPU_MEMORY_TAKEN
    assert "10.37 GiB beside 0.44 of weights were counted" in failure.message
    assert failure.needed_gib == pytest.approx(7.918, abs=0.001)
    assert failure.margin_gib == pytest.approx(-9.0, abs=0.7)
    assert any("No available memory for the cache blocks" in line for line in failure.evidence)


def test_whether_it_compiled_does_not_matter(tmp_path: Path) -> None:
    """The most that it takes is that of a cold start in any case."""
    cold, unknown = (named(LOG, Configuration(), context(folder)) for folder in (tmp_path, None))
    assert cold.margin_gib == unknown.margin_gib


def test_what_the_engine_may_have_taken_itself_is_not_laid_on_others() -> None:
    """0.3 GiB too few are within what such a start may take; a model that sees takes more still."""
    little = LOG.replace("'gpu_memory_utilization': 0.1", "'gpu_memory_utilization': 0.02")
    at = replace(context(), fixed_arguments=("--gpu-memory-utilization", "0.02"))
    failure = named(little.replace("-2.89", "-0.30"), Configuration(), at)
    assert failure.kind is FailureKind.NO_ROOM_FOR_KV
    assert failure.margin_gib == -0.30
    seeing = replace(at.model, config={**at.model.config, "vision_config": {"depth": 32}})
    failure = named(LOG, Configuration(), replace(context(), model=seeing))
    assert failure.kind is FailureKind.NO_ROOM_FOR_KV
    assert failure.margin_gib == -2.89


FAILED = [s for s in starts() if s.failure is not None]


@pytest.mark.parametrize("start", FAILED, ids=lambda start: start.name)
def test_of_published_starts_that_had_no_room_none_is_laid_on_others(start: Start) -> None:
    """They asked for more than their card had; their weights, or those predicted, and KV memory."""
    weights_gib = start.weights_gib
    if weights_gib is None:
        predicted = MemoryModel().predict(start.configuration, start.context)
        weights_gib = predicted.terms.weights / BYTES_PER_GIB
    log = (
        f"INFO 01-01 00:00:01 [r.py:1] Model loading took {weights_gib:.2f} GiB and 1.5 seconds\n"
        f"INFO 01-01 00:00:02 [g.py:1] Available KV cache memory: {start.kv_gib} GiB\n"
        "ValueError: No available memory for the cache blocks.\n"
    )
    failure = named(log, start.configuration, start.context)
    assert failure.kind is FailureKind.NO_ROOM_FOR_KV
    assert failure.margin_gib == start.kv_gib
