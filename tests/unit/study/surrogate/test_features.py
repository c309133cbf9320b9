"""Configurations as numbers."""

import numpy as np
import pytest

from autotune.records import Configuration
from autotune.spec.space import space_from
from autotune.study.surrogate.features import Encoder

SPACE = space_from(
    {
        "parameters": {
            "backend": {"choices": ["default", "A", "B"]},
            "batch": {"choices": ["default", 16, 64, 256]},
            "share": {"low": 0.8, "high": 0.9, "step": 0.02},
            "seqs": {"low": 1, "high": 1024, "log": True, "type": "int"},
            "sync": {"choices": ["default", True, False]},
        }
    },
    where="test",
)


def encoded(**values: str | float | bool) -> np.ndarray:
    """The row of one configuration."""
    return Encoder(SPACE).encode([Configuration.of(values)])[0]


def test_rows_are_finite_and_bounded() -> None:
    """Every value, and every absent one, lies within 0 and 1."""
    rows = Encoder(SPACE).encode([
        Configuration(), Configuration.of({"backend": "A", "batch": 16, "share": 0.8, "seqs": 1}),
        Configuration.of({"batch": 9999, "share": 5.0, "seqs": 10**9, "backend": "unknown"}),
    ])  # fmt: skip
    assert np.isfinite(rows).all()
    assert rows.min() >= 0
    assert rows.max() <= 1


def test_words_are_equally_far_apart() -> None:
    """A word has no neighbour: any two are 1 apart, as far as two ends of a number."""
    a, b, none = encoded(backend="A"), encoded(backend="B"), encoded()
    assert np.linalg.norm(a - b) == pytest.approx(1.0)
    assert np.linalg.norm(a - none) == pytest.approx(1.0)


def test_numbers_keep_their_order() -> None:
    """A list of numbers is spaced by rank, a range by its own scale."""
    low, mid, high = (encoded(batch=b) for b in (16, 64, 256))
    assert np.linalg.norm(low - mid) == pytest.approx(0.5)
    assert np.linalg.norm(low - high) == pytest.approx(1.0)
    assert np.linalg.norm(encoded(seqs=1) - encoded(seqs=32)) == pytest.approx(0.5)
    assert np.linalg.norm(encoded(share=0.8) - encoded(share=0.85)) == pytest.approx(0.5)


def test_true_and_false_are_words() -> None:
    """Booleans are not the numbers 1 and 0."""
    assert np.linalg.norm(encoded(sync=True) - encoded(sync=False)) == pytest.approx(1.0)
