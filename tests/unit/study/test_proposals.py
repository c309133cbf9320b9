"""Optuna's samplers, asked in memory: what they are told must reach them."""

from statistics import mean

from optuna.trial import TrialState

from autotune.records import Configuration
from autotune.spec.space import space_from
from autotune.study.outcomes import START, Told, constraint_keys
from autotune.study.proposals import Proposer, proposer_named
from tests.unit.study.fakes import study_spec

SPEC = study_spec(seed=3)
LETTERS = "abcdef"
SPACE = space_from(
    {"name": "tens", "parameters": {x: {"choices": list(range(10))} for x in LETTERS}},
    where="tens",
)


def total(configuration: Configuration) -> int:
    """Of its six values, each 0 to 9: 27 on the average of random ones."""
    return sum(int(configuration.values[x]) for x in LETTERS)


def grown(proposer: Proposer, trials: int, *, fails_from: int = 10) -> list[Configuration]:
    """Proposals where a greater total is better in every way, and great values of `a` fail."""
    seen: list[Configuration] = []
    for _ in range(trials):
        proposed = proposer.propose(seen)
        assert proposed is not None
        seen.append(proposed)
        score = float(total(proposed))
        kept = dict.fromkeys(constraint_keys(SPEC), -1.0)
        told = Told(state=TrialState.COMPLETE, values=(score, 100 - score, score), constraints=kept)
        if int(proposed.values["a"]) >= fails_from:
            told = Told(state=TrialState.PRUNED, values=None, constraints={**kept, START: 1.0})
        proposer.learn(proposed, told)
    return seen


def test_nsga2_breeds_from_the_better_half_of_what_was_measured() -> None:
    """Ten generations of ten; random search stays at 27."""
    late = grown(proposer_named("nsga2", SPEC, SPACE), 100)[-20:]
    assert mean(total(c) for c in late) > 36
    random = grown(proposer_named("random", SPEC, SPACE), 100)[-20:]
    assert mean(total(c) for c in random) < 31


def test_nsga2_learns_from_what_failed() -> None:
    """Half of the values of `a` fail; of what is bred fewer do, though they look better."""
    late = grown(proposer_named("nsga2", SPEC, SPACE), 100, fails_from=5)[-40:]
    assert sum(int(c.values["a"]) >= 5 for c in late) < 10


def test_trials_that_nsga2_did_not_propose_are_bred_from() -> None:
    """The default and seeds come first in a study; ten good ones make a first generation."""
    proposer = proposer_named("nsga2", SPEC, SPACE)
    kept = dict.fromkeys(constraint_keys(SPEC), -1.0)
    for number in range(10):
        seed = Configuration.of({x: 9 if x != LETTERS[number % 6] else 8 for x in LETTERS})
        proposer.learn(
            seed, Told(state=TrialState.COMPLETE, values=(1.0, 1.0, 1.0), constraints=kept)
        )
    proposed = [proposer.propose([]) for _ in range(20)]
    assert mean(total(c) for c in proposed if c is not None) > 45
