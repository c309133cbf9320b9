"""Records without secrets: what servers say in answers and errors is written down, too.

A log is masked where it is written (`deployers/bounded_log.py`). A refusal that repeats the header
it was sent, an answer, an exception's words come by other ways.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from autotune.deployers.masking import masked, secrets_of, spellings
from autotune.records import Failure, ProbeResult, TrialRecord


def without_secrets(record: TrialRecord, environment: Mapping[str, str]) -> TrialRecord:
    """A record in whose texts nothing is left of the environment's secrets.

    Texts are what servers and programs say; names, figures and kinds are autotune's own.
    """
    spelt = spellings(secrets_of(environment))
    if not spelt:
        return record
    applied = record.applied
    if applied is not None:
        applied = replace(applied, settings=_clean(applied.settings, spelt))
    failure = _failure(record.outcome.failure, spelt)
    return replace(
        record,
        outcome=replace(record.outcome, failure=failure),
        probes=tuple(_probe(probe, spelt) for probe in record.probes),
        applied=applied,
        notes=_clean(record.notes, spelt),
        environment=_clean(record.environment, spelt),
    )


def probe_without_secrets(
    probe: ProbeResult, environment: Mapping[str, str], passed_on: Collection[str] = ()
) -> ProbeResult:
    """A probe's result, likewise; secrets are also the variables that are passed on by name."""
    return _probe(probe, spellings(secrets_of(environment, passed_on)))


def _probe(probe: ProbeResult, spelt: tuple[str, ...]) -> ProbeResult:
    return replace(
        probe,
        reason=_clean(probe.reason, spelt),
        failure=_failure(probe.failure, spelt),
        notes=_clean(probe.notes, spelt),
        reference=_clean(probe.reference, spelt),
    )


def _failure(failure: Failure | None, spelt: tuple[str, ...]) -> Failure | None:
    if failure is None:
        return None
    message, evidence = _clean(failure.message, spelt), _clean(failure.evidence, spelt)
    return replace(failure, message=message, evidence=evidence)


def _clean(value: Any, spelt: tuple[str, ...]) -> Any:
    """A value of the same kind, its texts masked."""
    if isinstance(value, str):
        return masked(value, spelt)
    if isinstance(value, Mapping):
        return {key: _clean(inner, spelt) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_clean(inner, spelt) for inner in value)
    return value
