"""Whose answers a trial's own are held against."""

from collections.abc import Sequence

from autotune.records import TrialKind, TrialRecord


def reference_answers(records: Sequence[TrialRecord]) -> dict[str, object] | None:
    """What the baseline's probes answered, by probe; None before it has been measured.

    Its answers are the default's whatever limit it breaks, and also where it was run again as a
    retry. Only the first trial of it gives some: later ones are held against that one.
    """
    defaults = {r.configuration for r in records if r.kind is TrialKind.BASELINE}
    for record in records:
        if record.kind is TrialKind.MATRIX or record.configuration in defaults:
            found = {probe.probe: probe.reference for probe in record.probes if probe.reference}
            if found:
                return dict(found)
    return None
