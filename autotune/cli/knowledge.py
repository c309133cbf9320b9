"""What is known before a study's first trial: predictions for the machine, and earlier studies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from autotune.cli.options import load_matrix
from autotune.cli.stored import StoredStudy, stored_study, study_names
from autotune.cli.wiring import Workbench, environment_of
from autotune.engines.simulated.predictor import predictor_for
from autotune.errors import AutotuneError
from autotune.records import Configuration, TrialRecord
from autotune.spec.study import Setting, StudySpec
from autotune.study.priors import combined, screening_prior
from autotune.study.surrogate.model import Prior
from autotune.study.transfer import Earlier, akin, as_here, fits, is_here, regressions, seeds_of
from autotune.units import bytes_from_gib

MOST_TAKEN: Final = 3
"""Configurations of an earlier study that are measured first where nobody asked for it."""
MOST_ASKED: Final = 8
"""The same where `--from` asks for it."""


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """What a search starts from.

    Attributes:
        prior: Predictions for every configuration.
        seeds: Configurations of an earlier study, measured before the search.
        hints: Configurations worth a look: the study's own, those of another machine, and the
            fixed matrix's.
        hinted: Those of another machine among them.
        earlier: The study that seeds or hints are from.
        said: A line each for the user.
    """

    prior: Prior
    seeds: tuple[Configuration, ...] = ()
    hints: tuple[Configuration, ...] = ()
    hinted: tuple[Configuration, ...] = ()
    earlier: Earlier | None = None
    said: tuple[str, ...] = ()

    def seeded(self, spec: StudySpec) -> StudySpec:
        """The study with its own seeds first and these after them."""
        taken = [*spec.seeds, *(dict(c.values) for c in self.seeds)]
        return spec.model_copy(update={"seeds": taken})

    def named(self, spec: StudySpec, before: StudySpec | None = None) -> StudySpec:
        """The study as its own file has it: it says what was taken and needs no other study.

        Args:
            spec: As declared.
            before: What its file has said so far.
        """
        seeds = [*(() if before is None else before.seeds), *self.seeded(spec).seeds]
        hints = [*(() if before is None else before.hints), *spec.hints]
        hints += [dict(c.values) for c in self.hinted]
        return spec.model_copy(
            update={
                "seeds": _distinct(seeds),
                "hints": _distinct(hints),
                "source": None,
                "fresh": True,
            }
        )

    def regressions(self, spec: StudySpec, records: Sequence[TrialRecord]) -> tuple[str, ...]:
        """What the earlier study had better on the same kind of machine, a line each."""
        if self.earlier is None or not records:
            return ()
        if not is_here(self.earlier, records[-1].environment):
            return ()
        found = regressions(self.earlier.records, records, spec)
        return tuple(f"worse than in {self.earlier}: {regression}" for regression in found)


def knowledge_for(workbench: Workbench, *, source: str | None, fresh: bool) -> Knowledge:
    """Gather it; what cannot be read is left out, unless it was asked for by name.

    Args:
        workbench: The study.
        source: Name of the earlier study to start from; None to look for one.
        fresh: Whether to take nothing from earlier studies.

    Raises:
        UsageError: If there is no study of the name that was asked for.
    """
    prior, said = _prior(workbench)
    where = environment_of(workbench.context)
    earlier = None
    if source is not None:
        earlier = _earlier(stored_study(source))
    elif not fresh:
        simulated = workbench.backend.simulated
        earlier = akin(_others(workbench), workbench.spec, simulated=simulated, where=where)
    seeds: tuple[Configuration, ...] = ()
    hinted: tuple[Configuration, ...] = ()
    if earlier is not None:
        most = MOST_ASKED if source is not None else MOST_TAKEN
        good = seeds_of(earlier.records, workbench.spec, most=most)
        held = (as_here(c, workbench.space.space) for c in good)
        good = tuple(dict.fromkeys(c for c in held if c is not None and c.items))
        if source is not None or is_here(earlier, where):
            seeds, what = good, "are measured first"
        else:
            hinted, what = good, "are among the candidates"
        told = "1 good configuration" if len(good) == 1 else f"{len(good)} good configurations"
        verb = what.replace("are ", "is ", 1) if len(good) == 1 else what
        text = f"{told} of study {earlier} {verb}"
        said += (f"{text}; --fresh leaves them out",)
    return Knowledge(
        prior=prior,
        seeds=seeds,
        hints=(*_own_hints(workbench), *hinted, *_matrix(workbench)),
        hinted=hinted,
        earlier=earlier,
        said=said,
    )


def _own_hints(workbench: Workbench) -> tuple[Configuration, ...]:
    """What the study's file hints at, as far as the space holds it."""
    own = map(Configuration.of, workbench.spec.hints)
    return tuple(c for c in own if fits(c, workbench.space.space))


def _prior(workbench: Workbench) -> tuple[Prior, tuple[str, ...]]:
    """The memory model's predictions, and those of the simulated card of this kind."""
    engine, context = workbench.backend.engine, workbench.context
    headroom, hardware = workbench.spec.headroom, context.hardware
    gpu = hardware.gpu
    gpu_bound = None if gpu is None else gpu.memory_bytes - bytes_from_gib(headroom.gpu_gib)
    memory = screening_prior(
        lambda configuration: engine.screen(configuration, context),
        gpu_bound_bytes=gpu_bound,
        host_bound_bytes=hardware.host_memory_bytes - bytes_from_gib(headroom.host_gib),
    )
    found = predictor_for(engine, context, workbench.spec.workload)
    if workbench.spec.search.prior == "memory" or found is None:
        return memory, ("the search starts from the memory model alone",)
    predict, what = found
    return combined(memory, predict), (f"the search starts from the simulated {what}",)


def _others(workbench: Workbench) -> list[Earlier]:
    """Every other study under the current directory that can be read."""
    found = []
    for name in study_names():
        if name == workbench.spec.name:
            continue
        try:
            found.append(_earlier(stored_study(name)))
        except AutotuneError:  # a study that somebody broke is no reason to run none
            continue
    return found


def _earlier(study: StoredStudy) -> Earlier:
    return Earlier(spec=study.spec, records=study.records)


def _distinct(values: Sequence[Mapping[str, Setting]]) -> list[dict[str, Setting]]:
    """Each once, in the order of their first."""
    found = dict.fromkeys(map(Configuration.of, values))
    return [dict(configuration.values) for configuration in found]


def _matrix(workbench: Workbench) -> tuple[Configuration, ...]:
    """The fixed matrix's configurations as far as this engine and this space have them."""
    engine, context = workbench.backend.engine, workbench.context
    settled = [
        engine.settle(Configuration.of(cell.configuration), context.capabilities, context.hardware)
        for cell in load_matrix("matrix").configurations.values()
        if cell.image is None
    ]
    kept = dict.fromkeys(s.configuration for s in settled if s.configuration.items)
    return tuple(c for c in kept if fits(c, workbench.space.space))
