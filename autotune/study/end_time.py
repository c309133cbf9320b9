"""A trial that still runs when the study's time is over is ended, as if it had not been run."""

import asyncio
from dataclasses import replace
from typing import Final

from autotune.records import TrialRecord
from autotune.seams.trial import TrialRequest, TrialRunner
from autotune.spec.study import StudySpec
from autotune.study.synthetic_records import ended_early

OUT_OF_TIME: Final = "the study's time was over"


async def run_within(
    left_s: float | None, runner: TrialRunner, request: TrialRequest, spec: StudySpec
) -> tuple[TrialRecord, bool]:
    """The trial's record, and whether the end of the study's time cut it off.

    The trial is stopped as by Ctrl-C: its server ends and what was measured is kept. An outcome
    that was known by then stands.

    Args:
        left_s: Seconds until the study ends, on the loop's clock; None for no end.
        runner: Runs it.
        request: The trial.
        spec: The study.
    """
    try:
        async with asyncio.timeout(left_s) as bound:
            record = await runner.run(request)
    except TimeoutError:
        return ended_early(spec, request, OUT_OF_TIME), True
    failure = record.outcome.failure
    if not bound.expired() or not record.is_interrupted or failure is None:
        return record, False
    outcome = replace(record.outcome, failure=replace(failure, message=OUT_OF_TIME))
    return replace(record, outcome=outcome), True
