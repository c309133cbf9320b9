"""Proposals of the surrogate sampler."""

import math

import numpy as np
import pytest
from optuna.trial import TrialState

from autotune.records import Configuration
from autotune.study.outcomes import Told, constraint_keys
from autotune.study.surrogate import proposer
from autotune.study.surrogate.candidates import pool
from autotune.study.surrogate.gaussian_process import GaussianProcess
from autotune.study.surrogate.model import ObjectiveModel
from autotune.study.surrogate.proposer import SurrogateProposer
from tests.unit.study.fakes import SPACE, measured, study_spec

SPEC = study_spec()
KEYS = constraint_keys(SPEC)
WATCHED = SPEC.objectives[0].metric


def told(configuration: Configuration) -> Told:
    """A measured trial of the made-up landscape."""
    metrics = measured(configuration)
    values = tuple(float(metrics[o.metric] or 0) for o in SPEC.objectives)
    return Told(state=TrialState.COMPLETE, values=values, constraints=dict.fromkeys(KEYS, -1.0))


def run(proposer: SurrogateProposer, trials: int) -> list[Configuration]:
    """Ask and tell so often."""
    seen: list[Configuration] = []
    for _ in range(trials):
        configuration = proposer.propose(set(seen))
        assert configuration is not None
        seen.append(configuration)
        proposer.learn(configuration, told(configuration))
    return seen


def test_proposals_are_new_and_allowed() -> None:
    """Nothing twice, and nothing that the space refuses."""
    seen = run(SurrogateProposer(SPEC, SPACE), 14)
    assert len(set(seen)) == 14
    assert all(SPACE.refusal(c) is None for c in seen)


def test_the_same_seed_proposes_the_same() -> None:
    """A study can be repeated."""
    assert run(SurrogateProposer(SPEC, SPACE), 11) == run(SurrogateProposer(SPEC, SPACE), 11)


def test_a_good_prior_is_followed_at_once() -> None:
    """With a right model of the engine the third trial is on or near the true front."""

    def prior(configuration: Configuration) -> dict[str, float]:
        return {tag: float(value or 0) for tag, value in measured(configuration).items()}

    seen = run(SurrogateProposer(SPEC, SPACE, prior), 5)
    best = max((measured(c)["context_capacity_tokens"] or 0) for c in seen[2:])
    assert best >= 0.9 * (0.96 - 0.5) * 1e5 * 2


def test_a_prior_that_knows_nothing_is_survived() -> None:
    """None for every configuration is the same as no prior."""
    seen = run(SurrogateProposer(SPEC, SPACE, lambda _c: None), 12)
    assert len(set(seen)) == 12


@pytest.mark.parametrize("informed", [False, True])
def test_failures_alone_are_learnt_from(informed: bool) -> None:
    """Nothing but out-of-memory so far: it goes on, and away from what failed."""

    def prior(configuration: Configuration) -> dict[str, float]:
        figures = {tag: float(value or 0) for tag, value in measured(configuration).items()}
        return {**figures, "gpu_margin_gib": 0.5}

    proposer = SurrogateProposer(SPEC, SPACE, prior if informed else None)
    seen = set()
    for _ in range(10):
        configuration = proposer.propose(seen)
        assert configuration is not None
        seen.add(configuration)
        share = float(configuration.values.get("gpu_memory_utilization", 0.9))
        short = {**dict.fromkeys(KEYS, 0.0), "gpu_memory": (share - 0.79) * 10}
        proposer.learn(configuration, Told(state=TrialState.PRUNED, values=None, constraints=short))
    shares = [float(c.values["gpu_memory_utilization"]) for c in seen]
    assert min(shares) == 0.8


def test_a_host_fault_teaches_nothing() -> None:
    """A failed trial leaves the proposer as it was."""
    one, other = SurrogateProposer(SPEC, SPACE), SurrogateProposer(SPEC, SPACE)
    run(one, 9)
    run(other, 9)
    failed = Told(state=TrialState.FAIL, values=None, constraints=dict.fromkeys(KEYS, 0.0))
    one.learn(Configuration.of({"max_num_seqs": 16}), failed)
    assert one.propose(set()) == other.propose(set())


def test_a_spent_space_has_no_proposal() -> None:
    """When every configuration has been seen the answer is None."""
    small = SPACE.without("gpu_memory_utilization", "kv_offload_gib", "max_num_batched_tokens")
    proposer = SurrogateProposer(SPEC, small)
    seen = set()
    while (configuration := proposer.propose(seen)) is not None:
        seen.add(configuration)
        proposer.learn(configuration, told(configuration))
    assert len(seen) == 4 * 3  # max_num_seqs times (default dtype, fp8, fp8 with block 16)


def test_a_gaussian_process_learns_a_line() -> None:
    """Between points it interpolates, far from them it is uncertain."""
    rows = np.linspace(0, 0.5, 12)[:, None]
    model = GaussianProcess(noise_sd=0.05, signal_sd=1.0)
    model.fit(rows, 2 * rows[:, 0])
    mean, deviation = model.predict(np.asarray([[0.27], [1.0]]))
    assert mean[0] == pytest.approx(0.54, abs=0.05)
    assert deviation[1] > 3 * deviation[0]


def test_leave_one_out_is_what_leaving_one_out_gives() -> None:
    """The closed form equals fitting without a point, hyperparameters held."""
    rng = np.random.default_rng(2)
    rows, targets = rng.random((9, 2)), rng.normal(size=9)
    model = GaussianProcess(noise_sd=0.1, signal_sd=1.0)
    model.fit(rows, targets, tune=False)
    mean, deviation, _ = model.leave_one_out()
    rest = GaussianProcess(noise_sd=0.1, signal_sd=1.0)
    rest.fit(rows[1:], targets[1:], tune=False)
    expected, spread = rest.predict(rows[:1])
    assert mean[0] == pytest.approx(expected[0], abs=1e-5)
    assert deviation[0] == pytest.approx(math.sqrt(spread[0] ** 2 + 0.01), rel=1e-4)


def test_a_wrong_prior_is_dropped() -> None:
    """Where the prior is noise the objective follows the trials; where it is right, the prior."""
    rng = np.random.default_rng(4)
    rows = rng.random((30, 3))
    truth = 2 * rows[:, 0] - rows[:, 1]
    rough = truth + 0.5 * np.sin(9 * rows[:, 2])
    model = ObjectiveModel()
    model.fit(rows, truth, rng.normal(0, 3, 30), tune=True)
    assert not model.uses_prior
    model.fit(rows, rough, rough + 0.01 * rng.normal(size=30), tune=True)
    assert model.uses_prior


def test_hints_come_first_where_nothing_is_known() -> None:
    """What did well elsewhere is tried before the space is covered."""
    hints = [Configuration.of({"max_num_seqs": 32}), Configuration.of({"max_num_seqs": 64})]
    allowed = [c for c in hints if SPACE.refusal(c) is None]
    assert run(SurrogateProposer(SPEC, SPACE, hints=hints), 2) == allowed


def test_hints_are_but_candidates_to_a_prior_of_every_objective() -> None:
    """A hint that the prior knows to be poor is not tried first."""

    def prior(configuration: Configuration) -> dict[str, float]:
        return {tag: float(value or 0) for tag, value in measured(configuration).items()}

    poor = min(pool(SPACE, 200, np.random.default_rng(0)), key=lambda c: prior(c)[WATCHED])
    assert run(SurrogateProposer(SPEC, SPACE, prior, hints=[poor]), 1) != [poor]


def test_a_setting_never_tried_stays_uncertain() -> None:
    """That forty trials of other settings varied little says nothing of it."""
    rows = np.zeros((40, 3))
    rows[:, 0] = np.linspace(0, 1, 40)
    process = GaussianProcess(noise_sd=0.01, signal_sd=0.2, effect_sd=0.1)
    process.fit(rows, np.random.default_rng(0).normal(0, 0.01, 40))
    _, deviation = process.predict(np.asarray([[0.5, 0.0, 0.0], [0.5, 1.0, 0.0]]))
    assert deviation[1] > 0.09 > 3 * deviation[0]


def test_trials_without_a_prediction_do_not_cost_an_objective_its_prior() -> None:
    """The engine's model may refuse one configuration that in truth runs."""
    rng = np.random.default_rng(3)
    rows = rng.random((12, 4))
    prior = np.sin(9 * rows[:, 0]) + np.cos(7 * rows[:, 1])
    targets = prior + 0.3
    prior[0] = math.nan
    model = ObjectiveModel()
    model.fit(rows, targets, prior, tune=True)
    assert model.uses_prior


def test_what_it_looked_at_long_ago_is_forgotten_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A long study stays small, and proposes what it would with every neighbour in mind."""
    everything = SurrogateProposer(SPEC, SPACE)
    proposed = run(everything, 14)
    monkeypatch.setattr(proposer, "MOST_KNOWN", 10)
    forgetful = SurrogateProposer(SPEC, SPACE)
    assert run(forgetful, 14) == proposed
    assert len(forgetful._priors) < len(everything._priors)


def test_a_long_study_is_learnt_from_its_first_and_latest_trials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its memory does not grow with the square of the trials, and its proposals stay good."""
    monkeypatch.setattr(proposer, "FIRST_KEPT", 4)
    monkeypatch.setattr(proposer, "LATEST_KEPT", 6)

    seen = run(SurrogateProposer(SPEC, SPACE), 24)

    assert len(set(seen)) == 24
    best = max(measured(c)["context_capacity_tokens"] or 0 for c in seen)
    known = max(
        measured(c)["context_capacity_tokens"] or 0
        for c in pool(SPACE, 10_000, np.random.default_rng(0))
    )
    assert best >= 0.9 * known
