"""The load of test 3, from the workload: synthetic, a data set, or a trace; without warm-up."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from autotune.load.arrivals import arrival_offsets_ns
from autotune.load.datasets import read_dataset
from autotune.load.trace import is_trace, read_trace
from autotune.probes.asking import LOAD_ATTEMPTS, Asker, ProbeSkippedError, derived_seed
from autotune.seams.probe import ProbeContext
from autotune.seams.requests import GenerationRequest, LoadPlan, Prompt


def traffic(context: ProbeContext, asker: Asker, attempt: int) -> LoadPlan:
    """The load to send; other prompts for each attempt.

    Raises:
        ProbeSkippedError: If the workload asks for a rate without saying which.
        SpecError: If its file cannot be read.
    """
    workload = context.workload
    path = Path(workload.dataset) if workload.dataset is not None else None
    turn = asker.repetition * LOAD_ATTEMPTS + attempt
    if path is not None and is_trace(path):
        return _replay(context, path, turn)
    if path is not None:
        requests = _from_dataset(context, path, turn)
    else:
        requests = synthetic_requests(context, asker, workload.requests, attempt)
    plan = LoadPlan(
        requests=tuple(requests),
        concurrency=workload.concurrency,
        deadline_s=workload.probe_timeout_s,
    )
    return plan if workload.arrival == "closed" else _paced(context, plan, turn)


def synthetic_requests(
    context: ProbeContext, asker: Asker, count: int, *parts: object
) -> list[GenerationRequest]:
    """Requests of the workload's lengths, no two with a common prefix."""
    return [
        asker.request(
            "-".join(str(part) for part in (*parts, index)),
            [asker.segment(context.workload.prompt_tokens, *parts, index)],
            output_tokens=context.workload.output_tokens,
        )
        for index in range(count)
    ]


def _paced(context: ProbeContext, plan: LoadPlan, turn: int) -> LoadPlan:
    workload = context.workload
    if workload.rate_requests_per_s is None:
        message = f"arrival {workload.arrival!r} needs workload.rate_requests_per_s"
        raise ProbeSkippedError(message)
    offsets = arrival_offsets_ns(
        workload.arrival,
        rate_requests_per_s=workload.rate_requests_per_s,
        count=len(plan.requests),
        seed=derived_seed(context.seed, "arrivals", turn),
        burstiness=workload.burstiness,
    )
    return replace(plan, offsets_ns=offsets)


def _from_dataset(context: ProbeContext, path: Path, turn: int) -> Sequence[GenerationRequest]:
    """The file's prompts in their order, from the start again where it is too short.

    A repeated load goes on where the one before ended, for a cache may hold what was sent.
    """
    workload, entries = context.workload, read_dataset(path)
    return [
        GenerationRequest(
            request_id=f"throughput-{index}",
            prompt=Prompt(text=entry.prompt, chat=entry.chat),
            max_tokens=entry.output_tokens or workload.output_tokens,
            timeout_s=workload.request_timeout_s,
        )
        for index in range(workload.requests)
        for entry in (entries[(turn * workload.requests + index) % len(entries)],)
    ]


def _replay(context: ProbeContext, path: Path, turn: int) -> LoadPlan:
    workload = context.workload
    entries = read_trace(path, seed=derived_seed(context.seed, "trace", turn))
    entries = entries[: workload.requests]
    return LoadPlan(
        requests=tuple(
            GenerationRequest(
                request_id=f"throughput-{index}",
                prompt=Prompt(segments=entry.segments),
                max_tokens=entry.output_tokens,
                timeout_s=workload.request_timeout_s,
            )
            for index, entry in enumerate(entries)
        ),
        concurrency=workload.concurrency,
        offsets_ns=tuple(entry.offset_ns for entry in entries),
        deadline_s=workload.probe_timeout_s,
    )
