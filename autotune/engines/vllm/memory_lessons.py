"""What trials that ran out of memory teach: whatever needs at least as much is not started.

The comparison is between two predictions of the same model, so that what the model misses cancels
out. A lesson that a measured trial contradicts does not hold: then something else took the memory.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from autotune.engines.vllm.memory_prediction import Prediction
from autotune.records import Configuration, Failure, FailureKind, TrialRecord
from autotune.seams.engine import LaunchContext
from autotune.units import BYTES_PER_MIB, gib_from_bytes

_K = FailureKind
Predict = Callable[[Configuration], Prediction]
Needs = tuple[float, ...]

ALIKE_BYTES: Final = 8 * BYTES_PER_MIB
"""Predictions that differ by less are the same: sizes are rounded to blocks and pages."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One kind of memory.

    Attributes:
        name: In a message.
        needs: Figures of a prediction that all must be at least as large; the first one counts.
        is_blamed: Whether the prediction holds what can have run out: a start without a buffer in
            host memory has not failed by one.
    """

    name: str
    needs: Callable[[Prediction], Needs | None]
    is_blamed: Callable[[Prediction], bool] = lambda _: True


def _whole(p: Prediction) -> Needs | None:
    return None if p.gpu_bytes is None else (p.gpu_bytes,)


def _with_graphs(p: Prediction) -> Needs | None:
    return None if p.gpu_bytes is None else (p.gpu_bytes, p.terms.graphs)


def _with_activation(p: Prediction) -> Needs | None:
    return None if p.gpu_bytes is None else (p.gpu_bytes, p.terms.activation)


def _profiling(p: Prediction) -> Needs:
    return (p.terms.weights + p.terms.activation + p.terms.non_torch,)


def _weights(p: Prediction) -> Needs:
    return (p.terms.weights,)


def _kv_cache(p: Prediction) -> Needs | None:
    return None if p.kv_bytes is None else (p.kv_needed_bytes, -p.kv_bytes)


def _host(p: Prediction) -> Needs:
    return (p.host.total_bytes,)


def _takes_host_buffers(p: Prediction) -> bool:
    settings = p.settings
    return bool(settings.offload_bytes or settings.weights_offload_bytes or p.gpu_bytes is None)


_CARD: Final = Side(name="GPU memory", needs=_whole)
"""The whole card's, where its headroom was broken."""
_GRAPHS: Final = Side(name="GPU memory", needs=_with_graphs)
_ACTIVATION: Final = Side(name="GPU memory", needs=_with_activation)
_KV: Final = Side(name="KV cache", needs=_kv_cache)
_HOST: Final = Side(name="host memory", needs=_host, is_blamed=_takes_host_buffers)

SIDES: Final[Mapping[FailureKind, Side]] = {
    _K.GPU_OOM_WEIGHTS: Side(name="GPU memory for weights", needs=_weights),
    _K.GPU_OOM_PROFILING: Side(name="GPU memory before the KV cache", needs=_profiling),
    _K.GPU_OOM_GRAPHS: _GRAPHS,
    _K.GPU_OOM_WARMUP: _ACTIVATION,
    _K.GPU_OOM_UNDER_LOAD: _ACTIVATION,
    _K.GPU_OOM: _ACTIVATION,
    _K.NO_ROOM_FOR_KV: _KV,
    _K.KV_TOO_SMALL: _KV,
    _K.HOST_OOM: _HOST,
    _K.CONTAINER_OOM: _HOST,
    _K.SHM_TOO_SMALL: _HOST,
    _K.PINNING_REFUSED: _HOST,
}
"""Which memory a kind of failure is about; a broken memory limit says so itself."""


_RAN: Final = frozenset({_K.LIMIT_MISSED, _K.WRONG_ANSWERS})
"""Ends of trials that had memory enough."""


@dataclass(frozen=True, kw_only=True)
class _Lesson:
    number: int
    configuration: Configuration
    failure: Failure
    side: Side


@dataclass(frozen=True, kw_only=True)
class Taught:
    """What trials say against a start.

    Attributes:
        failure: It would run out of memory.
        headroom: It would run and break the GPU's headroom.
    """

    failure: Failure | None = None
    headroom: Failure | None = None


class Lessons:
    """Failures by memory, and what measured trials say against them."""

    def __init__(self) -> None:
        self._lessons: list[_Lesson] = []
        self._measured: list[Configuration] = []
        self._held: tuple[LaunchContext, tuple[tuple[_Lesson, Needs], ...]] | None = None

    def learn(self, record: TrialRecord) -> None:
        """Take a finished trial; those that memory did not end are evidence of what fits."""
        self._held = None
        failure = record.outcome.failure
        if failure is None or failure.kind in _RAN:
            self._measured.append(record.configuration)
        if failure is None or failure.phase == "screening":
            return
        side = SIDES.get(failure.kind)
        if failure.kind is _K.MEMORY_LIMIT:
            side = _side_of_limit(failure)
        if side is not None:
            self._lessons.append(
                _Lesson(number=record.number, configuration=record.configuration,
                        failure=failure, side=side)
            )  # fmt: skip

    def refusal(
        self,
        configuration: Configuration,
        prediction: Prediction,
        predict: Predict,
        context: LaunchContext,
    ) -> Taught:
        """Why a start would fail as another one did.

        Args:
            configuration: To be started.
            prediction: Of it.
            predict: The same model's prediction of any configuration.
            context: That both predictions are for.
        """
        failure = headroom = None
        for lesson, limit in self._that_hold(predict, context):
            needs = lesson.side.needs(prediction)
            if lesson.configuration == configuration:
                continue  # the study decides whether the same is tried again
            if needs is None or not _covers(needs, limit):
                continue
            found = _failure(lesson, needs[0], limit[0])
            if lesson.side is _CARD:
                headroom = headroom or found
            else:
                failure = failure or found
        return Taught(failure=failure, headroom=headroom)

    def _that_hold(
        self, predict: Predict, context: LaunchContext
    ) -> Sequence[tuple[_Lesson, Needs]]:
        """Lessons and what they bar, worked out once between two trials.

        A search asks about thousands of configurations before it starts one.
        """
        asked = replace(context, port=0)
        if self._held is None or self._held[0] != asked:
            found = []
            predicted = cache(predict)  # each lesson asks about every trial that was measured
            for lesson in self._lessons:
                taught = predicted(lesson.configuration)
                limit = lesson.side.needs(taught)
                if limit is None or not lesson.side.is_blamed(taught):
                    continue
                if not self._is_contradicted(lesson, limit, predicted):
                    found.append((lesson, limit))
            self._held = (asked, tuple(found))
        return self._held[1]

    def _is_contradicted(self, lesson: _Lesson, limit: Needs, predict: Predict) -> bool:
        """Whether a trial that needs as much was measured."""
        needs = (lesson.side.needs(predict(c)) for c in self._measured)
        return any(n is not None and _covers(n, limit) for n in needs)


def _covers(needs: Sequence[float], limit: Sequence[float]) -> bool:
    return all(n >= m - ALIKE_BYTES for n, m in zip(needs, limit, strict=True))


def _side_of_limit(failure: Failure) -> Side | None:
    """Which memory the watchdog saw short, by its own words (telemetry/watchdog.py)."""
    if failure.message.startswith("GPU memory"):
        return _CARD
    return _HOST if failure.message.startswith(("host memory", "swap", "all work waited")) else None


def _failure(lesson: _Lesson, needed: float, taught: float) -> Failure:
    """As far short as the trial that taught it, and by what this one needs more."""
    short = min(0.0, lesson.failure.margin_gib or 0.0)
    margin = short - max(0.0, gib_from_bytes(needed - taught))
    return Failure(
        kind=_K.WOULD_NOT_FIT,
        phase="screening",
        message=(
            f"it needs at least as much {lesson.side.name} as trial {lesson.number}, which failed: "
            f"{lesson.failure.message}"
        ),
        needed_gib=round(gib_from_bytes(needed), 3),
        available_gib=round(gib_from_bytes(needed) + margin, 3),
        margin_gib=round(min(margin, -0.001), 3),
    )
