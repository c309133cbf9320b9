"""Predictions for the machine at hand, by the simulated card of its kind: where a search starts.

A card's file need not be right to be of use: a search learns what its predictions get wrong.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from autotune.engines.model_shape import shape_of
from autotune.engines.simulated.card import Card, card_named, card_names
from autotune.engines.simulated.refusals import StartRefused
from autotune.engines.simulated.release import release_named
from autotune.engines.simulated.replay import Replay
from autotune.engines.simulated.steady import steady_metrics
from autotune.errors import ModelError, SpecError
from autotune.records import Configuration
from autotune.seams.engine import Engine, LaunchContext
from autotune.seams.telemetry import Gpu
from autotune.spec.workload import Workload
from autotune.units import BYTES_PER_MIB

Predictor = Callable[[Configuration], Mapping[str, float] | None]
"""Metrics of a configuration by tag, raw; None where the release would refuse it."""


@dataclass(frozen=True, kw_only=True)
class Kin:
    """The simulated card that stands for a real one.

    Attributes:
        card: Its file, with the real card's memory.
        is_exact: Whether there is a file of this very card.
    """

    card: Card
    is_exact: bool

    def __str__(self) -> str:
        return self.card.title if self.is_exact else f"{self.card.title}, its nearest kin"


def kin_of(gpu: Gpu) -> Kin | None:
    """The simulated card for a real one: of its name, else of its generation and about its size.

    The driver tells neither bandwidth nor peak, so the nearest is the one of equal compute
    capability (or else of equal major number) whose memory is nearest by ratio. None for a
    generation without a file.
    """
    cards = [card_named(name) for name in card_names()]
    named = [c for c in cards if c.title.lower() == gpu.name.lower()]
    equal = [c for c in cards if c.compute_capability == gpu.compute_capability]
    major = [c for c in cards if c.compute_capability[0] == gpu.compute_capability[0]]
    near = named or equal or major
    if not near:
        return None
    mib = gpu.memory_bytes // BYTES_PER_MIB
    card = min(near, key=lambda c: abs(math.log(c.nvml_memory_mib / max(1, mib))))
    lost = card.cuda_memory_mib / card.nvml_memory_mib
    sized = card.model_copy(update={"nvml_memory_mib": mib, "cuda_memory_mib": int(mib * lost)})
    return Kin(card=sized, is_exact=bool(named))


def predictor_on(
    engine: Engine, context: LaunchContext, workload: Workload, card: Card
) -> Predictor:
    """Throughput, latencies and KV tokens on a simulated card, in under a millisecond each.

    A release that the simulated engine does not know is taken for its default one.

    Raises:
        ModelError: If sizes do not follow from the model's config.json.
    """
    shape = shape_of(context.model)
    try:
        release = release_named(context.capabilities.release)
    except SpecError:
        release = release_named(None)

    def predict(configuration: Configuration) -> dict[str, float] | None:
        plan = engine.launch_plan(configuration, context)
        replay = Replay(
            argv=plan.argv,
            environment=dict(plan.env),
            shape=shape,
            release=release,
            workload=workload,
            weights_bytes=context.model.weights_bytes,
        )
        try:
            return steady_metrics(card, replay)
        except StartRefused:
            return None

    return predict


def predictor_for(
    engine: Engine, context: LaunchContext, workload: Workload
) -> tuple[Predictor, str] | None:
    """A predictor for the card at hand, and what it rests on.

    None without a GPU, without a card of its kind, or where the model's sizes are not known.
    """
    gpu = context.hardware.gpu
    kin = None if gpu is None else kin_of(gpu)
    if kin is None:
        return None
    try:
        return predictor_on(engine, context, workload, kin.card), str(kin)
    except ModelError:
        return None
