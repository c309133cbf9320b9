"""Processor time of a proposal in the product's own spaces, with its own prior.

    python -m benchmarks.search.proposal_time

Trials are drawn at random and given the prior's figures with 5% noise: what they are worth does
not matter to how long it takes to learn from them.
"""

import statistics
import time  # noqa: TID251 - a benchmark of the proposals' own cost
from collections.abc import Mapping, Sequence
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
ASKED_S: Final = {40: 0.5, 500: 2.0}
"""Trials to what a proposal may take after them, seconds."""
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
    for count in ASKED_S:
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


def table(found: Mapping[str, Mapping[int, Sequence[float]]]) -> str:
    """Markdown: a row for each space and number of trials."""
    lines = [
        f"| study's space | trials | median | longest of {PROPOSALS} | asked |",
        "|---|---|---|---|---|",
    ]
    for study, counts in found.items():
        for count, spent in counts.items():
            middle, longest = f"{statistics.median(spent):.2f}", f"{max(spent):.2f}"
            lines.append(f"| {study} | {count} | {middle} | {longest} | under {ASKED_S[count]:g} |")
    return "\n".join(lines)


def main() -> None:
    """Print a Markdown table."""
    print(table({study: measure(study) for study in STUDIES}))


if __name__ == "__main__":
    main()
