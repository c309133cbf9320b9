"""Hypervolume."""

import numpy as np
import pytest

from autotune.analysis.hypervolume import hypervolume


def test_two_boxes_by_hand() -> None:
    """Boxes of 2 by 1 and 1 by 2 that share a unit square cover 3."""
    losses = np.asarray([[1.0, 2.0], [2.0, 1.0]])
    assert hypervolume(losses, np.asarray([3.0, 3.0])) == pytest.approx(3.0)


def test_nothing_covers_nothing() -> None:
    """No trials, no volume."""
    assert hypervolume(np.zeros((0, 2)), np.asarray([1.0, 1.0])) == 0.0
