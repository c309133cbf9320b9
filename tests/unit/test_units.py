"""Conversions between what is stored and what people write."""

import pytest

from autotune import units


def test_seconds_become_whole_nanoseconds() -> None:
    """A half nanosecond is rounded, a second is 10^9 of them."""
    assert units.ns_from_s(1.5) == 1_500_000_000
    assert units.ns_from_s(0.1) == 100_000_000
    assert isinstance(units.ns_from_s(1.0), int)


def test_gib_are_binary() -> None:
    """A GiB is 2^30 bytes; an RTX 5070's 12 GB by nvidia-smi are 12227 MiB = 11.94 GiB."""
    assert units.bytes_from_gib(1) == 2**30
    assert units.gib_from_bytes(12227 * units.BYTES_PER_MIB) == pytest.approx(11.9404, abs=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.25, 80.0])
def test_conversions_undo_each_other(value: float) -> None:
    """There and back is the same value."""
    assert units.gib_from_bytes(units.bytes_from_gib(value)) == value
    assert units.s_from_ns(units.ns_from_s(value)) == value
