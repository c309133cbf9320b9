"""Processor time of a proposal in the product's own spaces, with its own prior.

    python -m benchmarks.search.proposal_time

Trials are drawn at random and given the prior's figures with 5% noise: what they are worth does
not matter to how long it takes to learn from them.
"""

import statistics
import time  # noqa: TID251 - a benchmark of the proposals' own cost
from typing import Final

import numpy as np
from optuna.trial import TrialState

from autotune.cli.knowledge import knowledge_for
from autotune.cli.options import load_study
from autotune.cli.running import open_study
from autotune.records import Configuration
from autotune.study.outcomes import Told, constraint_keys
from autotune.study.proposals import Known, proposer_for
from autotune.study.surrogate.candidates import random_configuration

STUDIES: Final = ("default", "rtx5070")
TRIALS: Final = (40, 500)
PROPOSALS: Final = 5


def measure(study: str) -> dict[int, list[float]]:
    """Seconds of the proposals after so many trials; the first, which warms up, is left out."""
    name = {"engine.name": "simulated", "name": "proposal-time"}
    bench = open_study(load_study(study, name)).workbench
    known = knowledge_for(bench, source=None, fresh=True)
    space = bench.space.space
    proposer = proposer_for(bench.spec, space, Known(prior=known.prior, hints=known.hints))
    keys, rng = constraint_keys(bench.spec), np.random.default_rng(0)
    seen: set[Configuration] = set()

    def take(configuration: Configuration) -> None:
        seen.add(configuration)
        predicted = known.prior(configuration) or {}
        values = [predicted.get(o.metric) for o in bench.spec.objectives]
        noisy = tuple(v * float(np.exp(rng.normal(0, 0.05))) for v in values if v is not None)
        if len(noisy) == len(values):
            kept = dict.fromkeys(keys, -1.0)
            told = Told(state=TrialState.COMPLETE, values=noisy, constraints=kept)
            proposer.learn(configuration, told)

    found: dict[int, list[float]] = {}
    for count in TRIALS:
        while len(seen) < count:
            take(random_configuration(space, rng))
        spent = []
        for _ in range(PROPOSALS + 1):
            begun = time.process_time()
            proposed = proposer.propose(seen)
            spent.append(time.process_time() - begun)
            if proposed is not None:
                take(proposed)
        found[count] = spent[1:]
    return found


def main() -> None:
    """Print a Markdown table."""
    print("| study's space | trials | s/proposal, median | longest |\n|---|---|---|---|")
    for study in STUDIES:
        for count, spent in measure(study).items():
            print(f"| {study} | {count} | {statistics.median(spent):.2f} | {max(spent):.2f} |")


if __name__ == "__main__":
    main()
