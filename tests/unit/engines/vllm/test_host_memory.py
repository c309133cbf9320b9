"""Host memory: offload, containers, /dev/shm."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from autotune.engines.vllm.legality import settle
from autotune.engines.vllm.memory import MemoryModel
from autotune.records import (
    Configuration,
    Failure,
    FailureKind,
    Outcome,
    OutcomeStatus,
    Scalar,
    TrialKind,
    TrialRecord,
)
from autotune.seams.engine import LaunchContext, Screening
from autotune.units import BYTES_PER_GIB
from tests.support.vllm_contexts import QWEN_7B_AWQ, context

GIB = BYTES_PER_GIB
HOST = context(QWEN_7B_AWQ, host_gib=94)
PINNED = context(QWEN_7B_AWQ, host_gib=94, release="0.26.0")
"""The last release that pins a tensor for each of the 28 layers."""
STUDIES = Path(__file__).parents[4] / "studies"
IMAGE = "vllm/vllm-openai:v0.33.0"


def screened(offload: Scalar, start: LaunchContext, model: MemoryModel | None = None) -> Screening:
    """What the model says of so much KV offload."""
    values: dict[str, Scalar] = {"kv_offload_gib": offload, "max_model_len": 4096}
    return (model or MemoryModel()).screen(Configuration.of(values), start)


def refused(offload: Scalar, start: LaunchContext, model: MemoryModel | None = None) -> Failure:
    """The failure of an offload that must be screened."""
    failure = screened(offload, start, model).failure
    assert failure is not None
    assert failure.kind is FailureKind.WOULD_NOT_FIT
    return failure


def record(offload_gib: float, metrics: Mapping[str, float], *, shm: float = 0.0) -> TrialRecord:
    """A trial with so much offload and such peaks."""
    predicted = {"offload_bytes": offload_gib * GIB, "shm_bytes": shm * GIB}
    return TrialRecord(
        study="s",
        number=0,
        kind=TrialKind.SEARCH,
        configuration=Configuration(),
        outcome=Outcome(status=OutcomeStatus.MEASURED),
        metrics={tag: value * GIB for tag, value in metrics.items()},
        predicted=predicted,
    )


@pytest.mark.parametrize(
    ("release", "offload", "host_gib"),
    [
        ("0.26.0", 32, 56.0),  # measured on an H100: 56.0 GiB
        ("0.26.0", 64, 112.0),
        ("0.26.0", 28, 28.0),
        ("0.14.1", 48, 56.0),
        ("0.27.0", 32, 32.0),
        ("0.33.0", 64, 64.0),
    ],
)
def test_an_offload_takes_what_its_release_allocates(
    release: str, offload: int, host_gib: float
) -> None:
    """Before 0.27.0 each layer's tensor takes the next power of two (vLLM #50094, #53042)."""
    start = context(QWEN_7B_AWQ, host_gib=512, release=release)
    assert screened(offload, start).host_margin_gib == pytest.approx(512 - 4 - host_gib, abs=0.01)


def test_before_027_48_gib_fit_94_and_64_do_not() -> None:
    """28 x 2 GiB and 28 x 4 GiB."""
    assert screened(48, PINNED).failure is None
    failure = refused(64, PINNED)
    assert failure.needed_gib == pytest.approx(112 + 4)
    assert failure.available_gib == pytest.approx(94)
    assert failure.repair == {"kv_offload_gib": 56}
    assert "64 GiB of offload count 1.75 times, as vLLM 0.26.0 allocates it" in failure.message
    assert screened(56, PINNED).failure is None


def test_from_027_on_64_gib_fit_94() -> None:
    """Configurations E and MAX of the matrix on the first user's machine: 64 + 4 of 85 GiB."""
    first_user = context(QWEN_7B_AWQ, host_gib=94, image=IMAGE, memory_limit_gib=85)
    screening = screened(64, first_user)
    assert screening.failure is None
    assert screening.host_margin_gib == pytest.approx(85 - 4 - 64, abs=0.01)


@pytest.mark.parametrize("cell", ["E", "MAX"])
def test_the_matrix_s_large_offload_is_not_screened_on_the_first_user_s_machine(cell: str) -> None:
    """As the matrix's file has it, settled against the image's release."""
    matrix = yaml.safe_load((STUDIES / "matrix.yaml").read_text(encoding="utf-8"))
    asked = Configuration.of(matrix["configurations"][cell]["configuration"])
    start = context(QWEN_7B_AWQ, host_gib=94, image=IMAGE, memory_limit_gib=85)
    settled = settle(asked, start.capabilities, start.hardware).configuration
    assert settled.get("kv_offload_gib") == 64
    assert MemoryModel().screen(settled, start).failure is None


def test_a_model_of_unequal_layers_counts_as_measured() -> None:
    """1.92, as on a hybrid model (vLLM #53042)."""
    hybrid = {
        **QWEN_7B_AWQ,
        "use_sliding_window": True,
        "sliding_window": 4096,
        "layer_types": ["sliding_attention", "full_attention"] * 14,
    }
    start = context(hybrid, host_gib=512, release="0.26.0")
    assert screened(32, start).host_margin_gib == pytest.approx(512 - 4 - 1.92 * 32, abs=0.01)


def test_the_host_margin_is_signed() -> None:
    """What is left of 94 GiB."""
    assert screened(0, HOST).host_margin_gib == pytest.approx(90.0)
    assert screened(32, HOST).host_margin_gib == pytest.approx(94 - 4 - 32, abs=0.01)


@pytest.mark.parametrize("image", [IMAGE, None])
def test_the_memory_limit_counts_for_containers_and_processes(image: str | None) -> None:
    """A container is ended by the kernel, a process by the watchdog of the headroom."""
    limited = context(QWEN_7B_AWQ, image=image, memory_limit_gib=32)
    assert refused(29, limited).available_gib == pytest.approx(32)
    assert screened(28, limited).failure is None


def test_shared_memory_limits_the_offload_of_a_process() -> None:
    """From 0.27.0 the offload lies in /dev/shm, half of the host's memory by default."""
    bare = context(QWEN_7B_AWQ, shm_gib=47)
    failure = refused(48, replace(bare, hardware=replace(bare.hardware, host_memory_bytes=0)))
    assert "/dev/shm" in failure.message
    assert failure.available_gib == pytest.approx(47)
    small = context(QWEN_7B_AWQ, shm_gib=8)
    assert refused(16, small).needed_gib == pytest.approx(16)


def test_a_container_s_shared_memory_is_sized_for_it() -> None:
    """The host's /dev/shm is not the container's."""
    contained = context(QWEN_7B_AWQ, image=IMAGE, shm_gib=8)
    assert screened(16, contained).failure is None


def test_before_027_the_offload_is_not_in_shared_memory() -> None:
    """It is pinned memory of the process."""
    old = context(QWEN_7B_AWQ, release="0.26.0", shm_gib=8)
    screening = screened(16, old)
    assert screening.failure is None
    assert screening.predicted["shm_bytes"] == 0
    assert screened(16, HOST).predicted["shm_bytes"] == 16 * GIB


def test_a_trial_with_offload_replaces_the_factor() -> None:
    """By what /dev/shm held at most."""
    model = MemoryModel()
    model.learn(record(10, {"shm_peak_bytes": 10.5}, shm=10))
    assert screened(60, HOST, model).failure is None
    assert screened(60, HOST, model).host_margin_gib == pytest.approx(94 - 4 - 63, abs=0.01)


def test_the_largest_factor_seen_counts() -> None:
    """Two trials, 1.05 and 1.5."""
    model = MemoryModel()
    model.learn(record(10, {"shm_peak_bytes": 10.5}, shm=10))
    model.learn(record(10, {"shm_peak_bytes": 15.0}, shm=10))
    assert screened(60, HOST, model).failure is None
    assert screened(62, HOST, model).failure is not None


def test_pinned_memory_is_held_against_trials_without_offload() -> None:
    """The engine took 5 GiB without, and 15.5 GiB with 10 GiB of offload."""
    model = MemoryModel()
    model.learn(record(10, {"engine_memory_peak_bytes": 15.5}))
    assert screened(60, PINNED, model).failure is not None
    model.learn(record(0, {"engine_memory_peak_bytes": 5.0}))
    model.learn(record(10, {"engine_memory_peak_bytes": 15.5}))
    assert screened(60, PINNED, model).failure is None


def test_memory_that_was_not_touched_teaches_nothing() -> None:
    """A peak far below the offload means that the peak missed it."""
    model = MemoryModel()
    model.learn(record(10, {"shm_peak_bytes": 0.1}, shm=10))
    assert screened(32, HOST, model).host_margin_gib == pytest.approx(94 - 4 - 32, abs=0.01)


def test_weights_in_host_memory_count_too() -> None:
    """--cpu-offload-gb costs 1.9 times its size (vLLM #56410)."""
    values: dict[str, Scalar] = {"cpu_offload_gib": 4, "max_model_len": 4096}
    with_weights = MemoryModel().screen(Configuration.of(values), HOST)
    assert with_weights.host_margin_gib == pytest.approx(94 - 4 - 1.92 * 4, abs=0.01)
    plain = MemoryModel().screen(Configuration.of({"max_model_len": 4096}), HOST)
    more = with_weights.predicted["kv_cache_bytes"] - plain.predicted["kv_cache_bytes"]
    assert more == pytest.approx(4 * GIB, rel=0.02)
