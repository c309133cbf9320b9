"""How a probe asks: seeds, requests, loads, and what is done about answers that are bad."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Final

from autotune.records import Failure, FailureKind
from autotune.seams.probe import ProbeContext
from autotune.seams.requests import (
    GenerationRequest,
    LoadPlan,
    LoadResult,
    Prompt,
    RequestErrorKind,
    RequestRecord,
    Segment,
)
from autotune.units import NS_PER_MS

_MAX_EVIDENCE: Final = 5
LOAD_ATTEMPTS: Final = 2
_UNAVAILABLE: Final = 503
_LATE: Final = RequestErrorKind.TIMEOUT


class ProbeSkippedError(Exception):
    """Inside probes only: the question cannot be asked of this deployment, and why."""


class ProbeStoppedError(Exception):
    """Inside probes only: the server or the client failed; carries the failure."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def derived_seed(*parts: object) -> int:
    """A seed that two different tuples never share; the same on every machine."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def longest_request_tokens(context: ProbeContext) -> int | None:
    """Prompt and answer together may be so long; None if the server does not say."""
    known = [
        tokens
        for tokens in (context.applied.max_model_len_tokens, context.applied.kv_cache_tokens)
        if tokens is not None
    ]
    return min(known, default=None)


class Asker:
    """Asks on behalf of one probe, and keeps every record.

    A bad answer stops the probe: `ProbeStoppedError` carries the failure by name.

    Args:
        context: Of the probe.
        probe: Its name.
        repetition: Another one has other prompts, which no cache holds.
    """

    def __init__(self, context: ProbeContext, probe: str, *, repetition: int = 0) -> None:
        self._context = context
        self._probe = probe
        self.repetition = repetition
        self._salt = (f"repetition-{repetition}",) if repetition else ()
        self.records: list[RequestRecord] = []

    @property
    def phase(self) -> str:
        """The probe's name as a phase of the trial."""
        return f"probe:{self._probe}"

    def segment(self, tokens: int, *parts: object) -> Segment:
        """A stretch of prompt of this probe's own; `parts` tell it from the probe's others."""
        return Segment(derived_seed(self._context.seed, self._probe, *self._salt, *parts), tokens)

    def request(
        self, request_id: str, segments: Sequence[Segment], *, output_tokens: int
    ) -> GenerationRequest:
        """A synthetic request with an answer of exactly so many tokens."""
        return GenerationRequest(
            request_id=f"{self._probe}-{request_id}",
            prompt=Prompt(segments=tuple(segments)),
            max_tokens=output_tokens,
            timeout_s=self._context.workload.request_timeout_s,
        )

    async def attempt(self, request: GenerationRequest) -> RequestRecord:
        """Send one request; a failed one comes back like any other."""
        record = await self._context.client.generate(request)
        self.records.append(record)
        return record

    async def one(self, request: GenerationRequest) -> RequestRecord:
        """Send one request and have it answered.

        Raises:
            ProbeStoppedError: If it was not.
        """
        record = await self.attempt(request)
        await self.check([record])
        return record

    async def load(self, plan: Callable[[int], LoadPlan]) -> LoadResult:
        """Send a load; if the client could not carry it, once more with other prompts.

        Args:
            plan: Gives the load for an attempt's number.

        Raises:
            ProbeStoppedError: If a request failed, or the client set the figures twice.
        """
        reason = ""
        for attempt in range(LOAD_ATTEMPTS):
            result = await self.load_once(plan(attempt))
            if result.client_bound is None:
                return result
            reason = result.client_bound
        raise self.client_bound(reason)

    async def load_once(self, plan: LoadPlan) -> LoadResult:
        """Send a load; the caller looks whether the client could carry it.

        Raises:
            ProbeStoppedError: If a request failed and the client is not to blame.
        """
        result = await self._context.load.run(self.tolerant(plan))
        self.records.extend(result.records)
        await self.check(result.records, client_bound=result.client_bound)
        return result

    def client_bound(self, reason: str) -> ProbeStoppedError:
        """What ends a probe whose every load was more than the client could carry."""
        return ProbeStoppedError(
            Failure(
                kind=FailureKind.CLIENT_BOUND,
                phase=self.phase,
                message=f"the load generator set the figures, not the server: {reason}",
            )
        )

    def tolerant(self, plan: LoadPlan) -> LoadPlan:
        """A load with the client's lag that the study allows."""
        allowed_ms = self._context.workload.client_lag_ms
        if allowed_ms is None:
            return plan
        return replace(plan, max_client_lag_ns=round(allowed_ms * NS_PER_MS))

    async def gauges(self) -> Mapping[str, float | None]:
        """The engine's counters now; empty where it has none."""
        if self._context.gauges is None:
            return {}
        answer = await self._context.client.get("/metrics")
        return {} if answer is None or answer.status != 200 else self._context.gauges(answer.text)

    async def check(
        self, records: Sequence[RequestRecord], *, client_bound: str | None = None
    ) -> None:
        """Stop at failed requests, unless the client itself is to blame for them.

        A late client makes requests time out. Where each one failed, and in another way, the
        server is to blame: the client is busy because it fails so fast.

        Raises:
            ProbeStoppedError: Naming the failure.
        """
        failed = [record for record in records if record.error is not None]
        not_late = [r for r in failed if r.error is not None and r.error.kind is not _LATE]
        if failed and (client_bound is None or len(not_late) == len(records)):
            raise ProbeStoppedError(await self._why(records, failed))

    async def _why(
        self, records: Sequence[RequestRecord], failed: Sequence[RequestRecord]
    ) -> Failure:
        health = await self._context.client.get("/health")
        gone = health is None or health.status == _UNAVAILABLE
        kinds = failures_by_kind(failed)
        only_timeouts = set(kinds) == {RequestErrorKind.TIMEOUT.value}
        if only_timeouts and (health is None or len(failed) == len(records)):
            kind = FailureKind.HUNG
        elif gone:
            kind = FailureKind.DIED_UNDER_LOAD
        elif set(kinds) == {RequestErrorKind.WRONG_LENGTH.value}:
            # It answers, but not what was asked: a truncated prompt, a cut answer.
            kind = FailureKind.WRONG_ANSWERS
        else:
            kind = FailureKind.REQUESTS_FAILED
        counts = ", ".join(f"{count} {name}" for name, count in kinds.items())
        return Failure(
            kind=kind,
            phase=self.phase,
            message=f"{len(failed)} of {len(records)} requests failed: {counts}",
            evidence=_distinct_messages(failed),
        )


def failures_by_kind(records: Sequence[RequestRecord]) -> dict[str, int]:
    """Error kind to count, the most frequent first."""
    counts = Counter(r.error.kind.value for r in records if r.error is not None)
    return dict(counts.most_common())


def growth(
    before: Mapping[str, float | None], after: Mapping[str, float | None], name: str
) -> float | None:
    """How much a counter of the server grew; None where it is not to be had."""
    first, last = before.get(name), after.get(name)
    return None if first is None or last is None else last - first


def ratio(part: float | None, whole: float | None) -> float | None:
    """Part / whole; None if either is missing or there is no whole."""
    return None if part is None or not whole else part / whole


def _distinct_messages(failed: Sequence[RequestRecord]) -> tuple[str, ...]:
    messages = dict.fromkeys(
        f"{r.error.kind.value}: {r.error.message}" for r in failed if r.error is not None
    )
    return tuple(messages)[:_MAX_EVIDENCE]
