"""The memory model against this project's own records of vLLM 0.26.0 on an H100.

`docs/results` holds them. Weights were random (`--load-format dummy`), memory is that of the shape.
The hopper studies asked for KV bytes; small-card, small-card-study, small-card-awq, the three
studies of the third day and the start of 14B took a share of the card.
"""

import gzip
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from autotune.engines.vllm.compile_cache import is_cold
from autotune.engines.vllm.logs import ledger, milestones
from autotune.engines.vllm.memory import MemoryModel
from autotune.records import Configuration, TrialRecord
from autotune.seams.engine import Capabilities, EngineTarget, LaunchContext, ModelFacts
from autotune.seams.telemetry import Gpu, Hardware
from autotune.store.codec import decode
from autotune.units import BYTES_PER_GIB
from tests.support.vllm_ledgers import NO_CACHE, facts

FOLDER = Path(__file__).parents[4] / "docs" / "results" / "2026-11-h100"
STUDY = FOLDER.parent / "2026-11-26-h100" / "small-card-study"
SECOND = FOLDER.parent / "2026-11-26-h100-second"
THIRD = FOLDER.parent / "2026-11-27-h100"
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
    if path.is_relative_to(SECOND) and record.metrics.get("startup_compile_ns") is None:
        # Failed at its start; its log had 29 s of torch.compile, as those after it.
        record = replace(record, predicted={"kv_cold_bytes": 0.0})
    found = record.environment
    model = found.get("model", "")
    if record.ledger is None or record.ledger.kv_cache_gib is None or model not in record.command:
        return None  # died early, or started by an exported file
    file = next(f for day in (FOLDER, SECOND) if (f := day / model / "config.json").is_file())
    config: dict[str, Any] = json.loads(file.read_text())
    return Start(record, context_of(record, ModelFacts(name=model, config=config)))


def context_of(record: TrialRecord, model: ModelFacts) -> LaunchContext:
    """Where a record's server was started."""
    found = record.environment
    gpu = Gpu(
        index=0,
        name=found["gpu"],
        memory_bytes=int(found["gpu_memory_bytes"]),
        compute_capability=(9, 0),
        reserved_bytes=RESERVED_BYTES,
    )
    at = record.command.index(found["model"])
    return LaunchContext(
        cache_dir=NO_CACHE if is_cold(record) else None,
        target=EngineTarget(deployer="process", command=("vllm", "serve")),
        capabilities=Capabilities(engine="vllm", release=found["engine_release"], platform="cuda"),
        hardware=Hardware(gpus=(gpu,), host_memory_bytes=int(found["host_memory_bytes"])),
        model=model,
        port=8000,
        fixed_arguments=tuple(record.command[at + 1 :]),
    )


def start_of_14b() -> Start:
    """From its log, on the card of the studies beside it: no study started it."""
    log = gzip.decompress((SECOND / "starts-14b.log.gz").read_bytes()).decode()
    beside = next(s.record for s in OF_SECOND_DAY if "GPU-e120eaba" in gpu_uuid(s))
    model = "models/qwen2.5-14b"
    command = ("vllm", "serve", model, "--max-model-len", "32768")
    record = replace(
        beside,
        study="starts-14b",
        command=(*command, "--gpu-memory-utilization", "0.5"),
        configuration=Configuration(),
        environment={**beside.environment, "model": model},
        metrics=milestones(log),
        ledger=ledger(log),
    )
    shape = replace(facts("Qwen/Qwen2.5-14B-Instruct"), name=model)
    return Start(record, context_of(record, shape))


def gpu_uuid(start: Start) -> str:
    """Of the card that it ran on."""
    return start.record.environment["gpu_uuid"]


STARTS = [s for p in sorted(FOLDER.glob("*/trials/*/trial.json")) if (s := start_of(p))]
ASKED = [s for s in STARTS if "kv_cache_memory_gib" in s.configuration.values]
SHARED = [s for s in STARTS if s not in ASKED]
MEASURED = [s for s in STARTS if s.record.is_measured]
OF_STUDY = [s for p in sorted(STUDY.glob("trials/*/trial.json")) if (s := start_of(p))]
OF_SECOND_DAY = [s for p in sorted(SECOND.glob("**/trials/*/trial.json")) if (s := start_of(p))]
ASKED_LATER = [s for s in OF_SECOND_DAY if "kv_cache_memory_gib" in s.configuration.values]
AWQ = [s for s in OF_SECOND_DAY if s not in ASKED_LATER]
OF_THIRD_DAY = [s for p in sorted(THIRD.glob("*/trials/*/trial.json")) if (s := start_of(p))]
START_14B = start_of_14b()
EACH_OF_THIRD_DAY = list({(s.configuration, s.is_cold): s for s in OF_THIRD_DAY}.values())
BY_SHARE = [*SHARED, *OF_STUDY, *AWQ, *OF_THIRD_DAY, START_14B]
WITH_PEAK = [
    s
    for s in (*SHARED, *OF_STUDY, *AWQ, *OF_THIRD_DAY)
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
    assert len(ASKED_LATER) == 8  # 0.5B and 1.5B
    assert len(AWQ) == 7
    assert len(OF_THIRD_DAY) == 50  # of 53: exported files started the others
    assert sum(s.is_cold for s in OF_THIRD_DAY) == 24
    assert len(WITH_PEAK) == 79


@pytest.mark.parametrize("start", [*ASKED, *ASKED_LATER], ids=named)
def test_tokens_are_exact_where_the_bytes_are(start: Start) -> None:
    """Two shapes, two KV types, with and without graphs and offload."""
    assert start.record.ledger is not None
    predicted = start.predicted(MemoryModel())
    assert predicted["kv_cache_tokens"] == start.record.ledger.kv_cache_tokens


@pytest.mark.parametrize("start", BY_SHARE, ids=named)
def test_before_any_trial_kv_memory_is_within_a_tenth(start: Start) -> None:
    """0.135 of 79.18 GiB, 0.09 to 0.11 of them, and for 14B half of them."""
    expected = start.predicted(MemoryModel())["kv_cache_bytes"] / BYTES_PER_GIB
    assert expected == pytest.approx(start.kv_gib, rel=0.10)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(a, b, id=f"{named(a)}-{named(b)}")
        for alike in (SHARED, AWQ, EACH_OF_THIRD_DAY)
        for a in alike
        for b in alike
        if a is not b
    ],
)
def test_after_one_trial_kv_memory_is_within_three_hundredths(first: Start, second: Start) -> None:
    """Whichever of them came first, cold or warm; the first of AWQ failed at its start."""
    model = MemoryModel()
    model.learn(taught(first, model))
    expected = second.predicted(model)["kv_cache_bytes"] / BYTES_PER_GIB
    assert expected == pytest.approx(second.kv_gib, rel=0.03)


@pytest.mark.parametrize("start", BY_SHARE, ids=named)
def test_weights_are_within_eight_mebibytes(start: Start) -> None:
    """1.5B, 14B and 7B in AWQ, against "Model loading took"."""
    assert start.record.ledger is not None
    terms = MemoryModel().predict(start.configuration, start.context).terms
    assert terms.weights / BYTES_PER_GIB == pytest.approx(
        start.record.ledger.weights_gib, abs=0.008
    )


def test_of_14b_the_figures_are_those_of_its_log() -> None:
    """55,632 tokens are what 10.19 GiB hold, to the two decimals of a GiB."""
    told = START_14B.record.ledger
    assert told is not None
    assert (told.weights_gib, told.kv_cache_gib, told.kv_cache_tokens) == (27.57, 10.19, 55_632)
    terms = MemoryModel().predict(START_14B.configuration, START_14B.context).terms
    assert terms.weights / BYTES_PER_GIB == pytest.approx(told.weights_gib, rel=0.02)
    assert told.activation_gib == pytest.approx(
        (terms.activation + terms.cold) / BYTES_PER_GIB, rel=0.05
    )
    kv_bytes_per_token = 2 * 48 * 8 * 128 * 2
    assert told.kv_cache_tokens * kv_bytes_per_token / BYTES_PER_GIB == pytest.approx(
        told.kv_cache_gib, abs=0.01
    )


MEASURED_LATER = [s for s in (*OF_SECOND_DAY, *OF_THIRD_DAY) if s.record.is_measured]


@pytest.mark.parametrize("start", [*MEASURED, *MEASURED_LATER, START_14B], ids=named)
def test_what_was_measured_would_not_have_been_screened(start: Start) -> None:
    """64 GiB of offload would have been, and ran out of the host's memory."""
    assert MemoryModel().screen(start.configuration, start.context).failure is None


PEAK_OF_AWQ = [s for s in AWQ if s.record.is_measured]


def test_flashinfer_takes_its_workspace_more() -> None:
    """Half a GiB measured beside FLASH_ATTN, with the same KV memory; 0.38 are the workspace."""
    told = {s.configuration.get("attention_backend"): s for s in PEAK_OF_AWQ if "20k" in named(s)}
    other, own = told["FLASH_ATTN"], told["FLASHINFER"]
    measured, predicted = (
        own_bytes - other_bytes
        for own_bytes, other_bytes in (
            [number(s.record.metrics["gpu_memory_peak_bytes"]) for s in (own, other)],
            [s.predicted(MemoryModel())["gpu_memory_bytes"] for s in (own, other)],
        )
    )
    assert measured / BYTES_PER_GIB == pytest.approx(0.53, abs=0.01)
    assert predicted == pytest.approx(measured, abs=0.2 * BYTES_PER_GIB)


def number(value: float | None) -> float:
    """A figure that must be there."""
    assert value is not None
    return value


@pytest.mark.parametrize("start", WITH_PEAK, ids=named)
def test_the_least_that_a_start_takes_is_less_than_it_took(start: Start) -> None:
    """What the screening by headroom goes by must be a lower bound."""
    least = MemoryModel().predict(start.configuration, start.context).least_used_bytes
    peak = start.record.metrics["gpu_memory_peak_bytes"]
    assert least is not None
    assert peak is not None
    assert least < peak


@pytest.mark.parametrize("start", WITH_PEAK, ids=named)
def test_the_peak_under_load_is_within_three_hundredths(start: Start) -> None:
    """8.5 to 13.2 GiB as NVML counted them."""
    prediction = MemoryModel().predict(start.configuration, start.context)
    peak = start.record.metrics["gpu_memory_peak_bytes"]
    assert prediction.gpu_bytes == pytest.approx(peak, rel=0.03)
