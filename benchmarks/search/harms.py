"""Whole studies of the simulated engine, to their recommendation: is it ever harmful?

    python -m benchmarks.search.harms --trials 12 14 40 --seeds 11 12 13 14 15 16

Held against the rule of docs/reading-the-report.md ("What it may cost") in every study: what is
worse beside the objectives than the default's by a large factor clearly beyond noise, the worst of
each probe, is less than the objectives gain, unless the default itself is no choice; every large
harm is named with the answer; every setting that is not shown to help, or was not measured alone,
is named where the budget tests none; every proved configuration that was passed over has its
reason. Runs in a scratch folder, 10 to 40 s a study.
"""

import argparse
import itertools
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autotune.analysis.costs import is_large
from autotune.analysis.decision import decide
from autotune.analysis.recommend import Recommendation, recommend
from autotune.analysis.setting_reason import Shown
from autotune.metrics import Direction, metric_named
from autotune.paths import StudyPaths
from autotune.records import TrialRecord
from autotune.report.findings import Findings, findings_of
from autotune.report.verdict import verdict
from autotune.store import TrialStore, read_stored_study


def study(folder: Path, asked: str, trials: int, seed: int) -> StudyPaths:
    """Run one study by its command."""
    name = f"{asked}-{trials}-{seed}"
    command = [sys.executable, "-m", "autotune", "study", asked, "--engine", "simulated"]
    command += ["--trials", str(trials), "--seed", str(seed), "--fresh", "--name", name]
    subprocess.run(command, cwd=folder, env=os.environ, check=True, capture_output=True)
    return StudyPaths(folder / "studies" / name)


def findings(paths: StudyPaths) -> tuple[Findings, Recommendation]:
    """What a study on disk has come to."""
    spec, _ = read_stored_study(paths)
    found = findings_of(spec, TrialStore(paths, spec.name).records(), with_importances=False)
    return found, found.recommendation or recommend(found.records, spec)


def in_full(harms: Mapping[str, float]) -> float:
    """Sum of the worst harm of each probe, logarithms."""
    worst: dict[str, float] = {}
    for tag, ratio in harms.items():
        probe = metric_named(tag).probe
        worst[probe] = max(worst.get(probe, 0.0), _size(ratio))
    return math.fsum(worst.values())


def _size(ratio: float) -> float:
    return abs(math.log(ratio)) if ratio > 0 else math.inf


def gained(chosen: Recommendation) -> Iterator[float]:
    """How many times better each objective is; all weigh the same in these studies."""
    for tag, ratio in chosen.gains.items():
        yield ratio if metric_named(tag).direction is Direction.HIGHER else 1 / ratio


def faults(found: Findings, chosen: Recommendation) -> Iterator[str]:
    """What breaks the rule, a line each."""
    first, second = verdict(found)
    decision = decide(found.records, found.spec)
    if not chosen.keep_default and decision.chooser.baseline is not None:
        harms = decision.chooser.harms(decision.chosen)
        if harms and in_full(harms) >= sum(map(math.log, gained(chosen))):
            named = ", ".join(f"{metric_named(t).title} {r:.2f}" for t, r in harms.items())
            yield f"{named} of the default's is more than is gained, and it is recommended"
    for tag, ratio in chosen.costs.items():
        if not is_large(ratio) or chosen.keep_default:
            continue
        title = metric_named(tag).title
        if title.lower() not in first.lower():
            yield f"{title} {ratio:.2f} of the default's, and the headline has no word of it"
    unproven = [s for s in chosen.settings if s.shown in {Shown.COST, Shown.NOTHING, Shown.UNKNOWN}]
    if unproven and not chosen.keep_default and chosen.unproven not in second:
        yield f"{', '.join(s.parameter for s in unproven)}: unproven, and the verdict is silent"
    told = {p.number for p in chosen.passed}
    for point in chosen.points if chosen.proved else ():
        is_proved = len([n for n in point.numbers if n != point.latest.number]) > 0
        is_answer = point.configuration == chosen.configuration
        is_known = is_answer or _is_default(point.latest, chosen.baseline)
        if is_proved and not is_known and point.latest.number not in told:
            yield f"trial {point.latest.number} was proved and passed over without a reason"


def _is_default(record: TrialRecord, baseline: TrialRecord | None) -> bool:
    return baseline is not None and record.configuration == baseline.configuration


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a study came to.

    Attributes:
        trials: Its budget.
        gains: Objective to ratio against the default.
        harmed: Large harms beside the objectives, clearly beyond noise, of what is recommended.
        worst: The metric that got worse by the largest factor, with its ratio; empty if none did.
        faults: What breaks the rule, a line each.
    """

    study: str
    trials: int
    seed: int
    trial: int
    keeps_default: bool
    gains: Mapping[str, float]
    harmed: Mapping[str, float]
    worst: Mapping[str, float]
    faults: tuple[str, ...]


def judged(asked: str, trials: int, seed: int) -> Answer:
    """Run a study in a folder of its own and judge its answer."""
    with tempfile.TemporaryDirectory() as folder:
        found, chosen = findings(study(Path(folder), asked, trials, seed))
        decision = decide(found.records, found.spec)
        harmed: Mapping[str, float] = {}
        if not chosen.keep_default and decision.chooser.baseline is not None:
            harmed = dict(decision.chooser.harms(decision.chosen))
        return Answer(
            study=asked,
            trials=trials,
            seed=seed,
            trial=chosen.record.number,
            keeps_default=chosen.keep_default,
            gains=dict(chosen.gains),
            harmed=harmed,
            worst=dict(itertools.islice(chosen.costs.items(), 1)),
            faults=tuple(faults(found, chosen)),
        )


def line_of(answer: Answer) -> str:
    """A study's answer in one line."""
    gains = ", ".join(f"{tag} {ratio:.2f}" for tag, ratio in answer.gains.items())
    worst = next((f"{tag} {ratio:.2f}" for tag, ratio in answer.worst.items()), "nothing")
    told = "keeps the default" if answer.keeps_default else gains
    return (
        f"{answer.trials} trials, seed {answer.seed}: trial {answer.trial}: {told}; worst: {worst}"
    )


def table(answers: Sequence[Answer]) -> str:
    """Markdown: a row for each budget."""
    lines = [
        "| trials | studies | kept the default | large harm taken | the largest | rules broken |",
        "|---|---|---|---|---|---|",
    ]
    for trials in sorted({answer.trials for answer in answers}):
        mine = [answer for answer in answers if answer.trials == trials]
        harmed = [harm for a in mine for harm in a.harmed.items()]
        worst = max(harmed, key=lambda harm: _size(harm[1]), default=None)
        named = "none" if worst is None else f"{metric_named(worst[0]).title} x{worst[1]:.2f}"
        kept, accepted = sum(a.keeps_default for a in mine), sum(bool(a.harmed) for a in mine)
        broken = sum(len(a.faults) for a in mine)
        lines.append(f"| {trials} | {len(mine)} | {kept} | {accepted} | {named} | {broken} |")
    return "\n".join(lines)


def main() -> None:
    """Parse, run, print; exit 1 where a rule is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", default="default", help="a study of its own, or by file")
    parser.add_argument("--trials", type=int, nargs="+", default=[12, 14, 40])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(11, 17)))
    options = parser.parse_args()
    answers = []
    for trials in options.trials:
        for seed in options.seeds:
            answers.append(judged(options.study, trials, seed))
            print(line_of(answers[-1]), flush=True)
            for fault in answers[-1].faults:
                print(f"  BROKEN: {fault}")
    broken = sum(len(answer.faults) for answer in answers)
    print(f"{broken} faults in {len(answers)} studies")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
