"""Ends trials between two probes once they cannot reach the front any more.

It stands between the loop and the runner, so that neither knows of models: a trial is asked after
each probe whether it is worth going on, and keeps what it has measured.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol, runtime_checkable

from autotune.records import Configuration, TrialKind, TrialRecord
from autotune.seams.engine import Screening, Settled
from autotune.seams.trial import TrialRequest, TrialRunner
from autotune.study.proposals import Proposer


class Hope(Protocol):
    """What is expected of a configuration."""

    def hopeless(self, metrics: Mapping[str, float | None]) -> str | None:
        """Why a trial with these metrics cannot reach the front any more; None if it may."""
        ...


@runtime_checkable
class Foresees(Protocol):
    """A proposer that can say what it expects."""

    def outlook(self, configuration: Configuration) -> Hope | None:
        """What it expects of a configuration; None while it knows too little."""
        ...


class Staged:
    """A runner (`TrialRunner`) whose search trials end early where that costs nothing.

    Only proposals of the search do: the baseline, seeds, finalists and repeats are compared with
    others and measured whole.

    Args:
        inner: Runs the trials.
        proposer: Asked what it expects; one that does not say ends no trial.
    """

    def __init__(self, inner: TrialRunner, proposer: Proposer) -> None:
        self._inner, self._proposer = inner, proposer

    async def run(self, request: TrialRequest) -> TrialRecord:
        """Run a trial, with a way to end it."""
        if request.kind is TrialKind.SEARCH and isinstance(self._proposer, Foresees):
            hope = self._proposer.outlook(request.configuration)
            if hope is not None:
                request = replace(request, hopeless=hope.hopeless)
        return await self._inner.run(request)

    def screen(self, configuration: Configuration) -> Screening:
        """The inner runner's."""
        return self._inner.screen(configuration)

    def settle(self, configuration: Configuration) -> Settled:
        """The inner runner's."""
        return self._inner.settle(configuration)
