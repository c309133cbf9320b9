"""Tables of one trial, whole: its settings and its figures."""

from autotune.records import TrialRecord
from autotune.report.quantities import DASH, NOT_MEASURED, display, title
from autotune.report.table import Cell, Column, Table, Tone


def trial_settings_table(record: TrialRecord) -> Table:
    """What one trial was asked to run with, and what the server says that it runs with."""
    applied = {} if record.applied is None else record.applied.settings
    mismatches = () if record.applied is None else record.applied.mismatches
    replaced = {mismatch.parameter for mismatch in mismatches}
    rows = []
    for name, value in record.configuration.items:
        got = applied.get(name)
        rows.append((
            Cell.of(name),
            Cell.of(value, Tone.STRONG),
            Cell.of(DASH if got is None else got, Tone.BAD if name in replaced else Tone.PLAIN),
        ))  # fmt: skip
    rows += [
        (Cell.of(name), Cell.of("default", Tone.MUTED), Cell.of(value))
        for name, value in applied.items()
        if name not in record.configuration.values
    ]
    notes = [f"{name} left out: {why}" for name, why in record.left_out.items()]
    if not record.configuration.items:
        notes.insert(0, "Nothing was set: the engine's defaults.")
    return Table(
        title=f"Trial {record.number}: settings",
        columns=(
            Column(head="setting"),
            Column(head="asked for"),
            Column(head="runs with", fold=True),
        ),
        rows=tuple(rows),
        notes=tuple(notes),
        simulated=record.simulated,
    )


def metrics_table(record: TrialRecord) -> Table:
    """Every metric of one trial."""
    return Table(
        title=f"Trial {record.number}: figures",
        columns=(Column(head="metric"), Column(head="value", align="right"), Column(head="tag")),
        rows=tuple(
            (Cell.of(title(tag)), Cell.of(display(tag, value, missing=NOT_MEASURED)), Cell.of(tag))
            for tag, value in record.metrics.items()
        ),
        simulated=record.simulated,
    )
