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
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
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
from autotune.spec.study import StudySpec
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
        size = abs(math.log(ratio)) if ratio > 0 else math.inf
        probe = metric_named(tag).probe
        worst[probe] = max(worst.get(probe, 0.0), size)
    return math.fsum(worst.values())


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


def line_of(spec: StudySpec, chosen: Recommendation) -> str:
    """A study's answer in one line."""
    gains = ", ".join(f"{tag} {ratio:.2f}" for tag, ratio in chosen.gains.items())
    worst = next(iter(chosen.costs.items()), ("nothing", 1.0))
    answer = "keeps the default" if chosen.keep_default else gains
    return f"{spec.name}: trial {chosen.record.number}: {answer}; worst: {worst[0]} {worst[1]:.2f}"


def main() -> None:
    """Parse, run, print; exit 1 where a rule is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", default="default", help="a study of its own, or by file")
    parser.add_argument("--trials", type=int, nargs="+", default=[12, 14, 40])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(11, 17)))
    options = parser.parse_args()
    broken = 0
    with tempfile.TemporaryDirectory() as folder:
        for trials in options.trials:
            for seed in options.seeds:
                found, chosen = findings(study(Path(folder), options.study, trials, seed))
                print(line_of(found.spec, chosen), flush=True)
                for fault in faults(found, chosen):
                    broken += 1
                    print(f"  BROKEN: {fault}")
    print(f"{broken} faults in {len(options.trials) * len(options.seeds)} studies")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
