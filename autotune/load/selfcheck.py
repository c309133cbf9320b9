"""Is it the server that is measured, or the client? Pure: from what the client saw of itself."""

from collections.abc import Sequence
from typing import Final

from autotune.load.formulas import e2e_ns, median, ttfts_ns
from autotune.seams.requests import LoadPlan, RequestRecord
from autotune.units import NS_PER_MS

# A request that leaves 10 ms late distorts an open loop (inference-perf, docs/loadgen.md). A
# closed loop is slowed by the lag's share of a request; the mean lag is about half of the p99.
MAX_LAG_NS: Final = 10 * NS_PER_MS
MAX_LAG_SHARE: Final = 0.02
# An event loop that comes 5 ms late stamps 5 ms late; beside a slow server that is nothing.
MAX_LOOP_LAG_NS: Final = 5 * NS_PER_MS
MAX_LOOP_LAG_SHARE: Final = 0.05
MAX_CPU_RATIO: Final = 0.9


def client_bound(
    plan: LoadPlan,
    records: Sequence[RequestRecord],
    *,
    lag_p99_ns: int | None,
    cpu_ratio: float | None = None,
    loop_lag_p99_ns: int | None = None,
) -> str | None:
    """Why the client set the figures and not the server; None if it did not.

    Args:
        plan: What was sent.
        records: What became of it.
        lag_p99_ns: 99th percentile of (sent - scheduled).
        cpu_ratio: Busiest client process: CPU time / wall time.
        loop_lag_p99_ns: 99th percentile of how late the event loop came to its timers.
    """
    answered = [r for r in records if r.error is None]
    allowed_ns = plan.max_client_lag_ns
    if lag_p99_ns is not None:
        bound_ns = float(MAX_LAG_NS if allowed_ns is None else allowed_ns)
        if plan.offsets_ns is None and answered:
            bound_ns = max(bound_ns, MAX_LAG_SHARE * median([e2e_ns(r) for r in answered]))
        if lag_p99_ns > bound_ns:
            return f"requests left {lag_p99_ns / NS_PER_MS:.1f} ms late (p99)"
    if cpu_ratio is not None and cpu_ratio > MAX_CPU_RATIO:
        return f"a client process used {cpu_ratio:.0%} of a CPU"
    ttfts = ttfts_ns(answered)
    if loop_lag_p99_ns is not None and ttfts:
        least_ns = MAX_LOOP_LAG_NS if allowed_ns is None else allowed_ns
        bound_ns = max(float(least_ns), MAX_LOOP_LAG_SHARE * median(ttfts))
        if loop_lag_p99_ns > bound_ns:
            return f"the client read answers {loop_lag_p99_ns / NS_PER_MS:.1f} ms late (p99)"
    return None
