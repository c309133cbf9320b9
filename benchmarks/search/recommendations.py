"""Whole studies, to their recommendation.

Is it ever worse than the default, is the default kept where nothing is better, is a gain that
there is found, and how many of the recommended settings could be taken away without a loss,
before and after ablation?

    python -m benchmarks.search.recommendations --studies 200 --name recommended
    python -m benchmarks.search.recommendations --studies 200 --flat --name flat
    python -m benchmarks.search.recommendations --studies 100 --gain 0.10 --name gain-10

Each writes `benchmarks/search/results/recommendations-NAME.json`;
`python -m benchmarks.search.recommendations --table` makes the table of docs/search.md of them.
"""

import argparse
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autotune.analysis.measurements import PROVING
from autotune.analysis.recommend import recommend
from autotune.errors import NothingFeasibleError
from autotune.records import Configuration, TrialKind, TrialRecord
from autotune.store.codec import decode, encode
from benchmarks.search.problem import Problem
from benchmarks.search.studies import whole_study
from benchmarks.search.tempered import TemperedProblem, scores
from benchmarks.search.verdicts import Overrides, Run, Verdict, told, write_table

FIRST_SEED = 1000


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One study to run.

    Attributes:
        gain: What the best configuration truly gains; 0 for a flat landscape, None for one as it
            was drawn.
        ablations: None for the study's own.
        searches: Folder of trials that were searched before; None to search.
    """

    seed: int
    gain: float | None
    trials: int
    sampler: str
    ablations: int | None
    searches: Path | None


def study(asked: Asked) -> Verdict | None:
    """Run one study; None where the default itself is not feasible, or the study gave up."""
    warnings.simplefilter("ignore")
    problem = TemperedProblem(asked.seed, asked.gain)
    default = problem.truth(Configuration())
    if not problem.is_feasible(default) or default.values is None:
        return None
    changes: dict[str, object] = {"sampler": asked.sampler}
    if asked.ablations is not None:
        changes["ablations"] = asked.ablations
    spec = problem.spec.model_copy(
        update={
            "budget": problem.spec.budget.model_copy(update={"trials": asked.trials}),
            "search": problem.spec.search.model_copy(update=changes),
        }
    )
    known = _kept(asked)
    try:
        records = whole_study(problem, spec, seed=asked.seed, records=known)
        chosen = recommend(records, spec)
    except NothingFeasibleError:
        return None
    if not known:
        _keep(asked, records)
    kinds = [r.kind for r in records]
    first = kinds.index(TrialKind.ABLATION) if TrialKind.ABLATION in kinds else len(kinds)
    before = recommend(records[:first], spec)
    gains = scores(problem.feasible_values()) - scores(np.asarray([default.values]))
    after = overrides(problem, chosen.configuration, kinds.count(TrialKind.ABLATION))
    return Verdict(
        seed=asked.seed,
        gain=after.gain,
        best_gain=float(gains.max()),
        kept=chosen.keep_default,
        before=overrides(problem, before.configuration),
        after=after,
    )


def _file(asked: Asked) -> Path | None:
    if asked.searches is None:
        return None
    kind = "drawn" if asked.gain is None else f"gain-{asked.gain:g}"
    return asked.searches / f"{kind}-{asked.sampler}-{asked.trials}-{asked.seed}.txt"


def _kept(asked: Asked) -> tuple[TrialRecord, ...]:
    """What was searched before; a rule that is held against it spends no time on the search."""
    file = _file(asked)
    if file is None or not file.exists():
        return ()
    texts = file.read_text(encoding="utf-8").split("\0")
    return tuple(decode(text, where=str(file)) for text in texts)


def _keep(asked: Asked, records: tuple[TrialRecord, ...]) -> None:
    file = _file(asked)
    if file is not None:
        searched = itertools.takewhile(lambda r: r.kind not in PROVING, records)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\0".join(map(encode, searched)), encoding="utf-8")


def overrides(problem: Problem, chosen: Configuration, ablations: int = 0) -> Overrides:
    """Take each setting away in truth."""
    default = problem.truth(Configuration()).values
    truth = problem.truth(chosen)
    if truth.values is None or default is None:
        return Overrides(
            gain=-math.inf, count=len(chosen.items), useless=0, in_vain=0, ablations=ablations
        )
    mine, theirs = scores(np.asarray([truth.values, default]))
    useless = in_vain = 0
    for name, _ in chosen.items:
        without = problem.truth(chosen.without(name))
        if problem.is_feasible(without) and without.values is not None:
            left = float(scores(np.asarray([without.values]))[0])
            useless += left > mine - problem.noise_sd
            in_vain += left >= mine - 1e-9
    return Overrides(
        gain=float(mine - theirs),
        count=len(chosen.items),
        useless=int(useless),
        in_vain=int(in_vain),
        ablations=ablations,
    )


def run(asked: Iterable[Asked], studies: int, jobs: int) -> Iterator[Verdict]:
    """So many studies, of the seeds whose default runs."""
    with ProcessPoolExecutor(jobs) as pool:
        found = (v for v in pool.map(study, asked, chunksize=1) if v is not None)
        yield from itertools.islice(found, studies)
        pool.shutdown(wait=False, cancel_futures=True)


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--sampler", default="surrogate")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--ablations", type=int, default=None, help="default: the study's own")
    parser.add_argument("--flat", action="store_true", help="nothing is better than the default")
    parser.add_argument("--gain", type=float, default=None, help="of the best, 0.1 for 10%%")
    parser.add_argument("--searches", type=Path, default=None, help="keep searches in this folder")
    parser.add_argument("--name", default=None, help="write the results under this name")
    parser.add_argument("--table", action="store_true", help="make the table of what was written")
    options = parser.parse_args()
    if options.table:
        print(write_table())
        return
    gain = 0.0 if options.flat else options.gain
    seed = Asked(
        seed=FIRST_SEED,
        gain=gain,
        trials=options.trials,
        sampler=options.sampler,
        ablations=options.ablations,
        searches=options.searches,
    )
    seeds = range(FIRST_SEED, FIRST_SEED + 4 * options.studies)
    asked = [replace(seed, seed=number) for number in seeds]
    verdicts = tuple(run(asked, options.studies, options.jobs))
    found = Run(
        name=options.name or "unnamed",
        trials=options.trials,
        gain=gain,
        noise=TemperedProblem.noise_sd,
        verdicts=verdicts,
    )
    print(told(found))
    if options.name:
        found.write()


if __name__ == "__main__":
    main()
