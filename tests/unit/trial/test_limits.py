"""Limits and memory bounds, with expected numbers worked out by hand."""

import pytest

from autotune.records import FailureKind
from autotune.seams.telemetry import Gpu, Hardware, Sample
from autotune.spec.study import HeadroomModel, Limit
from autotune.trial.limits import check_limits, memory_bounds, memory_breach, missed

GIB = 1024**3
RTX_5070 = Hardware(
    gpus=(Gpu(index=0, name="RTX 5070", memory_bytes=12 * GIB, compute_capability=(12, 0)),),
    host_memory_bytes=94 * GIB,
)
BOUNDS = memory_bounds(HeadroomModel(gpu_gib=1, host_gib=9), RTX_5070, before=None, with_gpu=True)


def test_headroom_of_the_first_user_leaves_11_gib_of_gpu_and_85_of_ram() -> None:
    """12 GiB less 1 may be used, and 9 of 94 GiB must stay available."""
    assert BOUNDS.gpu_used_max_bytes == 11 * GIB
    assert BOUNDS.host_available_min_bytes == 9 * GIB


def test_a_trial_that_others_are_compared_with_only_protects_the_host() -> None:
    """The baseline is measured whole even where it takes too much of the GPU."""
    bounds = memory_bounds(HeadroomModel(), RTX_5070, before=None, with_gpu=False)

    assert bounds.gpu_used_max_bytes is None
    assert bounds.host_available_min_bytes == 9 * GIB


def test_a_machine_without_a_gpu_has_no_gpu_bound() -> None:
    """What is not there cannot be over its bound."""
    bounds = memory_bounds(
        HeadroomModel(), Hardware(host_memory_bytes=16 * GIB), before=None, with_gpu=True
    )
    sample = Sample(at_ns=0, values={"gpu_memory_used_bytes": 1e15})

    assert bounds.gpu_used_max_bytes is None
    assert memory_breach(sample, bounds, phase="starting") is None


@pytest.mark.parametrize(
    ("key", "used_gib", "margin_gib"),
    [("gpu_memory_used_bytes", 11.5, -0.5), ("host_memory_used_bytes", 87, -2)],
)
def test_a_breach_says_by_how_much(key: str, used_gib: float, margin_gib: float) -> None:
    """The margin is what was allowed less what was used."""
    values = {key: used_gib * GIB, "host_memory_total_bytes": 94.0 * GIB}

    failure = memory_breach(Sample(at_ns=0, values=values), BOUNDS, phase="p")

    assert failure is not None
    assert failure.kind is FailureKind.MEMORY_LIMIT
    assert failure.margin_gib == pytest.approx(margin_gib)


def test_memory_exactly_at_its_bound_is_kept() -> None:
    """The bound itself is allowed."""
    sample = Sample(at_ns=0, values={"gpu_memory_used_bytes": 11.0 * GIB})

    assert memory_breach(sample, BOUNDS, phase="p") is None


def test_a_reading_that_is_missing_breaks_nothing() -> None:
    """None is "not measured", not a large number."""
    assert memory_breach(Sample(at_ns=0, values={"gpu_memory_used_bytes": None}), BOUNDS,
                         phase="p") is None  # fmt: skip


def test_limits_are_checked_in_raw_units() -> None:
    """Two seconds are 2e9 ns."""
    limit = Limit(metric="ttft_8k_ns", at_most_s=2)

    (kept,) = check_limits([limit], {"ttft_8k_ns": 1.9e9})
    (broken,) = check_limits([limit], {"ttft_8k_ns": 2.1e9})
    (unknown,) = check_limits([limit], {})

    assert (kept.kept, broken.kept, unknown.kept) == (True, False, None)
    assert kept.bound == 2e9


def test_a_lower_bound_is_missed_from_below() -> None:
    """`at_least` asks for at least that much."""
    limit = Limit(metric="output_tokens_per_s", at_least=100)

    assert [check_limits([limit], {"output_tokens_per_s": v})[0].kept
                             for v in (100, 99.9)] == [True, False]  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "bound", "value", "words"),
    [
        ("ttft_8k_ns", {"at_most_s": 2}, 2.5e9, "ttft_8k_ns is 2.5 s, the limit is 2 s"),
        ("itl_p50_ns", {"at_most_s": 0.02}, 31e6, "itl_p50_ns is 0.031 s, the limit is 0.02 s"),
        ("gpu_memory_peak_bytes", {"at_most_gib": 11}, 11.5 * GIB,
         "gpu_memory_peak_bytes is 11.50 GiB, the limit is 11.00 GiB"),
        ("output_tokens_per_s", {"at_least": 1500}, 1234.5,
         "output_tokens_per_s is 1,234 tokens/s, the limit is 1,500 tokens/s"),
        ("prefix_hit_ratio", {"at_least": 0.9}, 0.5,
         "prefix_hit_ratio is 0.5, the limit is 0.9"),
    ],
)  # fmt: skip
def test_a_missed_limit_is_said_in_units_for_people(
    metric: str, bound: dict[str, float], value: float, words: str
) -> None:
    """Raw nanoseconds and bytes are for machines."""
    limit = Limit(metric=metric, **bound)  # type: ignore[arg-type] # one of the bounds
    failure = missed(check_limits([limit], {metric: value}), phase="p", final=True)

    assert failure is not None
    assert failure.message == words


def test_what_could_not_be_measured_counts_as_missed_only_in_the_end() -> None:
    """While probes still run, a limit may yet be measured."""
    checks = check_limits([Limit(metric="ttft_8k_ns", at_most_s=2)], {})

    assert missed(checks, phase="probe:ttft", final=False) is None
    failure = missed(checks, phase="limits", final=True)
    assert failure is not None
    assert failure.kind is FailureKind.LIMIT_MISSED
