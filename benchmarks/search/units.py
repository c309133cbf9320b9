"""Everything that docs/search.md tells, in units of work that hang on nothing else.

A unit is a landscape's table, one strategy on one landscape, a whole study, or the time of a
proposal. Its part is the folder, its name the file, in which its result is kept.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

from benchmarks.search import harms, proposal_time
from benchmarks.search.recommendations import FIRST_SEED, Asked, study
from benchmarks.search.run import Job, play, runnable
from benchmarks.search.simulated import SimulatedProblem

UNUSED_FROM: Final = 200
"""First seed of the landscapes on which nothing was chosen."""
SETS: Final[Mapping[str, tuple[str, int]]] = {
    "synthetic": ("synthetic", 0),
    "simulated": ("simulated", 0),
    "unused": ("synthetic", UNUSED_FROM),
}
"""Set of landscapes to their kind and first seed."""
GAINS: Final[Mapping[str, float | None]] = {
    "flat": 0.0, "drawn": None, "gain-10": 0.10, "gain-20": 0.20, "gain-05": 0.05,
}  # fmt: skip
"""Sort of studies to what the best configuration gains in them (`Asked.gain`)."""
JUDGED: Final = 200
"""Studies of each of the two sorts whose figures are asked for."""
SPARE: Final = 1.2
"""Seeds for each study: the default itself does not run on one landscape of thirteen."""
HARM_TRIALS: Final = (12, 14, 40)
GAUSSIAN: Final = ("GP, median, seeds", "GP, median")
"""Optuna's Gaussian processes that come first, for each takes a minute of a processor; then the
other set-ups."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A piece of work whose result is JSON.

    Attributes:
        do: A function that another process can be handed.
        enough: Results of the part, None aside, after which no more are wanted.
    """

    part: str
    name: str
    do: Callable[[], Any]
    enough: int | None = None


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured.

    Attributes:
        seeds: Landscapes of each set.
        trials: Of a strategy on a landscape.
        patience: Trials of the patient strategies.
        studies: Flat ones, and as many as drawn.
        powered: Studies of each of the given gains.
        study_trials: Budget of each of them.
        harm_seeds: Studies of the simulated engine with each budget.
        strategies: Those that are wanted.
    """

    seeds: int = 20
    trials: int = 40
    patience: int = 400
    studies: int = JUDGED
    powered: int = 35
    study_trials: int = 40
    harm_seeds: int = 12
    strategies: Sequence[str] = tuple(runnable())


def units(size: Size) -> Iterator[Unit]:
    """All of them, what matters most first, and what takes long last."""
    plain = [name for name in size.strategies if not name.startswith("GP")]
    yield from tables(size)
    yield from traces("synthetic", size, plain)
    yield from studies("flat", size.studies, size)
    yield from studies("drawn", size.studies, size)
    yield from traces("simulated", size, plain)
    yield from proposals()
    yield from harmful(size)
    yield from traces("unused", size, plain)
    gaussian = [name for name in size.strategies if name.startswith("GP")]
    first = [name for name in GAUSSIAN if name in gaussian]
    for name in first:
        yield from gaussian_traces(size, name)
    for name in ("gain-20", "gain-10", "gain-05"):
        yield from studies(name, size.powered, size)
    for name in gaussian:
        if name not in first:
            yield from gaussian_traces(size, name)


def tables(size: Size) -> Iterator[Unit]:
    """What the simulated engine does in every cell, made once for all strategies."""
    for seed in range(size.seeds):
        yield Unit(part="tables", name=f"{seed:03}", do=partial(make_table, seed))


def make_table(seed: int) -> list[int]:
    """Configurations of a landscape: feasible ones, all."""
    problem = SimulatedProblem(seed)
    return [len(problem.feasible_values()), len(problem.table)]


def traces(name: str, size: Size, strategies: Sequence[str]) -> Iterator[Unit]:
    """Each strategy on each landscape of a set."""
    landscape, first = SETS[name]
    for seed, strategy in itertools.product(range(first, first + size.seeds), strategies):
        job = Job(
            strategy=strategy,
            landscape=landscape,
            seed=seed,
            trials=size.trials,
            patience=size.patience,
            efficiency=0.4,
            missing=1,
        )
        yield Unit(part=f"traces-{name}", name=f"{strategy} {seed:03}", do=partial(trace, job))


def gaussian_traces(size: Size, strategy: str) -> Iterator[Unit]:
    """One of them on both kinds of landscape, in turn."""
    kinds = (traces(name, size, [strategy]) for name in ("simulated", "synthetic"))
    for pair in zip(*kinds, strict=True):
        yield from pair


def trace(job: Job) -> dict[str, Any]:
    """One strategy on one landscape."""
    return asdict(play(job))


def studies(name: str, count: int, size: Size) -> Iterator[Unit]:
    """Whole studies to their recommendation."""
    for seed in range(FIRST_SEED, FIRST_SEED + round(SPARE * count) + 1):
        asked = Asked(
            seed=seed,
            gain=GAINS[name],
            trials=size.study_trials,
            sampler="surrogate",
            ablations=None,
            searches=None,
        )
        do = partial(verdict, asked)
        yield Unit(part=f"studies-{name}", name=f"{seed:05}", do=do, enough=count)


def verdict(asked: Asked) -> dict[str, Any] | None:
    """One study's budget and end; None where the default does not run."""
    found = study(asked)
    return None if found is None else {"trials": asked.trials, "verdict": asdict(found)}


def harmful(size: Size) -> Iterator[Unit]:
    """Studies of the simulated engine, held against the rule of harm; the longest first."""
    for trials in sorted(HARM_TRIALS, reverse=True):
        for seed in range(11, 11 + size.harm_seeds):
            do = partial(answer, trials, seed)
            yield Unit(part="harms", name=f"{trials:03} {seed:03}", do=do)


def answer(trials: int, seed: int) -> dict[str, Any]:
    """One of them."""
    return asdict(harms.judged("default", trials, seed))


def proposals() -> Iterator[Unit]:
    """The time of a proposal in each of the product's spaces."""
    for name in proposal_time.STUDIES:
        yield Unit(part="proposal-time", name=name, do=partial(proposal_time.measure, name))
