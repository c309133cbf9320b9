"""Landscapes on which the default is nearly the best, or the best is better by a given gain."""

from collections.abc import Mapping
from functools import cached_property
from typing import Final

import numpy as np

from autotune.records import Configuration, Failure, FailureKind
from autotune.seams.engine import Screening
from benchmarks.search.landscape import Behaviour, behave
from benchmarks.search.problem import METRICS, FloatArray, Truth
from benchmarks.search.synthetic import SyntheticProblem, all_columns
from benchmarks.search.table import Rows

FLAT: Final = 0.02
"""Share of every logarithm of a ratio to the default that is left where nothing is worth changing:
the best then gains under 3% in the sum of three objectives, two of which have 4% noise."""
_AS_DRAWN: Final = 1.0
_rows: dict[str, Rows] = {}


class TemperedProblem(SyntheticProblem):
    """A landscape whose figures are drawn towards the default's; the whole of it is looked up.

    Each figure is the default's times its ratio to the power of a steepness; objectives still
    trade against each other, and what does not start still does not.

    Args:
        seed: Its number.
        gain: What the best configuration truly gains in the product of the objectives' ratios; 0
            for a landscape that is flat, None for one as it was drawn.
    """

    def __init__(self, seed: int, gain: float | None = None) -> None:
        super().__init__(seed)
        if not _rows:
            _rows["all"] = Rows(all_columns())
        self._believed = behave(all_columns(), self.belief)
        seen = self.everything
        starts = (seen.kv_margin_gib >= 0) & (seen.headroom_gib >= 0) & (seen.host_margin_gib >= 0)
        self._started = seen.values[starts & ~seen.refused]
        self._default = super().truth(Configuration()).values
        self.steepness = {None: _AS_DRAWN, 0.0: FLAT}.get(gain, FLAT)
        if gain and self._default is not None and self._default[1] <= self.ttft_limit_ns:
            self._make_steep(gain)

    def truth(self, configuration: Configuration) -> Truth:
        """Figures drawn towards the default's."""
        truth = self._looked_up(configuration)
        if truth.values is None or self._default is None or self.steepness == _AS_DRAWN:
            return truth
        one, two, three = map(float, self._drawn(np.asarray([truth.values]))[0])
        return Truth(values=(one, two, three), headroom_gib=truth.headroom_gib)

    def feasible_values(self) -> FloatArray:
        """Of the whole space."""
        return self._kept

    def screen(self, configuration: Configuration) -> Screening:
        """A rough memory model's verdict, as in the landscape that is not tempered."""
        row = _rows["all"].of(configuration)
        if row is None:
            return super().screen(configuration)
        kv, host = (float(x[row]) for x in (self._believed.kv_margin_gib,
                                            self._believed.host_margin_gib))  # fmt: skip
        failure = None
        if kv < -0.5 or host < -2:
            kind = FailureKind.WOULD_NOT_FIT
            failure = Failure(kind=kind, phase="screening", message="", margin_gib=min(kv, host))
        return Screening(failure=failure, gpu_margin_gib=kv, host_margin_gib=host)

    def prior(self, configuration: Configuration, belief: str = "wrong") -> Mapping[str, float]:
        """What one of the beliefs predicts; it knows nothing of the tempering."""
        row = _rows["all"].of(configuration)
        if row is None or belief != "wrong":
            return super().prior(configuration, belief)
        seen = self._believed
        return {
            **dict(zip(METRICS, seen.values[row].tolist(), strict=True)),
            "gpu_margin_gib": float(seen.kv_margin_gib[row]),
            "gpu_headroom_gib": float(seen.headroom_gib[row]),
            "host_margin_gib": float(seen.host_margin_gib[row]),
        }

    def _looked_up(self, configuration: Configuration) -> Truth:
        row = _rows["all"].of(configuration)
        if row is None or not _starts(self.everything, row):
            return super().truth(configuration)
        one, two, three = self.everything.values[row].tolist()
        headroom = float(self.everything.headroom_gib[row])
        return Truth(values=(one, two, three), headroom_gib=headroom)

    @cached_property
    def _kept(self) -> FloatArray:
        drawn = self._drawn(self._started)
        return drawn[drawn[:, 1] <= self.ttft_limit_ns]

    def _make_steep(self, gain: float) -> None:
        """What starts is feasible once its TTFT is drawn under the limit, so twice and thrice."""
        for _ in range(3):
            drawn = self._drawn(self._started)
            kept = self._started[drawn[:, 1] <= self.ttft_limit_ns]
            gains = scores(kept) - scores(np.asarray([self._default]))
            self.steepness = float(np.log1p(gain) / gains.max())

    def _drawn(self, values: FloatArray) -> FloatArray:
        if self._default is None:
            return values
        default = np.asarray(self._default)
        return np.asarray(default * (values / default) ** self.steepness)


def scores(values: FloatArray) -> FloatArray:
    """Balanced score of configurations: a sum of logarithms, signed so that more is better."""
    logs = np.log(values)
    return np.asarray(logs[:, 0] - logs[:, 1] + logs[:, 2])


def _starts(seen: Behaviour, row: int) -> bool:
    least = min(seen.kv_margin_gib[row], seen.headroom_gib[row], seen.host_margin_gib[row])
    return least >= 0 and not seen.refused[row]
