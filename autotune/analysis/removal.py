"""Which settings may be taken away from a configuration, and what speaks for keeping one."""

import math
from collections.abc import Callable, Sequence

from autotune.analysis.choice import Chooser
from autotune.analysis.evidence import Hint
from autotune.analysis.measurements import Measured
from autotune.analysis.pairs import with_values_of
from autotune.analysis.standing import Standing
from autotune.records import Configuration

Refusal = Callable[[Configuration], str | None]
"""Why the space does not allow a configuration; None where it does."""


def allowed(
    configuration: Configuration,
    names: Sequence[str],
    reference: Configuration,
    refusal: Refusal,
) -> list[str]:
    """As many of some settings, from the first on, as the rest can do without."""
    kept: list[str] = []
    for name in names:
        if refusal(with_values_of(configuration, [*kept, name], reference)) is None:
            kept.append(name)
    return kept


def is_useless(shown: Standing, hint: Hint) -> bool:
    """Whether a pair shows no help, or there is none and the records promise nothing."""
    return shown is not Standing.HELPS and (shown is not Standing.UNMEASURED or hint.gain <= 0)


def is_doubtful(shown: Standing, hint: Hint) -> bool:
    """Whether it was not measured alone and the records give no reason to keep it."""
    return shown is Standing.UNMEASURED and not hint.is_promising


def error_of_one_trial(chooser: Chooser, measured: Measured) -> float:
    """Standard deviation of the score of one trial."""
    return chooser.error(measured, measured) * math.sqrt(len(measured.records) / 2)
