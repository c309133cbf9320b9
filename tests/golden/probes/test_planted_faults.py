"""The gate on a real transformer's log-probabilities, whole and with faults in its weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autotune.probes.judging import Bounds, Judgement, judge_forced, verdict
from autotune.records import Failure, FailureKind

DATA = Path(__file__).parents[1] / "data" / "probes" / "planted_faults.json"


@pytest.fixture(scope="module")
def variants() -> dict[str, list[list[float | None]]]:
    """Log-probabilities by variant; `make_planted_faults.py` made them."""
    found: dict[str, Any] = json.loads(DATA.read_text())
    assert len(found["baseline"]) == 6
    assert {256} == {len(row) for rows in found.values() for row in rows}
    return found


def judged(own: Any, base: Any) -> Failure | None:
    """The verdict on forced log-probabilities alone."""
    judgement = Judgement()
    judge_forced(judgement, {"forced": own}, {"forced": base})
    return verdict(judgement, Bounds(), phase="probe:correctness")


@pytest.mark.parametrize("fault", ["keys_doubled", "kv_heads_swapped", "rope_base_changed"])
def test_faults_in_the_weights_are_caught(
    variants: dict[str, list[list[float | None]]], fault: str
) -> None:
    """Doubled keys, swapped KV heads and another rope base are wrong answers."""
    failure = judged(variants[fault], variants["baseline"])

    assert failure is not None
    assert failure.kind is FailureKind.WRONG_ANSWERS


def test_other_arithmetic_is_no_fault(variants: dict[str, list[list[float | None]]]) -> None:
    """The same model in bfloat16 is correct."""
    assert judged(variants["bfloat16"], variants["baseline"]) is None


def test_three_percent_of_noise_on_a_real_model_raises_no_alarm(
    variants: dict[str, list[list[float | None]]],
) -> None:
    """Two hundred clean runs, each log-probability multiplied by 1 + 3% of noise."""
    base = variants["baseline"]
    for seed in range(200):
        rng = np.random.default_rng(seed)
        own = [
            [None if v is None else v * (1 + 0.03 * rng.standard_normal()) for v in row]
            for row in base
        ]
        assert judged(own, base) is None
