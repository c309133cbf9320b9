"""Test 3: throughput and latency under a load."""

from collections.abc import Sequence
from typing import Final

from autotune.load import formulas
from autotune.load.formulas import Window
from autotune.probes.asking import Asker, ProbeSkippedError, growth, longest_request_tokens
from autotune.probes.base import BaseProbe, Findings
from autotune.probes.traffic import synthetic_requests, traffic
from autotune.records import Failure, FailureKind
from autotune.seams.probe import ProbeContext
from autotune.seams.requests import LoadPlan, RequestRecord
from autotune.seams.telemetry import Sample
from autotune.spec.workload import Workload

_MOST_WARM_UPS: Final = 5
_STABLE_WITHIN: Final = 0.1
_ORDINARY_PRIORITY: Final = (
    "the load generator has no real-time priority (`autotune doctor` says how to get it): where it "
    "shares few cores with the server, times are some milliseconds late"
)


class ThroughputProbe(BaseProbe):
    """Sends the workload's load: by default a closed loop of 100 streams."""

    name = "throughput"
    test = 3
    metrics = (
        "output_tokens_per_s",
        "total_tokens_per_s",
        "requests_per_s",
        "goodput_requests_per_s",
        "ttft_loaded_p50_ns",
        "ttft_loaded_p99_ns",
        "itl_p50_ns",
        "itl_p99_ns",
        "tpot_p50_ns",
        "e2e_p50_ns",
        "e2e_p99_ns",
        "failed_requests_count",
        "preemptions_count",
        "kv_usage_peak_ratio",
        "joules_per_output_token",
    )

    async def ask(self, context: ProbeContext, asker: Asker) -> Findings:
        """See `BaseProbe.ask`."""
        self._check_fits(context)
        notes = await self._warm_up(context, asker)
        plans: list[LoadPlan] = []

        def plan(attempt: int) -> LoadPlan:
            plans.append(traffic(context, asker, attempt))
            return plans[-1]

        before = await asker.gauges()
        result = await asker.load(plan)
        after = await asker.gauges()
        if result.client_is_realtime is False:
            notes.append(_ORDINARY_PRIORITY)
        closed = plans[-1].offsets_ns is None
        records = result.records
        window = formulas.measured_window(records, closed=closed)
        if window is None:
            return Findings(failure=_nothing_measured(asker))
        return Findings(
            metrics={
                **load_metrics(records, window),
                "goodput_requests_per_s": _goodput(context.workload, records, window),
                "preemptions_count": growth(before, after, "preemptions_count"),
                "kv_usage_peak_ratio": peak(
                    context.timeline, "kv_usage_ratio", result.start_ns, result.end_ns
                ),
                "joules_per_output_token": joules_per_token(context.timeline, records, window),
            },
            samples={
                "output_tokens_per_s": formulas.throughput_slices(records, window),
                "ttft_loaded_p50_ns": tuple(float(t) for t in formulas.ttfts_ns(records)),
            },
            intervals=load_intervals(records),
            notes=notes,
        )

    @staticmethod
    async def _warm_up(context: ProbeContext, asker: Asker) -> list[str]:
        """Send small rounds until one takes as long as the one before it."""
        workload = context.workload
        if not workload.warmup_requests:
            return []
        before: float | None = None
        for index in range(_MOST_WARM_UPS):
            requests = synthetic_requests(
                context, asker, workload.warmup_requests, "warm-up", index
            )
            plan = LoadPlan(
                requests=tuple(requests),
                concurrency=workload.concurrency,
                deadline_s=workload.probe_timeout_s,
            )
            result = await context.load.run(asker.tolerant(plan))
            asker.records.extend(result.records)
            await asker.check(result.records, client_bound=result.client_bound)
            took = formulas.median([formulas.e2e_ns(r) for r in result.records])
            if before is not None and abs(took - before) <= _STABLE_WITHIN * before:
                return []
            before = took
        return [f"still warming up after {_MOST_WARM_UPS} rounds"]

    @staticmethod
    def _check_fits(context: ProbeContext) -> None:
        longest, workload = longest_request_tokens(context), context.workload
        asked = workload.prompt_tokens + workload.output_tokens
        if workload.dataset is None and longest is not None and asked > longest:
            message = f"requests of {asked} tokens, and this deployment holds {longest}"
            raise ProbeSkippedError(message)


def load_metrics(records: Sequence[RequestRecord], window: Window) -> dict[str, float | None]:
    """The figures of a load in which every request succeeded."""
    ttfts, gaps = formulas.ttfts_ns(records), formulas.gaps_ns(records)
    tpots = [t for r in records if (t := formulas.tpot_ns(r)) is not None]
    e2e = [formulas.e2e_ns(r) for r in records]
    return {
        "output_tokens_per_s": formulas.output_tokens_per_s(records, window),
        "total_tokens_per_s": formulas.total_tokens_per_s(records, window),
        "requests_per_s": formulas.requests_per_s(records, window),
        "ttft_loaded_p50_ns": formulas.median(ttfts),
        "ttft_loaded_p99_ns": formulas.percentile(ttfts, 99),
        "itl_p50_ns": formulas.median(gaps) if gaps else None,
        "itl_p99_ns": formulas.percentile(gaps, 99) if gaps else None,
        "tpot_p50_ns": formulas.median(tpots) if tpots else None,
        "e2e_p50_ns": formulas.median(e2e),
        "e2e_p99_ns": formulas.percentile(e2e, 99),
    }


def _goodput(workload: Workload, records: Sequence[RequestRecord], window: Window) -> float:
    kept = [
        record
        for record in records
        if formulas.keeps_slo(record, ttft_s=workload.slo_ttft_s, itl_s=workload.slo_itl_s)
    ]
    return formulas.requests_per_s(kept, window)


def load_intervals(records: Sequence[RequestRecord]) -> dict[str, tuple[float, float]]:
    """95% intervals of the percentiles, where there are values enough for one.

    They take values as independent; gaps of one stream are not quite, so theirs are a bit narrow.
    """
    tpots = [t for r in records if (t := formulas.tpot_ns(r)) is not None]
    looked_at: dict[str, tuple[Sequence[float], float]] = {
        "ttft_loaded_p50_ns": (formulas.ttfts_ns(records), 50),
        "ttft_loaded_p99_ns": (formulas.ttfts_ns(records), 99),
        "itl_p50_ns": (formulas.gaps_ns(records), 50),
        "itl_p99_ns": (formulas.gaps_ns(records), 99),
        "tpot_p50_ns": (tpots, 50),
        "e2e_p50_ns": ([formulas.e2e_ns(r) for r in records], 50),
        "e2e_p99_ns": ([formulas.e2e_ns(r) for r in records], 99),
    }
    return {
        tag: (found.low, found.high)
        for tag, (values, q) in looked_at.items()
        if (found := formulas.percentile_interval(values, q)) is not None
    }


def peak(timeline: Sequence[Sample], key: str, start_ns: int, end_ns: int) -> float | None:
    """The largest sample of a key within a stretch; None where there is none."""
    values = [
        value
        for sample in timeline
        if start_ns <= sample.at_ns <= end_ns and (value := sample.values.get(key)) is not None
    ]
    return max(values, default=None)


def joules_per_token(
    timeline: Sequence[Sample], records: Sequence[RequestRecord], window: Window
) -> float | None:
    """Energy of the window / its output tokens.

    The card counts joules since its driver was loaded; the samples within the window give the
    mean power, which is carried over the whole window.
    """
    seen = [
        (sample.at_ns, value)
        for sample in timeline
        if window.contains(sample.at_ns)
        and (value := sample.values.get("gpu_energy_j")) is not None
    ]
    tokens = formulas.output_tokens(records, window)
    if len(seen) < 2 or not tokens:
        return None
    (first_ns, first_j), (last_ns, last_j) = seen[0], seen[-1]
    watts = (last_j - first_j) * 1e9 / (last_ns - first_ns)
    return watts * window.duration_s / tokens


def _nothing_measured(asker: Asker) -> Failure:
    return Failure(
        kind=FailureKind.REQUESTS_FAILED, phase=asker.phase, message="no request was measured"
    )
