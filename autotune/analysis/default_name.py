"""What "the default" is called: the engine's own, or one that had to be lowered to fit."""

from collections.abc import Mapping, Sequence

from autotune.analysis.measurements import differences
from autotune.analysis.pairs import read_back
from autotune.records import Failure, FailureKind, Scalar, TrialKind, TrialRecord

OWN = "the engine's defaults"


def repaired(records: Sequence[TrialRecord], baseline: TrialRecord | None) -> dict[str, Scalar]:
    """What the feasible baseline has that the study's own baseline has not."""
    asked = _asked(records)
    if baseline is None or asked is None or baseline.configuration == asked.configuration:
        return {}
    changed = differences(baseline.configuration, asked.configuration)
    values = baseline.configuration.values
    return {name: values[name] for name in changed if name in values}


def engines_own(records: Sequence[TrialRecord], parameter: str) -> Scalar | None:
    """What the engine takes if nothing is set, as the unchanged default was read back."""
    asked = _asked(records)
    if asked is None:
        return None
    value = asked.configuration.get(parameter)
    return read_back(asked, parameter) if value is None else value


def default_name(records: Sequence[TrialRecord], baseline: TrialRecord | None) -> str:
    """Like "the engine's defaults with gpu_memory_utilization 0.9 (0.92 by default breaks ...)"."""
    changed, asked = repaired(records, baseline), _asked(records)
    if not changed or asked is None:
        return OWN
    told = " and ".join(f"{name} {value}" for name, value in changed.items())
    own = " and ".join(_own(records, changed))
    end = "" if asked.outcome.failure is None else _end(asked.outcome.failure)
    why = f" ({own} by default{f' {end}' if end else ''})" if own else f" (without: it {end})"
    return f"{OWN} with {told}{why if own or end else ''}"


def _own(records: Sequence[TrialRecord], changed: Mapping[str, Scalar]) -> list[str]:
    found = (engines_own(records, name) for name in changed)
    return [str(value) for value in found if value is not None]


def _end(failure: Failure) -> str:
    """What the unchanged default does, as the end of a sentence."""
    if failure.kind is FailureKind.MEMORY_LIMIT:
        said = failure.message.lower()
        where = [name for name in ("GPU", "host") if name.lower() in said]
        return f"breaks the {where[0]} headroom" if where else "breaks a memory limit"
    return f"ends in {failure.kind.value.replace('_', ' ')}"


def _asked(records: Sequence[TrialRecord]) -> TrialRecord | None:
    """The last trial of the study's own baseline."""
    return next((r for r in reversed(records) if r.kind is TrialKind.BASELINE), None)
