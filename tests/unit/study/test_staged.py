"""A runner between the loop and the trials, which lets hopeless ones end early."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from autotune.records import Configuration, TrialKind, TrialRecord
from autotune.seams.engine import Screening, Settled
from autotune.seams.trial import TrialRequest
from autotune.study.outcomes import told_as
from autotune.study.staged import Staged
from autotune.study.surrogate.proposer import SurrogateProposer
from tests.support.records import record
from tests.unit.study.fakes import SPACE, study_spec
from tests.unit.study.surrogate.test_proposer import run, told

SPEC = study_spec()


class Runner:
    """Keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[TrialRequest] = []

    async def run(self, request: TrialRequest) -> TrialRecord:
        """Some record."""
        self.asked.append(request)
        return record(request.number)

    def screen(self, configuration: Configuration) -> Screening:
        """Everything fits."""
        del configuration
        return Screening()

    def settle(self, configuration: Configuration) -> Settled:
        """Everything can be set."""
        return Settled(configuration=configuration)


class Pessimist:
    """Expects nothing of any configuration."""

    def outlook(self, configuration: Configuration) -> "Pessimist":
        """Itself."""
        del configuration
        return self

    def hopeless(self, metrics: Mapping[str, float | None]) -> str | None:
        """Whatever was measured."""
        return f"seen {len(metrics)}"


def asked_as(kind: TrialKind, proposer: Any) -> TrialRequest:
    """What reaches the runner of a request of this kind."""
    runner = Runner()
    staged = Staged(runner, proposer)
    request = TrialRequest(number=1, kind=kind, configuration=Configuration())
    asyncio.run(staged.run(request))
    return runner.asked[0]


def test_a_search_trial_is_given_a_way_to_end() -> None:
    """The proposer's word, asked with what has been measured."""
    hopeless = asked_as(TrialKind.SEARCH, Pessimist()).hopeless
    assert hopeless is not None
    assert hopeless({"a": 1.0}) == "seen 1"


@pytest.mark.parametrize("kind", [TrialKind.BASELINE, TrialKind.SEED, TrialKind.FINALIST])
def test_what_others_are_compared_with_is_measured_whole(kind: TrialKind) -> None:
    """However poor it is."""
    assert asked_as(kind, Pessimist()).hopeless is None


def test_a_proposer_that_says_nothing_ends_no_trial() -> None:
    """Optuna's samplers have no outlook."""
    assert asked_as(TrialKind.SEARCH, object()).hopeless is None


def test_the_surrogate_gives_up_what_its_trials_have_shown_to_be_poor() -> None:
    """After 20 trials a hundredth of the throughput of the front is hopeless."""
    proposer = SurrogateProposer(SPEC, SPACE)
    assert proposer.outlook(Configuration()) is None
    seen = run(proposer, 20)
    tag = SPEC.objectives[0].metric
    best = max(value for c in seen if (value := (told(c).values or (0.0,))[0]))
    promising = proposer.outlook(seen[-1])
    assert promising is not None
    assert promising.hopeless({tag: best}) is None
    slow = {"max_num_batched_tokens": 128, "max_num_seqs": 16, "gpu_memory_utilization": 0.8}
    poor = proposer.outlook(Configuration.of(slow))
    assert poor is not None
    assert poor.hopeless({tag: best}) is None
    assert poor.hopeless({tag: best / 100}) is not None


def test_a_trial_that_ended_early_teaches_what_it_measured() -> None:
    """Two of three objectives are told; the third is not invented."""
    half = record(3, metrics={"output_tokens_per_s": 500.0, "context_capacity_tokens": 1e5})
    found = told_as(half, SPEC)
    assert found.values is None
    assert found.partial == (500.0, None, 1e5)
