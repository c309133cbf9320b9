"""Test 4: long prompts, up to what the deployment holds."""

from collections.abc import Iterable, Sequence
from typing import Final

from autotune.load.formulas import decode_tokens_per_s, median, prefill_tokens_per_s, ttfts_ns
from autotune.metrics import METRICS
from autotune.probes.asking import Asker, ProbeSkippedError, longest_request_tokens
from autotune.probes.base import BaseProbe, Findings
from autotune.seams.probe import ProbeContext
from autotune.seams.requests import RequestRecord

_TAGS: Final = tuple(tag for tag, metric in METRICS.items() if metric.probe == "long_context")


_WARM_UP: Final = -1


class LongContextProbe(BaseProbe):
    """Sends prompts of 8K, 16K and 32K tokens, one at a time, none seen before."""

    name = "long_context"
    test = 4
    metrics = _TAGS

    async def ask(self, context: ProbeContext, asker: Asker) -> Findings:
        """See `BaseProbe.ask`."""
        workload, longest = context.workload, longest_request_tokens(context)
        output_tokens = workload.long_context_output_tokens
        findings = Findings()
        reached = 0
        for rung in sorted(workload.long_context_tokens):
            if longest is not None and rung > longest:
                findings.notes.append(
                    f"{rung} tokens not asked: this deployment holds {longest} at most"
                )
                continue
            # A rung that just fits leaves the answer its room.
            prompt_tokens = rung if longest is None else min(rung, longest - output_tokens)
            if prompt_tokens < 1:
                continue
            if prompt_tokens < rung:
                findings.notes.append(f"{rung} tokens are {prompt_tokens} and the answer")
            if not reached:
                # The first prompt of such a length pays for kernels that are compiled once.
                await self._asked(asker, rung, prompt_tokens, output_tokens, _WARM_UP)
            records = [
                await self._asked(asker, rung, prompt_tokens, output_tokens, repeat)
                for repeat in range(workload.long_context_repeats)
            ]
            add_rung(findings, rung, records)
            reached = max(reached, prompt_tokens)
        if not reached:
            message = f"no prompt of the ladder fits: this deployment holds {longest} tokens"
            raise ProbeSkippedError(message)
        findings.metrics["longest_prompt_tokens"] = reached
        return findings

    @staticmethod
    async def _asked(
        asker: Asker, rung: int, prompt_tokens: int, output_tokens: int, repeat: int
    ) -> RequestRecord:
        segment = asker.segment(prompt_tokens, rung, repeat)
        request = asker.request(f"{rung}-{repeat}", [segment], output_tokens=output_tokens)
        return await asker.one(request)


def add_rung(findings: Findings, rung: int, records: Sequence[RequestRecord]) -> None:
    """The figures of one length, under its tags if it has any (8K, 16K, 32K)."""
    name = f"{rung // 1024}k" if rung % 1024 == 0 else str(rung)
    figures = {
        f"ttft_{name}_ns": [float(t) for t in ttfts_ns(records)],
        f"prefill_{name}_tokens_per_s": _known(prefill_tokens_per_s(r) for r in records),
        f"decode_{name}_tokens_per_s": _known(decode_tokens_per_s(r) for r in records),
    }
    for tag, values in figures.items():
        if not values:
            continue
        if tag in METRICS:
            findings.metrics[tag] = median(values)
            findings.samples[tag] = tuple(values)
        else:
            findings.notes.append(f"{tag}: {median(values):.0f}")


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
