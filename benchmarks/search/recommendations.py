"""Whole studies, to their recommendation.

Is it ever worse than the default, is the default kept where nothing is better, and how many of
the recommended settings could be taken away without a loss, before and after ablation?

    python -m benchmarks.search.recommendations --studies 200
"""

import argparse
import math
import tempfile
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from autotune.analysis.recommend import recommend
from autotune.clock import VirtualClock
from autotune.errors import NothingFeasibleError
from autotune.paths import StudyPaths
from autotune.records import Configuration, PhaseSpan, TrialKind, TrialRecord
from autotune.seams.engine import Screening, Settled
from autotune.seams.events import ignore
from autotune.seams.trial import TrialRequest
from autotune.store import TrialStore
from autotune.study.ask_tell import AskTell
from autotune.study.loop import run_study
from autotune.study.proposals import Known, proposer_for
from benchmarks.search.problem import Problem, Truth
from benchmarks.search.synthetic import SyntheticProblem


class Flattened(SyntheticProblem):
    """A landscape on which nothing is worth changing: every gain over the default is tiny.

    What a configuration gains or loses in the sum of logarithms is taken out of its throughput,
    up to `STEEPNESS` of it; objectives still trade against each other.
    """

    STEEPNESS = 0.02

    def truth(self, configuration: Configuration) -> Truth:
        """Figures drawn towards the default's."""
        truth, default = super().truth(configuration), super().truth(Configuration())
        if truth.values is None or default.values is None:
            return truth
        pairs = zip(truth.values, default.values, strict=True)
        one, two, three = (d * (v / d) ** self.STEEPNESS for v, d in pairs)
        return replace(truth, values=(one, two, three))


@dataclass
class BenchRunner:
    """Runs trials of a landscape in virtual time."""

    problem: Problem
    clock: VirtualClock
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    async def run(self, request: TrialRequest) -> TrialRecord:
        """Measure with noise."""
        start_ns = self.clock.now_ns()
        await self.clock.sleep(300)
        record = self.problem.measure(request.number, request.configuration, self.rng)
        span = PhaseSpan(name="all", start_ns=start_ns, end_ns=self.clock.now_ns())
        return replace(record, kind=request.kind, label=request.label, phases=(span,))

    def screen(self, configuration: Configuration) -> Screening:
        """The landscape's."""
        return self.problem.screen(configuration)

    def settle(self, configuration: Configuration) -> Settled:
        """Everything can be set."""
        return Settled(configuration=configuration)


@dataclass(frozen=True)
class Verdict:
    """One study's end.

    Attributes:
        gain: True balanced score of the recommendation over the default's (a sum of logs).
        best_gain: The same of the best configuration there is.
        kept: Whether the answer was the default.
        before: What would have been recommended without ablation.
        after: What was.
    """

    seed: int
    gain: float
    best_gain: float
    kept: bool
    before: "Overrides"
    after: "Overrides"


@dataclass(frozen=True)
class Overrides:
    """Recommended settings that differ from the default.

    Attributes:
        gain: True balanced score of all of them over the default's (a sum of logs).
        count: How many there are.
        useless: Those whose removal alone truly loses no more than the noise of one figure.
        ablations: Trials spent on taking settings away.
    """

    gain: float
    count: int
    useless: int
    ablations: int = 0


def study(arguments: tuple[int, bool, int, str, int | None]) -> Verdict | None:
    """Run one study; None where the default itself is not feasible or nothing is."""
    seed, flat, trials, sampler, ablations = arguments
    warnings.simplefilter("ignore")
    problem = (Flattened if flat else SyntheticProblem)(seed)
    default = problem.truth(Configuration())
    if not problem.is_feasible(default) or default.values is None:
        return None
    changes: dict[str, object] = {"sampler": sampler}
    if ablations is not None:
        changes["ablations"] = ablations
    spec = problem.spec.model_copy(
        update={
            "budget": problem.spec.budget.model_copy(update={"trials": trials}),
            "search": problem.spec.search.model_copy(update=changes),
        }
    )
    clock = VirtualClock()
    runner = BenchRunner(problem, clock, np.random.default_rng((seed, 2)))
    with tempfile.TemporaryDirectory() as folder:
        store = TrialStore(StudyPaths(Path(folder) / spec.name))
        proposer = proposer_for(spec, problem.space, Known(prior=problem.prior))
        ask_tell = AskTell(spec, problem.space, store, proposer)
        end = clock.run(run_study(spec, runner=runner, store=store, ask_tell=ask_tell,
                                  observer=ignore, clock=clock))  # fmt: skip
    try:
        chosen = recommend(end.records, spec)
    except NothingFeasibleError:
        return None
    kinds = [r.kind for r in end.records]
    first = kinds.index(TrialKind.ABLATION) if TrialKind.ABLATION in kinds else len(kinds)
    before = recommend(end.records[:first], spec)
    best = max(_score(v) for v in problem.feasible_values()) - _score(default.values)
    after = overrides(problem, chosen.configuration, kinds.count(TrialKind.ABLATION))
    return Verdict(
        seed=seed,
        gain=after.gain,
        best_gain=best,
        kept=chosen.keep_default,
        before=overrides(problem, before.configuration),
        after=after,
    )


def overrides(problem: Problem, chosen: Configuration, ablations: int = 0) -> Overrides:
    """Take each setting away in truth."""
    default = problem.truth(Configuration()).values
    truth = problem.truth(chosen)
    if truth.values is None or default is None:
        return Overrides(-math.inf, len(chosen.items), 0, ablations)
    useless = 0
    for name, _ in chosen.items:
        without = problem.truth(chosen.without(name))
        if problem.is_feasible(without) and without.values is not None:
            useless += _score(without.values) > _score(truth.values) - problem.noise_sd
    gain = _score(truth.values) - _score(default)
    return Overrides(gain, len(chosen.items), useless, ablations)


def _score(values: object) -> float:
    speed, ttft, context = np.asarray(values, dtype=np.float64)
    return float(np.log(speed) - np.log(ttft) + np.log(context))


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--sampler", default="surrogate")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--ablations", type=int, default=None, help="default: the study's own")
    parser.add_argument("--flat", action="store_true", help="nothing is better than the default")
    options = parser.parse_args()
    seeds = range(1000, 1000 + 4 * options.studies)
    jobs = [
        (seed, options.flat, options.trials, options.sampler, options.ablations) for seed in seeds
    ]
    verdicts: list[Verdict] = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for verdict in pool.map(study, jobs, chunksize=1):
            verdicts += [] if verdict is None else [verdict]
            if len(verdicts) >= options.studies:
                pool.shutdown(wait=False, cancel_futures=True)
                break
    noise = SyntheticProblem.noise_sd
    worse = [v for v in verdicts if v.gain < -noise]
    print(f"{len(verdicts)} studies of {options.trials} trials, noise {noise:.0%} per figure")
    print(f"default kept: {Counter(v.kept for v in verdicts)[True]}")
    print(f"recommended worse than the default by more than the noise: {len(worse)}")
    print(f"worst true gain: {min(v.gain for v in verdicts):+.3f} (sum of logarithms)")
    for name, side in (("before", [v.before for v in verdicts]),
                       ("after", [v.after for v in verdicts])):  # fmt: skip
        told = sum(s.count for s in side)
        share = sum(s.useless for s in side) / told if told else 0.0
        print(
            f"{name} ablation: {told / len(side):.2f} settings a study, {share:.0%} of them could "
            f"be taken away, mean true gain {np.mean([s.gain for s in side]):+.3f}"
        )
    print(f"trials of ablation: {np.mean([v.after.ablations for v in verdicts]):.1f} a study")
    reached = [v.gain / v.best_gain for v in verdicts if v.best_gain > noise]
    if reached and not options.flat:
        print(f"median share of the best balanced gain there is: {np.median(reached):.2f}")


if __name__ == "__main__":
    main()
