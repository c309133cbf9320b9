"""Compare search strategies on many landscapes; every figure of docs/search.md comes from here.

python -m benchmarks.search.run --seeds 20 --trials 40
"""

import argparse
import importlib.util
import json
import time  # noqa: TID251 - a benchmark of the proposals' own cost
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from autotune.records import Configuration, FailureKind, OutcomeStatus, TrialRecord
from autotune.study.outcomes import told_as
from benchmarks.search.problem import FAILED_S, PROBES_S, START_S, Problem
from benchmarks.search.simulated import SimulatedProblem
from benchmarks.search.strategies import STRATEGIES
from benchmarks.search.synthetic import SyntheticProblem
from benchmarks.search.traces import Trace, read_traces, summary


@dataclass(frozen=True)
class Job:
    """One run: a strategy on a landscape."""

    strategy: str
    landscape: str
    seed: int
    trials: int
    patience: int
    efficiency: float
    missing: int


NEAR = 0.95
"""Share of the front's hypervolume at which a patient strategy ends."""
LANDSCAPES = {"synthetic": SyntheticProblem, "simulated": SimulatedProblem}


def play(job: Job) -> Trace:
    """Run a strategy on a landscape.

    A patient one goes on after the trials that all have, until it is near the front or at the end
    of its patience.
    """
    warnings.simplefilter("ignore")
    strategy = STRATEGIES[job.strategy]
    problem: Problem = LANDSCAPES[job.landscape](
        job.seed, efficiency=job.efficiency, missing=job.missing
    )
    rng = np.random.default_rng((job.seed, 1))
    proposer = strategy.make(problem)
    queue = list(dict.fromkeys([Configuration(), *strategy.first(problem)]))
    seen: set[Configuration] = set()
    found: list[np.ndarray] = []
    trace = Trace(job.strategy, job.seed, [], [], [], [])
    patience = max(job.trials, job.patience if strategy.patient else 0)
    while len(trace.shares) < patience:
        if len(trace.shares) >= job.trials and trace.shares[-1] >= NEAR:
            break
        begun = time.process_time()
        configuration = queue.pop(0) if queue else proposer.propose(seen)
        trace.proposal_s.append(time.process_time() - begun)
        if configuration is None:
            break
        seen.add(configuration)
        if strategy.screened and (failure := problem.screen(configuration).failure) is not None:
            record = problem.record(len(seen), configuration, OutcomeStatus.SCREENED, failure)
            proposer.learn(configuration, told_as(record, problem.spec))
            continue
        record = problem.measure(len(trace.shares), configuration, rng)
        proposer.learn(configuration, told_as(record, problem.spec))
        losses = problem.true_losses(configuration)
        if losses is not None and record.outcome.status is not OutcomeStatus.FAILED:
            found.append(losses)
        note(trace, record, problem.volume(np.asarray(found)) / problem.best)
    return trace


def note(trace: Trace, record: TrialRecord, share: float) -> None:
    """Add a trial to a trace."""
    failure = record.outcome.failure
    died = failure is not None and failure.kind is not FailureKind.LIMIT_MISSED
    trace.shares.append(share)
    spent = trace.gpu_s[-1] if trace.gpu_s else 0.0
    trace.gpu_s.append(spent + (FAILED_S if died else START_S + PROBES_S))
    trace.died.append(failure.kind.value if failure is not None and died else "")


def runnable() -> list[str]:
    """Every strategy that what is installed here can run."""
    lacking = importlib.util.find_spec("torch") is None
    return [name for name in STRATEGIES if not (lacking and name.startswith("GP"))]


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--landscape", choices=sorted(LANDSCAPES), default="synthetic")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--patience", type=int, default=160, help="trials of the patient ones")
    parser.add_argument("--strategies", nargs="*", default=runnable())
    parser.add_argument("--efficiency", type=float, default=0.4)
    parser.add_argument("--missing", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON lines; the same command goes on with it")
    options = parser.parse_args()
    jobs = [
        Job(
            strategy=name,
            landscape=options.landscape,
            seed=seed,
            trials=options.trials,
            patience=options.patience,
            efficiency=options.efficiency,
            missing=options.missing,
        )
        for seed in range(options.first_seed, options.first_seed + options.seeds)
        for name in options.strategies
    ]
    traces = [] if options.out is None else read_traces(options.out)
    done = {(t.strategy, t.seed) for t in traces}
    left = [job for job in jobs if (job.strategy, job.seed) not in done]
    with ProcessPoolExecutor(options.jobs) as pool:
        for trace in pool.map(play, left, chunksize=1):
            traces.append(trace)
            if options.out is not None:
                with options.out.open("a") as file:
                    file.write(json.dumps(asdict(trace)) + "\n")
    marks = [m for m in (10, 20, 40, 80) if m <= options.trials]
    shown = [t for name in options.strategies for t in traces if t.strategy == name]
    print(summary(shown, marks))


if __name__ == "__main__":
    main()
