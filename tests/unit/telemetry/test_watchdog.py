"""Memory that must not be touched."""

from collections.abc import Mapping

import pytest

from autotune.seams.telemetry import Gpu, Hardware, Sample
from autotune.telemetry.watchdog import Bounds, breach

GIB = 1024**3
HARDWARE = Hardware(
    gpus=(Gpu(index=0, name="RTX 5070", memory_bytes=12 * GIB, compute_capability=(12, 0)),),
    host_memory_bytes=94 * GIB,
)
BEFORE = Sample(at_ns=0, values={"host_swap_used_bytes": 2.0 * GIB})
BOUNDS = Bounds.of(HARDWARE, gpu_headroom_bytes=1 * GIB, host_reserve_bytes=9 * GIB, before=BEFORE)
FINE: Mapping[str, float | None] = {
    "gpu_memory_used_bytes": 11.0 * GIB,
    "host_memory_used_bytes": 85.0 * GIB,
    "host_memory_total_bytes": 94.0 * GIB,
    "host_swap_used_bytes": 3.0 * GIB,
    "host_memory_pressure_ratio": 0.2,
}


def broken(**changes: float | None) -> str | None:
    """What a sample breaks that differs from a good one."""
    return breach(Sample(at_ns=1, values={**FINE, **changes}), BOUNDS)


def test_at_the_bound_is_within_it() -> None:
    """A machine that is used up to its bounds breaks none."""
    assert broken() is None


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("gpu_memory_used_bytes", 11.01 * GIB, "GPU memory in use is 11.01 GiB"),
        ("host_memory_used_bytes", 85.5 * GIB, "available is 8.50 GiB, under the reserve of 9.00"),
        ("host_swap_used_bytes", 3.5 * GIB, "swap in use is 3.50 GiB"),
        ("host_memory_pressure_ratio", 0.21, "waited for memory 21% of the last 10 s"),
    ],
)
def test_each_bound_is_told_with_its_figures(key: str, value: float, words: str) -> None:
    """Each reading beyond its bound is a breach of its own; missing, it is none."""
    found = broken(**{key: value})
    assert found is not None
    assert words in found
    assert broken(**{key: None}) is None


def test_the_gpu_comes_first() -> None:
    """Of several breaches the most particular one is told."""
    found = broken(gpu_memory_used_bytes=12.0 * GIB, host_memory_used_bytes=94.0 * GIB)
    assert found is not None
    assert found.startswith("GPU")


def test_an_empty_sample_breaks_nothing() -> None:
    """What is not measured is not held against anybody."""
    assert breach(Sample(at_ns=0), BOUNDS) is None


def test_a_machine_without_a_gpu() -> None:
    """Without a GPU, and with nothing known of swap before, those bounds do not exist."""
    bounds = Bounds.of(
        Hardware(host_memory_bytes=8 * GIB), gpu_headroom_bytes=1, host_reserve_bytes=GIB
    )
    assert bounds.gpu_used_max_bytes is None
    assert bounds.swap_used_max_bytes is None
    assert breach(Sample(at_ns=0, values={"gpu_memory_used_bytes": 1e15}), bounds) is None


def test_bounds_can_be_left_out() -> None:
    """A bound of None holds nothing."""
    none = Bounds(pressure_max_ratio=None)
    everything = Sample(at_ns=0, values=dict.fromkeys(FINE, 1e15))
    assert breach(everything, none) is None
