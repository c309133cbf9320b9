"""The metrics that a calibration explains, and how much a miss of each counts."""

from collections.abc import Mapping
from math import log, tanh
from typing import Final

FITTED_METRICS: Final[Mapping[str, float]] = {
    "output_tokens_per_s": 1.0,
    "ttft_8k_ns": 1.0,
    "ttft_16k_ns": 1.0,
    "ttft_32k_ns": 0.5,
    "tpot_p50_ns": 1.0,
    "itl_p50_ns": 0.3,
    "itl_single_ns": 1.0,
    "decode_8k_tokens_per_s": 0.3,
    "decode_32k_tokens_per_s": 0.3,
    "ttft_short_ns": 0.3,
    "ttft_loaded_p50_ns": 0.3,
    "e2e_p50_ns": 0.5,
}
"""What is fitted, and how much it counts: figures that hang on the client and the host's mood,
or that say the same as another one, count less."""
_SCATTERED: Final[Mapping[str, float]] = {"itl_p50_ns": 0.3}
"""Metrics whose repeats scatter widely, and the largest miss that counts. Under load the gap
between chunks is an iteration while the API server keeps up, and longer where it does not, all the
more so the slower it is (`frontend.chunk_times`): repeats of one server differed by a factor of
two. Of such figures the miss is the relative error, since that is what a prediction is judged by
and no longer about the same as the logarithm; what is far off pulls no more than what is near."""


def miss_of(metric: str, predicted: float, measured: float) -> float:
    """How far off a prediction is, by its logarithm and by how much the metric counts."""
    bound = _SCATTERED.get(metric)
    if bound is None:
        miss = log(predicted / measured)
    else:
        miss = bound * tanh((predicted / measured - 1) / bound)
    return FITTED_METRICS.get(metric, 1.0) * miss
