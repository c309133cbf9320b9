"""Test 2: time to first token of one short chat request on an idle server."""

from dataclasses import replace

from autotune.load.formulas import gaps_ns, median, percentile, ttfts_ns
from autotune.probes.asking import Asker
from autotune.probes.base import BaseProbe, Findings
from autotune.seams.probe import ProbeContext
from autotune.seams.requests import GenerationRequest, Prompt, RequestErrorKind


class TtftProbe(BaseProbe):
    """Asks a greeting again and again, one at a time."""

    name = "ttft"
    test = 2
    metrics = ("ttft_short_ns", "ttft_short_p95_ns", "itl_single_ns")

    async def ask(self, context: ProbeContext, asker: Asker) -> Findings:
        """See `BaseProbe.ask`."""
        notes = []
        request = _greeting(context, "warm-up")
        first = await asker.attempt(request)
        chat = True
        if first.error is not None and first.error.kind is RequestErrorKind.STATUS:
            # A model without a chat template: vLLM answers 400.
            chat = False
            asker.records.remove(first)
            await asker.one(_as_text(request))
            notes.append(f"the server refuses chat ({first.error.message}): asked as plain text")
        else:
            await asker.check([first])
        records = []
        for index in range(context.workload.ttft_repeats):
            request = _greeting(context, str(index))
            records.append(await asker.one(request if chat else _as_text(request)))
        ttfts, gaps = ttfts_ns(records), gaps_ns(records)
        return Findings(
            metrics={
                "ttft_short_ns": median(ttfts),
                "ttft_short_p95_ns": percentile(ttfts, 95),
                "itl_single_ns": median(gaps) if gaps else None,
            },
            samples={"ttft_short_ns": tuple(float(t) for t in ttfts)},
            notes=notes,
        )


def _greeting(context: ProbeContext, which: str) -> GenerationRequest:
    return GenerationRequest(
        request_id=f"ttft-{which}",
        prompt=Prompt(text="Hello", chat=True),
        max_tokens=context.workload.ttft_max_tokens,
        timeout_s=context.workload.request_timeout_s,
    )


def _as_text(request: GenerationRequest) -> GenerationRequest:
    return replace(request, prompt=replace(request.prompt, chat=False))
