"""Test 5: prefixes asked again, from the GPU's cache and from the offload."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from autotune.load.formulas import measured_window, median, total_tokens_per_s, ttfts_ns
from autotune.probes.asking import (
    LOAD_ATTEMPTS,
    Asker,
    ProbeSkippedError,
    growth,
    longest_request_tokens,
    ratio,
)
from autotune.probes.base import BaseProbe, Findings
from autotune.seams.probe import ProbeContext
from autotune.seams.requests import GenerationRequest, LoadPlan, RequestRecord

_TAIL_TOKENS: Final = 32
_OUTPUT_TOKENS: Final = 16

Counters = Mapping[str, float | None]


class PrefixCacheProbe(BaseProbe):
    """The same prefix twice; then documents that together exceed the GPU's KV cache, twice."""

    name = "prefix_cache"
    test = 5
    metrics = (
        "prefix_cold_ttft_ns",
        "prefix_warm_ttft_ns",
        "prefix_speedup_ratio",
        "prefix_hit_ratio",
        "revisit_cold_ttft_ns",
        "revisit_warm_ttft_ns",
        "revisit_speedup_ratio",
        "revisit_gpu_hit_ratio",
        "revisit_offload_hit_ratio",
        "revisit_cold_total_tokens_per_s",
        "revisit_total_tokens_per_s",
        "offload_hit_tokens_per_gib",
    )

    async def ask(self, context: ProbeContext, asker: Asker) -> Findings:
        """See `BaseProbe.ask`."""
        findings = Findings()
        await self._repeat(context, asker, findings)
        await self._revisit(context, asker, findings)
        if not findings.metrics:
            raise ProbeSkippedError("; ".join(findings.notes))
        return findings

    async def _repeat(self, context: ProbeContext, asker: Asker, findings: Findings) -> None:
        """Each prefix is asked once cold and once warm, one request at a time."""
        workload, longest = context.workload, longest_request_tokens(context)
        needed = workload.prefix_tokens + _TAIL_TOKENS + _OUTPUT_TOKENS
        if longest is not None and needed > longest:
            findings.notes.append(
                f"prefixes of {workload.prefix_tokens} tokens not asked: "
                f"this deployment holds {longest} at most"
            )
            return
        cold, warm, grown = [], [], []
        for index in range(workload.prefix_repeats):
            cold.append(await asker.one(self._question(context, asker, index, "cold")))
            before = await asker.gauges()
            warm.append(await asker.one(self._question(context, asker, index, "warm")))
            grown.append(_grown(before, await asker.gauges()))
        cold_ns, warm_ns = ttfts_ns(cold), ttfts_ns(warm)
        findings.metrics |= {
            "prefix_cold_ttft_ns": median(cold_ns),
            "prefix_warm_ttft_ns": median(warm_ns),
            "prefix_speedup_ratio": ratio(median(cold_ns), median(warm_ns)),
            "prefix_hit_ratio": ratio(
                _total(grown, "prefix_hits_tokens"), _total(grown, "prefix_queries_tokens")
            ),
        }
        findings.samples |= {
            "prefix_cold_ttft_ns": tuple(float(t) for t in cold_ns),
            "prefix_warm_ttft_ns": tuple(float(t) for t in warm_ns),
        }

    @staticmethod
    def _question(context: ProbeContext, asker: Asker, index: int, which: str) -> GenerationRequest:
        segments = [
            asker.segment(context.workload.prefix_tokens, "prefix", index),
            asker.segment(_TAIL_TOKENS, "tail", which, index),
        ]
        return asker.request(f"{which}-{index}", segments, output_tokens=_OUTPUT_TOKENS)

    async def _revisit(self, context: ProbeContext, asker: Asker, findings: Findings) -> None:
        """A first pass over all documents, then a second in the same order.

        The order is the worst for a cache that evicts what was used least recently: what the
        GPU cannot hold must come from the offload or be computed again.
        """
        size = revisit_size(context)
        if isinstance(size, str):
            findings.notes.append(size)
            return
        cold, warm = await self._passes(context, asker, size)
        cold_ns, warm_ns = median(ttfts_ns(cold.records)), median(ttfts_ns(warm.records))
        hits = warm.grown.get("offload_hits_tokens")
        findings.metrics |= {
            "revisit_cold_ttft_ns": cold_ns,
            "revisit_warm_ttft_ns": warm_ns,
            "revisit_speedup_ratio": ratio(cold_ns, warm_ns),
            "revisit_gpu_hit_ratio": ratio(
                warm.grown.get("prefix_hits_tokens"), warm.grown.get("prefix_queries_tokens")
            ),
            "revisit_offload_hit_ratio": ratio(hits, warm.grown.get("offload_queries_tokens")),
            "revisit_cold_total_tokens_per_s": cold.tokens_per_s,
            "revisit_total_tokens_per_s": warm.tokens_per_s,
            "offload_hit_tokens_per_gib": ratio(hits, context.offload_gib),
        }
        findings.notes.append(
            f"re-visit: {size.documents} documents of {size.document_tokens} tokens, "
            f"{size.documents * size.document_tokens / size.kv_tokens:.2f} times the GPU's KV cache"
        )

    async def _passes(
        self, context: ProbeContext, asker: Asker, size: "RevisitSize"
    ) -> tuple["_Pass", "_Pass"]:
        """Both passes; where the client could not carry one, both again with other documents.

        The same documents again would be in the caches, and the first pass no longer cold.
        """
        reason = ""
        for attempt in range(LOAD_ATTEMPTS):
            cold = await self._pass(context, asker, size, "first", attempt)
            reason = cold.client_bound or ""
            if reason:
                continue
            warm = await self._pass(context, asker, size, "second", attempt)
            reason = warm.client_bound or ""
            if not reason:
                return cold, warm
        raise asker.client_bound(reason)

    @staticmethod
    async def _pass(
        context: ProbeContext, asker: Asker, size: "RevisitSize", which: str, attempt: int
    ) -> "_Pass":
        requests = [
            asker.request(
                f"revisit-{which}-{attempt}-{index}",
                [
                    asker.segment(size.document_tokens, "document", attempt, index),
                    asker.segment(_TAIL_TOKENS, "question", which, attempt, index),
                ],
                output_tokens=_OUTPUT_TOKENS,
            )
            for index in range(size.documents)
        ]
        before = await asker.gauges()
        result = await asker.load_once(
            LoadPlan(
                requests=tuple(requests),
                concurrency=size.concurrency,
                deadline_s=context.workload.probe_timeout_s,
            )
        )
        grown = _grown(before, await asker.gauges())
        window = measured_window(result.records, closed=True)
        rate = None if window is None else total_tokens_per_s(result.records, window)
        return _Pass(
            records=result.records,
            grown=grown,
            tokens_per_s=rate,
            client_bound=result.client_bound,
        )


@dataclass(frozen=True, kw_only=True)
class _Pass:
    records: Sequence[RequestRecord]
    grown: Counters
    tokens_per_s: float | None
    client_bound: str | None


@dataclass(frozen=True, kw_only=True)
class RevisitSize:
    """How much is re-visited."""

    documents: int
    document_tokens: int
    kv_tokens: int
    concurrency: int


def revisit_size(context: ProbeContext) -> RevisitSize | str:
    """The size of the re-visit workload, or why there is none."""
    workload, kv_tokens = context.workload, context.applied.kv_cache_tokens
    document = workload.revisit_document_tokens
    longest = longest_request_tokens(context)
    if kv_tokens is None:
        return "re-visit not asked: the server does not say how many tokens its KV cache holds"
    if longest is not None and document + _TAIL_TOKENS + _OUTPUT_TOKENS > longest:
        return f"re-visit not asked: documents of {document} tokens, and {longest} are held"
    wanted = max(2, math.ceil(workload.revisit_over_capacity * kv_tokens / document))
    documents = min(wanted, workload.revisit_max_documents)
    if documents * document <= kv_tokens:
        return (
            f"re-visit not asked: {documents} documents of {document} tokens fit in the KV cache "
            f"of {kv_tokens} (raise workload.revisit_max_documents or revisit_document_tokens)"
        )
    return RevisitSize(
        documents=documents,
        document_tokens=document,
        kv_tokens=kv_tokens,
        concurrency=workload.revisit_concurrency,
    )


def _grown(before: Counters, after: Counters) -> Counters:
    return {
        name: growth(before, after, name)
        for name in (
            "prefix_queries_tokens",
            "prefix_hits_tokens",
            "offload_queries_tokens",
            "offload_hits_tokens",
        )
    }


def _total(grown: Sequence[Counters], name: str) -> float | None:
    values = [value for each in grown if (value := each.get(name)) is not None]
    return sum(values) if values else None
