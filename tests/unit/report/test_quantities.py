"""Display units."""

import pytest

from autotune.metrics import METRICS
from autotune.report.quantities import (
    change,
    display,
    duration_text,
    heading,
    interval,
    scale_for,
)


@pytest.mark.parametrize(
    ("tag", "raw", "shown"),
    [
        ("ttft_8k_ns", 1_420_000_000, "1.42 s"),
        ("ttft_8k_ns", 612_300_000, "612 ms"),
        ("itl_p50_ns", 23_400_000, "23.4 ms"),
        ("itl_p50_ns", 850_000, "850 µs"),
        ("gpu_memory_peak_bytes", 11_811_160_064, "11.00 GiB"),
        ("shm_peak_bytes", 67_108_864, "64 MiB"),
        ("output_tokens_per_s", 1834.6, "1,835 tok/s"),
        ("requests_per_s", 14.33, "14.3 req/s"),
        ("context_capacity_tokens", 74_896.0, "74,896 tokens"),
        ("failed_requests_count", 0.0, "0"),
        ("prefix_hit_ratio", 0.9375, "93.8%"),
        ("prefix_speedup_ratio", 6.5, "6.50\N{MULTIPLICATION SIGN}"),
        ("gpu_power_mean_w", 212.4, "212 W"),
        ("joules_per_output_token", 0.4712, "0.471 J/token"),
    ],
)
def test_a_raw_value_is_shown_in_the_unit_that_suits_it(tag: str, raw: float, shown: str) -> None:
    """Nanoseconds and bytes become what a person would write."""
    assert display(tag, raw) == shown


def test_what_was_not_measured_is_no_zero() -> None:
    """None is a dash, or the word asked for."""
    assert display("ttft_8k_ns", None) == "\N{EN DASH}"
    assert display("ttft_8k_ns", None, missing="not measured") == "not measured"


def test_every_declared_metric_can_be_shown() -> None:
    """No unit is forgotten: each metric shows its number."""
    assert len(METRICS) > 40
    for tag in METRICS:
        assert any(char.isdigit() for char in display(tag, 1.0)), tag


def test_a_column_has_one_unit() -> None:
    """Values that share a column share the unit of the largest."""
    scale = scale_for("ttft_8k_ns", [900_000_000, 2_500_000_000, None])
    assert heading("ttft_8k_ns", scale) == "TTFT at 8K [s]"
    assert scale.number(900_000_000) == "0.900"


def test_an_undeclared_tag_is_shown_as_it_is() -> None:
    """A record of another version does not break the report."""
    assert display("something_new", 12.5) == "12.5"


def test_changes_are_signed_and_large_ones_are_factors() -> None:
    """Percent below twice, a factor from there; nothing without a reference."""
    assert change(115.0, 100.0) == "+15.0%"
    assert change(93.0, 100.0) == "-7.0%"
    assert change(99.96, 100.0) == change(100.04, 100.0) == "+0.0%"
    assert change(250.0, 100.0) == "\N{MULTIPLICATION SIGN}2.50"
    assert change(None, 100.0) == change(1.0, None) == change(1.0, 0.0) == "\N{EN DASH}"


def test_an_interval_names_its_unit_once() -> None:
    """Both ends share a unit; an unknown end leaves it out."""
    assert interval("ttft_8k_ns", 1_200_000_000, 1_340_000_000) == "1.20 to 1.34 s"
    assert not interval("ttft_8k_ns", None, 1.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (48.2, "48 s"), (720, "12 min"), (11_100, "3 h 05 min"), (None, "?")],
)
def test_a_stretch_of_time_is_told_as_a_person_does(seconds: float | None, text: str) -> None:
    """Seconds, minutes, then hours and minutes."""
    assert duration_text(seconds, missing="?") == text
