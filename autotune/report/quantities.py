"""Raw values as people read them: the only place that converts units.

A column of a table gets one unit for all of its values (`scale_for`); a single figure gets the
unit that suits it (`display`). What was not measured is a dash, never a zero.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from autotune.analysis.ratios import shown_change
from autotune.metrics import METRICS, Metric, Unit
from autotune.report.untrusted import one_line
from autotune.units import BYTES_PER_GIB, BYTES_PER_MIB, NS_PER_MS, NS_PER_S

NOT_MEASURED: Final = "not measured"
DASH: Final = "\N{EN DASH}"
TIMES: Final = "\N{MULTIPLICATION SIGN}"
ESTIMATE: Final = "~"
"""Before a figure that was computed from others and not measured."""

_NS_PER_US: Final = 1000
_SPEEDUPS: Final = ("_speedup_ratio", "perplexity_ratio")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How raw values of one metric are shown.

    Attributes:
        unit: As printed; empty for bare counts.
        divisor: Raw value / divisor is the number shown.
        decimals: Digits after the point; None for three significant digits.
        glued: Whether the unit follows without a space (%, or a factor).
    """

    unit: str
    divisor: float = 1.0
    decimals: int | None = None
    glued: bool = False

    def number(self, value: float) -> str:
        """The number alone, with thousands separated."""
        shown = value / self.divisor
        decimals = self.decimals
        if decimals is None:
            decimals = _three_digits(abs(shown))
        return f"{shown:,.{decimals}f}"

    def text(self, value: float | None, *, missing: str = DASH) -> str:
        """Number and unit; `missing` for None."""
        if value is None:
            return missing
        return f"{self.number(value)}{'' if self.glued or not self.unit else ' '}{self.unit}"


def _three_digits(shown: float) -> int:
    """Decimals that leave three significant digits of a number from 0.1 on."""
    return next((n for n, bound in ((0, 99.95), (1, 9.995), (2, 0.9995)) if shown >= bound), 3)


def scale_for(metric: Metric | str, values: Iterable[float | None] = ()) -> Scale:
    """The scale that suits all of some raw values of a metric, by the largest of them.

    Args:
        metric: The declaration, or a tag; an undeclared tag is shown as it is.
        values: Raw values that share a column or an axis.
    """
    declared = METRICS.get(metric) if isinstance(metric, str) else metric
    if declared is None:
        return Scale(unit="")
    known = [v for v in values if v is not None]
    largest = max(map(abs, known), default=0.0)
    is_whole = all(float(v).is_integer() for v in known)  # a mean of counts need not be
    match declared.unit:
        case Unit.NS:
            return _duration_scale(largest)
        case Unit.BYTES:
            small = 0 < largest < 0.1 * BYTES_PER_GIB
            return (
                Scale(unit="MiB", divisor=BYTES_PER_MIB, decimals=0)
                if small
                else Scale(unit="GiB", divisor=BYTES_PER_GIB, decimals=2)
            )
        case Unit.RATIO:
            if declared.tag.endswith(_SPEEDUPS):
                return Scale(unit=TIMES, decimals=2, glued=True)
            return Scale(unit="%", divisor=0.01, decimals=1, glued=True)
        case Unit.TOKENS:
            return Scale(unit="tokens", decimals=0)
        case Unit.COUNT:
            return Scale(unit="", decimals=0 if is_whole else 1)
        case Unit.TOKENS_PER_S:
            return Scale(unit="tok/s")
        case Unit.REQUESTS_PER_S:
            return Scale(unit="req/s")
        case Unit.TOKENS_PER_GIB:
            return Scale(unit="tok/GiB")
        case Unit.JOULES_PER_TOKEN:
            return Scale(unit="J/token")
        case Unit.WATTS:
            return Scale(unit="W", decimals=0)


def _duration_scale(largest_ns: float) -> Scale:
    if largest_ns >= NS_PER_S:
        return Scale(unit="s", divisor=NS_PER_S)
    if largest_ns >= NS_PER_MS or largest_ns == 0:
        return Scale(unit="ms", divisor=NS_PER_MS)
    return Scale(unit="µs", divisor=_NS_PER_US)


def display(metric: Metric | str, value: float | None, *, missing: str = DASH) -> str:
    """One raw value with the unit that suits it; `missing` for None."""
    return scale_for(metric, (value,)).text(value, missing=missing)


def interval(metric: Metric | str, low: float | None, high: float | None) -> str:
    """A range such as "1.20 to 1.34 s"; empty if an end is unknown."""
    if low is None or high is None:
        return ""
    scale = scale_for(metric, (low, high))
    return f"{scale.number(low)} to {scale.text(high)}"


def change(value: float | None, reference: float | None) -> str:
    """How far a value is from a reference, as a signed percentage or a factor from twofold on."""
    if value is None or not reference:
        return DASH
    return shown_change(value / reference).replace("x", TIMES)


def title(tag: str) -> str:
    """A metric's title for people; the tag itself if it is not declared."""
    metric = METRICS.get(tag)
    return tag if metric is None else metric.title


def heading(tag: str, scale: Scale) -> str:
    """A column's head: title and unit."""
    return f"{title(tag)} [{scale.unit}]" if scale.unit else title(tag)


def phase_text(phase: str) -> str:
    """A phase for people: "probe:long_context" becomes "probe long context"."""
    return one_line(phase).replace(":", " ").replace("_", " ")


def duration_text(seconds: float | None, *, missing: str = DASH) -> str:
    """A stretch of time as a person says it: "48 s", "12 min", "3 h 05 min"."""
    if seconds is None:
        return missing
    if seconds < 99.5:
        return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def gib_text(size_bytes: float | None, *, missing: str = DASH) -> str:
    """A size in GiB, one decimal."""
    return missing if size_bytes is None else f"{size_bytes / BYTES_PER_GIB:.1f} GiB"


def readable(text: str) -> str:
    """A sentence of the analysis with titles for tags, and a capital."""
    for tag in sorted(METRICS, key=len, reverse=True):
        text = text.replace(tag, in_sentence(title(tag)))
    text = re.sub(r"\bx(?=\d)", TIMES, text)
    return text[:1].upper() + text[1:]


def trials_text(count: int) -> str:
    """A number of trials: "1 trial", "40 trials"."""
    return "1 trial" if count == 1 else f"{count} trials"


def in_sentence(name: str) -> str:
    """A title inside a sentence: acronyms keep their capitals."""
    return name if name[:2].isupper() else name[:1].lower() + name[1:]
