"""Earlier studies of the same model: what was good is tried first, and what got worse is said.

Releases, cards and loads differ between studies, so configurations are taken over, never figures.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from autotune.analysis.comparable import comparable
from autotune.analysis.front import as_shown, on_front, points_of
from autotune.analysis.measurements import UTILIZATION, grouped, logs_by_configuration
from autotune.analysis.noise import SIGNIFICANT, noise_of
from autotune.analysis.recommend import recommend
from autotune.errors import NothingFeasibleError
from autotune.metrics import METRICS
from autotune.records import Configuration, TrialRecord
from autotune.spec.space import SearchSpace
from autotune.spec.study import StudySpec

_MACHINE = ("gpu", "engine_platform")


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """A study that was run before.

    Attributes:
        spec: As it was resolved.
        records: Its trials.
    """

    spec: StudySpec
    records: tuple[TrialRecord, ...]

    @property
    def last_start(self) -> str:
        """ISO 8601 of its last trial's start."""
        return max((r.wall_start for r in self.records), default="")

    @property
    def where(self) -> Mapping[str, str]:
        """What its last trial ran on and with."""
        return self.records[-1].environment if self.records else {}

    def __str__(self) -> str:
        engine = f"{self.where.get('engine', 'engine')} {self.where.get('engine_release', '?')}"
        return f"{self.spec.name} ({engine}, {self.where.get('gpu', 'no GPU')})"


@dataclass(frozen=True, kw_only=True)
class Regression:
    """A metric of a configuration that is worse than in an earlier study, beyond noise.

    Attributes:
        ratio: Value now over value then; geometric means.
    """

    configuration: Configuration
    metric: str
    ratio: float

    def __str__(self) -> str:
        title = METRICS[self.metric].title
        return f"{title} is {self.ratio:.2f} times what it was with {self.configuration}"


def seeds_of(
    records: Sequence[TrialRecord], spec: StudySpec, *, most: int = 5
) -> tuple[Configuration, ...]:
    """The recommended configuration of an earlier study and some of its front.

    Args:
        records: Trials of the earlier study (of another release, card or model).
        spec: The new study: its objectives and preference decide what was good.
        most: How many at most; spread evenly over the front by the first objective.
    """
    records = comparable(records, spec.objectives)
    try:
        first = recommend(records, spec).configuration
    except NothingFeasibleError:
        return ()
    tag = spec.objectives[0].metric
    points = points_of(grouped(records, spec.objectives), spec.objectives)
    front = sorted(
        (as_shown(point, spec.objectives) for point in on_front(points, spec.objectives)),
        key=lambda r: r.metrics[tag] or 0.0,
    )
    rest = [c for c in dict.fromkeys(r.configuration for r in front) if c != first]
    count = min(most - 1, len(rest))
    spread = [rest[round(i * (len(rest) - 1) / max(1, count - 1))] for i in range(count)]
    return tuple(dict.fromkeys([first, *spread]))


def akin(
    studies: Iterable[Earlier], spec: StudySpec, *, simulated: bool, where: Mapping[str, str]
) -> Earlier | None:
    """The earlier study whose front is worth measuring first.

    One of the same model, real or simulated as this one is; of this kind of GPU rather than of
    another, and then the latest.

    Args:
        studies: What there is, this one aside.
        spec: This study.
        simulated: Whether this one is.
        where: Its environment, as records hold it.
    """
    known = [
        s
        for s in studies
        if s.spec.model == spec.model
        and s.spec.name != spec.name
        and any(r.is_feasible for r in s.records)
        and all(r.simulated == simulated for r in s.records)
    ]
    return max(known, key=lambda s: (is_here(s, where), s.last_start), default=None)


def is_here(study: Earlier, where: Mapping[str, str]) -> bool:
    """Whether a study was run on a machine of this kind."""
    return all(study.where.get(key) == where.get(key) for key in _MACHINE)


def as_here(configuration: Configuration, space: SearchSpace) -> Configuration | None:
    """An earlier study's configuration as a space holds it; None if it does not.

    A share of the card that the space does not search is what the earlier study's default was
    lowered to: this study finds its own.
    """
    if space.parameter(UTILIZATION) is None:
        configuration = configuration.without(UTILIZATION)
    return configuration if fits(configuration, space) else None


def fits(configuration: Configuration, space: SearchSpace) -> bool:
    """Whether a space holds a configuration."""
    values = configuration.values
    for name, value in values.items():
        parameter = space.parameter(name)
        if parameter is None or not parameter.contains(value):
            return False
    return space.refusal(configuration) is None and space.active(values) == configuration


def regressions(
    before: Sequence[TrialRecord], now: Sequence[TrialRecord], spec: StudySpec
) -> tuple[Regression, ...]:
    """Objectives that are worse now than then, for configurations that both studies measured.

    Worse by more than 1.96 standard deviations of the difference of two means, with the noise of
    repeats pooled over both studies (`analysis.noise`).
    """
    found = []
    for objective in spec.objectives:
        then, today = (logs_by_configuration(r, objective.metric) for r in (before, now))
        spread = max(noise_of(r, objective.metric).relative_sd for r in (before, now))
        for configuration in then.keys() & today.keys():
            old, new = then[configuration], today[configuration]
            change = math.fsum(new) / len(new) - math.fsum(old) / len(old)
            worse = -change if objective.direction == "maximize" else change
            if worse > SIGNIFICANT * spread * math.sqrt(1 / len(old) + 1 / len(new)):
                found.append(
                    Regression(
                        configuration=configuration,
                        metric=objective.metric,
                        ratio=math.exp(change),
                    )
                )
    return tuple(sorted(found, key=lambda r: (-abs(math.log(r.ratio)), str(r.configuration))))
