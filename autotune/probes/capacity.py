"""Further probe: the highest load whose latency keeps the SLO."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from autotune.load.arrivals import arrival_offsets_ns
from autotune.load.formulas import keeps_slo, measured_window, requests_per_s
from autotune.probes.asking import (
    Asker,
    ProbeSkippedError,
    derived_seed,
    longest_request_tokens,
)
from autotune.probes.base import BaseProbe, Findings
from autotune.probes.traffic import synthetic_requests
from autotune.seams.probe import ProbeContext
from autotune.seams.requests import LoadPlan, RequestRecord

# DistServe (arXiv 2401.09670) calls a rate sustained if 90% of the requests keep the SLO.
ATTAINMENT: Final = 0.9
_STEPS: Final = 7
_RAMP_SHARE: Final = 0.2
_SEARCHED_BELOW: Final = 16.0  # the lowest rate asked is the bound / this
_SEARCHED_ABOVE: Final = 1.25
_MOST_CERTAIN: Final = 0.98


class CapacityProbe(BaseProbe):
    """Sends Poisson loads at rates that close in on the highest one within the SLO."""

    name = "capacity"
    test = None
    metrics = ("capacity_requests_per_s",)

    async def ask(self, context: ProbeContext, asker: Asker) -> Findings:
        """See `BaseProbe.ask`."""
        longest, workload = longest_request_tokens(context), context.workload
        if longest is not None and workload.prompt_tokens + workload.output_tokens > longest:
            message = f"the workload's requests do not fit: this deployment holds {longest} tokens"
            raise ProbeSkippedError(message)
        bound = await self._saturated_requests_per_s(context, asker)
        search = RateSearch(low=bound / _SEARCHED_BELOW, high=bound * _SEARCHED_ABOVE)
        for step in range(_STEPS):
            rate = search.next_rate()
            kept, total = await self._at(context, asker, rate, step)
            search.observe(rate, kept, total)
        capacity = search.sustained()
        notes = [f"{rate:.3g} requests/s: {kept} of {total} within the SLO"
                 for rate, kept, total in search.seen]  # fmt: skip
        if capacity is None:
            notes.append("no rate that was asked keeps the SLO")
        return Findings(
            metrics={"capacity_requests_per_s": capacity},
            intervals={} if capacity is None else {"capacity_requests_per_s": search.interval()},
            notes=notes,
        )

    @staticmethod
    async def _saturated_requests_per_s(context: ProbeContext, asker: Asker) -> float:
        """No rate above the closed loop's can be sustained: from test 3, or measured here."""
        for finished in context.finished:
            known = finished.metrics.get("requests_per_s")
            if known:
                return known
        workload = context.workload

        def plan(attempt: int) -> LoadPlan:
            requests = synthetic_requests(context, asker, workload.requests, "bound", attempt)
            return LoadPlan(
                requests=tuple(requests),
                concurrency=workload.concurrency,
                deadline_s=workload.probe_timeout_s,
            )

        result = await asker.load(plan)
        window = measured_window(result.records, closed=True)
        if window is None:
            message = "the closed loop took no time at all"
            raise ProbeSkippedError(message)
        return requests_per_s(result.records, window)

    @staticmethod
    async def _at(context: ProbeContext, asker: Asker, rate: float, step: int) -> tuple[int, int]:
        """Requests that kept the SLO at a rate, and how many were judged."""
        workload = context.workload

        def plan(attempt: int) -> LoadPlan:
            requests = synthetic_requests(context, asker, workload.requests, step, attempt)
            return LoadPlan(
                requests=tuple(requests),
                offsets_ns=arrival_offsets_ns(
                    "poisson",
                    rate_requests_per_s=rate,
                    count=len(requests),
                    seed=derived_seed(context.seed, "capacity", step, attempt),
                ),
                deadline_s=workload.probe_timeout_s,
            )

        result = await asker.load(plan)
        judged = result.records[int(len(result.records) * _RAMP_SHARE) :]
        return _kept(judged, workload.slo_ttft_s, workload.slo_itl_s), len(judged)


def _kept(records: Sequence[RequestRecord], ttft_s: float, itl_s: float) -> int:
    return sum(1 for r in records if keeps_slo(r, ttft_s=ttft_s, itl_s=itl_s))


class RateSearch:
    """Finds where attainment falls below the target, from noisy looks at single rates.

    Probabilistic bisection (Waeber, Frazier, Henderson 2013): a posterior over the capacity on a
    logarithmic grid; the next rate is its median, and a look moves mass up or down by how sure
    it is. Attainment falls with the rate, so one look speaks for all rates on its side.

    Args:
        low: Lowest capacity thought possible.
        high: Highest.
    """

    def __init__(self, *, low: float, high: float, points: int = 128) -> None:
        self._grid = np.geomspace(low, high, points)
        self._mass = np.full(points, 1.0 / points)
        self.seen: list[tuple[float, int, int]] = []

    def next_rate(self) -> float:
        """Where the posterior is split in half."""
        return self._quantile(0.5)

    def observe(self, rate: float, kept: int, total: int) -> None:
        """So many of the requests at a rate kept the SLO."""
        self.seen.append((rate, kept, total))
        sure = probability_sustained(kept, total)
        self._mass *= np.where(self._grid >= rate, sure, 1.0 - sure)
        self._mass /= self._mass.sum()

    def sustained(self) -> float | None:
        """The highest rate seen that more likely than not reaches the target; None if none."""
        good = [rate for rate, kept, total in self.seen if probability_sustained(kept, total) > 0.5]
        return max(good, default=None)

    def interval(self) -> tuple[float, float]:
        """Where the capacity lies with 95% of the posterior."""
        return self._quantile(0.025), self._quantile(0.975)

    def _quantile(self, q: float) -> float:
        index = int(np.searchsorted(np.cumsum(self._mass), q))
        return float(self._grid[min(index, len(self._grid) - 1)])


def probability_sustained(kept: int, total: int) -> float:
    """P(true attainment >= target) after `kept` of `total`, from a uniform prior; never certain."""
    from scipy.special import betainc  # noqa: PLC0415 - slow to import

    below = float(betainc(kept + 1, total - kept + 1, ATTAINMENT))
    return min(_MOST_CERTAIN, max(1 - _MOST_CERTAIN, 1 - below))
