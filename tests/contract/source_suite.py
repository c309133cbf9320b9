"""What every telemetry source must do: a suite for each to inherit."""

import math
import re

from autotune.clock import MonotonicClock
from autotune.seams.telemetry import Sample, Source

CLOCK = MonotonicClock()
SAMPLE_KEYS = frozenset(
    re.findall(r"[a-z]+(?:_[a-z]+)+", (Sample.__doc__ or "").partition("Keys:")[2])
)
"""As the seam's own documentation lists them."""


class SourceSuite:
    """A subclass gives `source` that can be read and `blind`, one whose subject is gone."""

    def test_keys_are_those_of_a_sample(self, source: Source) -> None:
        """Every key is one that the seam declares, and none comes twice."""
        assert source.keys
        assert set(source.keys) <= SAMPLE_KEYS
        assert len(set(source.keys)) == len(source.keys)

    def test_the_same_keys_every_time(self, source: Source, blind: Source) -> None:
        """Each look gives each key, whether there is something to see or not."""
        for _ in range(2):
            assert set(CLOCK.run(source.read())) == set(source.keys)
            assert set(CLOCK.run(blind.read())) == set(blind.keys)
        assert blind.keys == source.keys

    def test_values_are_numbers_or_none(self, source: Source) -> None:
        """What is read is a finite number, and something is read."""
        CLOCK.run(source.read())  # shares of time need a first look
        values = [value for value in CLOCK.run(source.read()).values() if value is not None]
        assert values
        assert all(isinstance(value, float) and math.isfinite(value) for value in values)

    def test_missing_is_none(self, blind: Source) -> None:
        """What cannot be read is None and never 0."""
        for _ in range(2):
            assert set(CLOCK.run(blind.read()).values()) == {None}
