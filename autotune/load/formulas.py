"""From records to figures: pure functions, each with the formula of the field.

Latency formulas follow vLLM's benchmarks/serve.py (`calculate_metrics`); goodput follows
DistServe (arXiv 2401.09670). Tokens are the server's usage; chunks only say *when* they came.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from autotune.seams.requests import RequestRecord
from autotune.units import NS_PER_S

STEADY_WAVES: Final = 5
"""Requests / concurrency from which a closed loop has a steady state worth cutting out."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """The stretch of a load that is measured: warm-up and cool-down are outside."""

    start_ns: int
    end_ns: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return (self.end_ns - self.start_ns) / NS_PER_S

    def contains(self, at_ns: int) -> bool:
        """Whether a moment is inside; the end is not."""
        return self.start_ns <= at_ns < self.end_ns


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float
    confidence: float = 0.95


def measured_window(records: Sequence[RequestRecord], *, closed: bool) -> Window | None:
    """The stretch of a load in which the server was as busy as the load wanted it.

    An open loop is measured until the last start: then it fades. A closed loop is measured
    whole, as vLLM's benchmarks/serve.py does, unless it is `STEADY_WAVES` times its concurrency
    long: then its streams have drifted apart, and it is measured until fewer than `concurrency`
    are in flight. A short closed loop runs in waves, prefill then decode; with its fade cut off
    it would hold one more prefill than decodes, and favour whatever queues.

    Args:
        records: Without the warm-up.
        closed: Whether the load was a closed loop.
    """
    if not records:
        return None
    start = min(r.sent_ns for r in records)
    last_end = max(r.end_ns for r in records)
    last_sent = max(r.sent_ns for r in records)
    end = last_end
    if not closed and (last_sent - start) * 2 >= last_end - start:
        end = last_sent
    elif closed and len(records) >= STEADY_WAVES * _concurrency(records):
        end = min((r.end_ns for r in records if r.end_ns > last_sent), default=last_end)
    return Window(start_ns=start, end_ns=end) if end > start else None


def _concurrency(records: Sequence[RequestRecord]) -> int:
    """How many were in flight at first: those sent before the first one ended."""
    first_end = min(r.end_ns for r in records)
    return max(1, sum(r.sent_ns < first_end for r in records))


def share_inside(record: RequestRecord, window: Window) -> float:
    """The share of a request's output that arrived within the window, by its chunks' times."""
    chunks = record.chunk_ns
    if not chunks:
        return 0.0
    if window.start_ns <= chunks[0] and chunks[-1] < window.end_ns:
        return 1.0
    return sum(1 for at in chunks if window.contains(at)) / len(chunks)


def output_tokens(records: Iterable[RequestRecord], window: Window) -> float:
    """Output tokens within the window: usage, by the share of each answer that is inside."""
    return sum((r.output_tokens or 0) * share_inside(r, window) for r in records)


def prompt_tokens(records: Iterable[RequestRecord], window: Window) -> int:
    """Prompt tokens whose first answer token came within the window."""
    return sum(
        r.prompt_tokens or 0
        for r in records
        if r.first_token_ns is not None and window.contains(r.first_token_ns)
    )


def output_tokens_per_s(records: Sequence[RequestRecord], window: Window) -> float:
    """Output tokens within the window / its length."""
    return output_tokens(records, window) / window.duration_s


def total_tokens_per_s(records: Sequence[RequestRecord], window: Window) -> float:
    """(Prompt + output tokens) within the window / its length."""
    return (output_tokens(records, window) + prompt_tokens(records, window)) / window.duration_s


def requests_per_s(records: Sequence[RequestRecord], window: Window) -> float:
    """Requests, each by the share of its output that is inside the window / its length."""
    return sum(share_inside(r, window) for r in records) / window.duration_s


def throughput_slices(
    records: Sequence[RequestRecord], window: Window, *, count: int = 10
) -> tuple[float, ...]:
    """Output tokens/s in equal slices of the window: the batches behind its interval."""
    edges = np.linspace(window.start_ns, window.end_ns, count + 1)
    weighted = np.zeros(count)
    for record in records:
        if record.chunk_ns:
            counts, _ = np.histogram(np.asarray(record.chunk_ns), bins=edges)
            weighted += counts * ((record.output_tokens or 0) / len(record.chunk_ns))
    return tuple(float(v) for v in weighted / (window.duration_s / count))


def ttfts_ns(records: Iterable[RequestRecord]) -> list[int]:
    """First content-bearing chunk - sent, of each that has one."""
    return [t for r in records if (t := r.ttft_ns) is not None]


def gaps_ns(records: Iterable[RequestRecord]) -> list[int]:
    """Inter-token latencies: gaps between content-bearing chunks, all streams pooled."""
    pooled: list[int] = []
    for record in records:
        pooled.extend(np.diff(np.asarray(record.chunk_ns, dtype=np.int64)).tolist())
    return pooled


def tpot_ns(record: RequestRecord) -> float | None:
    """Time per output token: (end - first token) / (output tokens - 1); None below 2 tokens."""
    if record.first_token_ns is None or (record.output_tokens or 0) < 2:
        return None
    return (record.end_ns - record.first_token_ns) / ((record.output_tokens or 0) - 1)


def decode_tokens_per_s(record: RequestRecord) -> float | None:
    """(Output tokens - 1) / (end - first token)."""
    each_ns = tpot_ns(record)
    return NS_PER_S / each_ns if each_ns else None


def prefill_tokens_per_s(record: RequestRecord) -> float | None:
    """Prompt tokens by the server's usage / TTFT."""
    if not record.ttft_ns or record.prompt_tokens is None:
        return None
    return record.prompt_tokens * NS_PER_S / record.ttft_ns


def e2e_ns(record: RequestRecord) -> int:
    """End - sent."""
    return record.end_ns - record.sent_ns


def keeps_slo(record: RequestRecord, *, ttft_s: float, itl_s: float) -> bool:
    """Whether a request succeeded with its TTFT and its mean inter-token latency in bounds."""
    if record.error is not None or record.ttft_ns is None:
        return False
    each_ns = tpot_ns(record)
    within_itl = each_ns is None or each_ns <= itl_s * NS_PER_S
    return record.ttft_ns <= ttft_s * NS_PER_S and within_itl


def percentile(values: Sequence[float], q: float) -> float:
    """The q-th percentile, linear between order statistics, as numpy and vLLM compute it.

    Raises:
        ValueError: If there are no values.
    """
    if not len(values):
        message = "a percentile of nothing"
        raise ValueError(message)
    return float(np.percentile(np.asarray(values, dtype=np.float64), q))


def median(values: Sequence[float]) -> float:
    """The 50th percentile.

    Raises:
        ValueError: If there are no values.
    """
    return percentile(values, 50)


def percentile_interval(
    values: Sequence[float], q: float, *, confidence: float = 0.95
) -> Interval | None:
    """Confidence interval of a percentile from order statistics; free of assumptions.

    The number of values below the true percentile is binomial (David and Nagaraja, Order
    Statistics, 7.1). None where there are too few values for the confidence asked.
    """
    from scipy.stats import binom  # noqa: PLC0415 - slow to import, and a worker needs none

    count = len(values)
    tail = (1 - confidence) / 2
    if count == 0:
        return None
    # Ranks from 1: P(X_(low) > true) = P(B < low) and P(X_(high) <= true) = P(B >= high).
    low = int(binom.ppf(tail, count, q / 100))
    if binom.cdf(low - 1, count, q / 100) > tail:
        low -= 1
    high = int(binom.ppf(1 - tail, count, q / 100)) + 1
    if low < 1 or high > count:
        return None
    ordered = sorted(values)
    return Interval(low=ordered[low - 1], high=ordered[high - 1], confidence=confidence)


def bootstrap_interval(
    values: Sequence[float],
    statistic: Callable[[Sequence[float]], float] = median,
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval | None:
    """Percentile bootstrap of any statistic (Efron and Tibshirani 1993, 13.3); seeded.

    None for fewer than two values.
    """
    if len(values) < 2:
        return None
    rng = np.random.default_rng(seed)
    array = np.asarray(values, dtype=np.float64)
    drawn = [
        statistic(array[rng.integers(len(array), size=len(array))].tolist())
        for _ in range(resamples)
    ]
    tail = 100 * (1 - confidence) / 2
    return Interval(
        low=percentile(drawn, tail), high=percentile(drawn, 100 - tail), confidence=confidence
    )


def mean_interval(values: Sequence[float], *, confidence: float = 0.95) -> Interval | None:
    """Student's t interval of a mean, for a handful of repeats; None for fewer than two."""
    from scipy.stats import t  # noqa: PLC0415 - as above

    count = len(values)
    if count < 2:
        return None
    mean = float(np.mean(values))
    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    half = float(t.ppf(0.5 + confidence / 2, count - 1)) * error
    return Interval(low=mean - half, high=mean + half, confidence=confidence)
