"""Fixed configurations (baseline, seeds, matrix cells) held against the engine at hand."""

from autotune.records import Configuration, TrialKind
from autotune.seams.engine import Settled
from autotune.seams.events import Notice, Observer
from autotune.seams.trial import TrialRunner
from autotune.spec.study import StudySpec
from autotune.study.agenda import Planned


def left_out_of(settled: Settled) -> tuple[tuple[str, str], ...]:
    """Settings that this engine lacks, each with its reason."""
    return tuple((removal.parameter, removal.reason) for removal in settled.left_out)


def planned_baseline(spec: StudySpec, runner: TrialRunner, observer: Observer) -> Planned:
    """What everything is compared with: what is left of the study's `baseline`."""
    return _planned(Configuration.of(spec.baseline), TrialKind.BASELINE, runner, observer)


def planned_seeds(spec: StudySpec, runner: TrialRunner, observer: Observer) -> tuple[Planned, ...]:
    """What is left of the study's seeds, equal ones once."""
    planned: dict[Configuration, Planned] = {}
    for seed in spec.seeds:
        entry = _planned(Configuration.of(seed), TrialKind.SEED, runner, observer)
        planned.setdefault(entry.configuration, entry)
    return tuple(planned.values())


def _planned(
    asked: Configuration, kind: TrialKind, runner: TrialRunner, observer: Observer
) -> Planned:
    settled = runner.settle(asked)
    for removal in settled.left_out:
        text = f"{kind.value} {asked}: without {removal.parameter}: {removal.reason}"
        observer(Notice(text=text))
    return Planned(configuration=settled.configuration, kind=kind, left_out=left_out_of(settled))
