"""The memory model against this project's own records of vLLM 0.26.0 on an H100.

`docs/results` holds them. Weights were random (`--load-format dummy`), memory is that of the shape.
The two hopper studies asked for KV bytes; small-card and small-card-study took a share of the card.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from autotune.engines.vllm.compile_cache import is_cold
from autotune.engines.vllm.memory import MemoryModel
from autotune.records import Configuration, TrialRecord
from autotune.seams.engine import Capabilities, EngineTarget, LaunchContext, ModelFacts
from autotune.seams.telemetry import Gpu, Hardware
from autotune.store.codec import decode
from autotune.units import BYTES_PER_GIB
from tests.support.vllm_ledgers import NO_CACHE

FOLDER = Path(__file__).parents[4] / "docs" / "results" / "2026-11-h100"
STUDY = FOLDER.parent / "2026-11-26-h100" / "small-card-study"
RESERVED_BYTES = 503_316_480
"""NVML's second memory struct on such a card with the same driver, 580.159.04."""


@dataclass(frozen=True)
class Start:
    """A start that reached its KV cache."""

    record: TrialRecord
    context: LaunchContext

    @property
    def kv_gib(self) -> float:
        """As the log said."""
        assert self.record.ledger is not None
        assert self.record.ledger.kv_cache_gib is not None
        return self.record.ledger.kv_cache_gib

    @property
    def is_cold(self) -> bool:
        """Whether it compiled."""
        return is_cold(self.record)

    def predicted(self, model: MemoryModel) -> dict[str, float]:
        """What a model expects of it."""
        return dict(model.screen(self.configuration, self.context).predicted)

    @property
    def configuration(self) -> Configuration:
        """As asked."""
        return self.record.configuration


def start_of(path: Path) -> Start | None:
    """A record's start; None where no KV cache was made."""
    record = decode(path.read_bytes(), where=str(path))
    found = record.environment
    model = found.get("model", "")
    if record.ledger is None or record.ledger.kv_cache_gib is None or model not in record.command:
        return None  # died early, or started by an exported file
    config: dict[str, Any] = json.loads((FOLDER / model / "config.json").read_text())
    gpu = Gpu(
        index=0,
        name=found["gpu"],
        memory_bytes=int(found["gpu_memory_bytes"]),
        compute_capability=(9, 0),
        reserved_bytes=RESERVED_BYTES,
    )
    at = record.command.index(model)
    context = LaunchContext(
        cache_dir=NO_CACHE if is_cold(record) else None,
        target=EngineTarget(deployer="process", command=("vllm", "serve")),
        capabilities=Capabilities(engine="vllm", release=found["engine_release"], platform="cuda"),
        hardware=Hardware(gpus=(gpu,), host_memory_bytes=int(found["host_memory_bytes"])),
        model=ModelFacts(name=model, config=config),
        port=8000,
        fixed_arguments=tuple(record.command[at + 1 :]),
    )
    return Start(record, context)


STARTS = [s for p in sorted(FOLDER.glob("*/trials/*/trial.json")) if (s := start_of(p))]
ASKED = [s for s in STARTS if "kv_cache_memory_gib" in s.configuration.values]
SHARED = [s for s in STARTS if s not in ASKED]
MEASURED = [s for s in STARTS if s.record.is_measured]
OF_STUDY = [s for p in sorted(STUDY.glob("trials/*/trial.json")) if (s := start_of(p))]
WITH_PEAK = [
    s
    for s in (*SHARED, *OF_STUDY)
    if s.record.metrics.get("gpu_memory_peak_bytes") and s.record.is_measured
]


def named(start: Start) -> str:
    """For a test's id."""
    return f"{start.record.study}-{start.record.number}"


def taught(start: Start, model: MemoryModel) -> TrialRecord:
    """A start's ledger beside what a model expects of it now."""
    return replace(start.record, predicted=start.predicted(model))


def test_there_are_records_of_both_kinds() -> None:
    """Fourteen that asked for KV bytes, five that took a share; bf16 and fp8 KV."""
    assert len(ASKED) == 14
    assert len(SHARED) == 5
    assert len(MEASURED) == 17
    assert len(OF_STUDY) == 22  # of 25: one died early, two were started by exported files
    assert len(WITH_PEAK) == 23


@pytest.mark.parametrize("start", ASKED, ids=named)
def test_tokens_are_exact_where_the_bytes_are(start: Start) -> None:
    """Two shapes, two KV types, with and without graphs and offload."""
    assert start.record.ledger is not None
    predicted = start.predicted(MemoryModel())
    assert predicted["kv_cache_tokens"] == start.record.ledger.kv_cache_tokens


@pytest.mark.parametrize("start", [*SHARED, *OF_STUDY], ids=named)
def test_before_any_trial_kv_memory_is_within_a_tenth(start: Start) -> None:
    """0.135 of 79.18 GiB, and 0.09 to 0.11 of them."""
    expected = start.predicted(MemoryModel())["kv_cache_bytes"] / BYTES_PER_GIB
    assert expected == pytest.approx(start.kv_gib, rel=0.10)


@pytest.mark.parametrize(
    ("first", "second"),
    [pytest.param(a, b, id=f"{named(a)}-{named(b)}") for a in SHARED for b in SHARED if a is not b],
)
def test_after_one_trial_kv_memory_is_within_three_hundredths(first: Start, second: Start) -> None:
    """Whichever of them came first, cold or warm."""
    model = MemoryModel()
    model.learn(taught(first, model))
    expected = second.predicted(model)["kv_cache_bytes"] / BYTES_PER_GIB
    assert expected == pytest.approx(second.kv_gib, rel=0.03)


@pytest.mark.parametrize("start", MEASURED, ids=named)
def test_what_was_measured_would_not_have_been_screened(start: Start) -> None:
    """64 GiB of offload would have been, and ran out of the host's memory."""
    assert MemoryModel().screen(start.configuration, start.context).failure is None


@pytest.mark.parametrize("start", WITH_PEAK, ids=named)
def test_the_least_that_a_start_takes_is_less_than_it_took(start: Start) -> None:
    """What the screening by headroom goes by must be a lower bound."""
    least = MemoryModel().predict(start.configuration, start.context).least_used_bytes
    peak = start.record.metrics["gpu_memory_peak_bytes"]
    assert least is not None
    assert peak is not None
    assert least < peak


@pytest.mark.parametrize("start", WITH_PEAK, ids=named)
def test_the_peak_under_load_is_within_a_twentieth(start: Start) -> None:
    """9.5 to 13.2 GiB as NVML counted them."""
    prediction = MemoryModel().predict(start.configuration, start.context)
    peak = start.record.metrics["gpu_memory_peak_bytes"]
    assert prediction.gpu_bytes == pytest.approx(peak, rel=0.05)
