"""The proof beside the files: verification.md for people, verification.json for machines."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from autotune.cli.json_lines import record_as_json
from autotune.cli.verify.ratios import Ratio
from autotune.cli.verify.verdict import Compared, Verdict, Verification, ratios
from autotune.errors import ProbeError
from autotune.metrics import Unit, metric_named
from autotune.records import TrialRecord
from autotune.report.exports.names import file_name
from autotune.report.quantities import DASH, TIMES, change, display, scale_for, title
from autotune.report.table import SIMULATED, Cell, Column, Table, Tone, escape_markdown, to_markdown
from autotune.report.tables import outcome_text
from autotune.report.untrusted import one_line
from autotune.store.files import write_atomically

_TONES: Final = {
    Verdict.AGREES: Tone.GOOD,
    Verdict.MOVED: Tone.PLAIN,
    Verdict.DIFFERS: Tone.BAD,
    Verdict.NOT_MEASURED: Tone.BAD,
}
_EXPLAINED: Final = {
    Verdict.AGREES: "agrees within the noise",
    Verdict.MOVED: "the default moved alike: the machine changed, not the files",
    Verdict.DIFFERS: "differs beyond the noise",
    Verdict.NOT_MEASURED: "not measured",
}


def sentence(found: Verification) -> str:
    """What was found, in one sentence."""
    if found.failure is not None:
        return (
            f"The exported files of trial {found.trial.number} were not measured whole: "
            f"{found.failure.kind.value} ({one_line(found.failure.message)})."
        )
    if found.broken:
        names = ", ".join(title(metric) for metric, _, _ in found.broken)
        return f"The exported files start and break a limit of the study: {names}."
    apart = [c for c in found.objectives if c.verdict in {Verdict.DIFFERS, Verdict.NOT_MEASURED}]
    if apart:
        names = "; ".join(f"{title(c.metric)} {_EXPLAINED[c.verdict]}" for c in apart)
        return f"The exported files start, and do not measure as the study did: {names}."
    moved = [title(c.metric) for c in found.objectives if c.verdict is Verdict.MOVED]
    text = "The exported files start and measure as the study did, within the noise"
    if moved:
        text = (
            "The exported files start and stand to the default as in the study, within the noise; "
            f"the machine itself moved: {', '.join(moved)}"
        )
    return text + (": they are the default itself." if found.is_default else ".")


def tables(found: Verification) -> tuple[Table, ...]:
    """Against the default, against the study, and the trials behind both."""
    return (_against_default(found), _against_study(found), _trials(found))


def write_proof(
    folder: Path, study: str, found: Verification, digests: Mapping[str, str]
) -> tuple[Path, ...]:
    """Write both files.

    Args:
        folder: `studies/NAME/recommended`.
        study: Its name.
        found: What was found.
        digests: Name to SHA-256 of the files that were deployed.

    Raises:
        StoreError: If the folder cannot be written.
    """
    simulated = found.trial.simulated
    markdown = folder / file_name("verification.md", simulated=simulated)
    machine = folder / file_name("verification.json", simulated=simulated)
    write_atomically(markdown, as_markdown(study, found, digests))
    values = orjson.dumps(as_json(study, found, digests), option=orjson.OPT_INDENT_2, default=str)
    write_atomically(machine, values.decode() + "\n")
    return markdown, machine


def as_markdown(study: str, found: Verification, digests: Mapping[str, str]) -> str:
    """The proof for people."""
    trial = found.trial
    mark = f" ({SIMULATED})" if trial.simulated else ""
    when = [r.wall_start for r in found.records if r.wall_start]
    lines = [f"# {escape_markdown(study)}: verification of trial {trial.number}{mark}", ""]
    if trial.simulated:
        lines += [f"**{SIMULATED}: no real engine was measured.**", ""]
    lines += [f"**{escape_markdown(sentence(found))}**", ""]
    lines += [escape_markdown(note) + "  " for note in notes(found)]
    lines += ["", *(to_markdown(table, level=2) for table in tables(found))]
    lines += ["## What was deployed", ""]
    lines += [f"- `{name}`, SHA-256 `{digest}`" for name, digest in digests.items()]
    if when:
        lines += [f"- from {when[0]} to the trial of {when[-1]}"]
    environment = found.records[-1].environment if found.records else {}
    for name in ("engine_release", "image", "image_digest", "gpu", "gpu_driver", "model"):
        if name in environment:
            lines.append(f"- {name.replace('_', ' ')}: {escape_markdown(environment[name])}")
    return "\n".join(lines).rstrip("\n") + "\n"


def as_json(study: str, found: Verification, digests: Mapping[str, str]) -> dict[str, Any]:
    """The proof for machines: raw values, ns and bytes."""
    return {
        "study": study,
        "trial": found.trial.number,
        "simulated": found.trial.simulated,
        "agrees": found.agrees,
        "sentence": sentence(found),
        "is_default": found.is_default,
        "failure": None if found.failure is None else found.failure.kind.value,
        "broken_limits": [
            {"metric": metric, "value": value, "bound": bound}
            for metric, value, bound in found.broken
        ],
        "objectives": [_objective(compared) for compared in found.objectives],
        "files": dict(digests),
        "trials": [record_as_json(record) for record in found.records],
    }


def notes(found: Verification) -> tuple[str, ...]:
    """What a reader must know of the figures."""
    said = []
    if not any(c.gain for c in found.objectives) and found.failure is None:
        said.append("The default was not measured beside them, so the study is all there is.")
    applied = next((r.applied for r in reversed(found.records) if r.applied is not None), None)
    if applied is not None and applied.unverified:
        names = ", ".join(applied.unverified)
        said.append(f"Not read back from the server, for it does not tell: {names}.")
    for metric, value, bound in found.broken:
        said.append(f"{title(metric)} {display(metric, value)}, limit {display(metric, bound)}.")
    return tuple(said)


def require_agreement(study: str, found: Verification, proof: Path) -> None:
    """Turn a difference into an exit code.

    Raises:
        ProbeError: If the files do not start, or do not measure as the study did.
    """
    if found.agrees:
        return
    hint = f"{proof} has the figures; `autotune export {study}` writes the files again."
    if found.failure is not None:
        number = found.records[-1].number
        hint = f"`autotune show {study} --trial {number}` has its log. {hint}"
    raise ProbeError(sentence(found), hint=hint)


def _objective(compared: Compared) -> dict[str, Any]:
    return {
        "metric": compared.metric,
        "verdict": compared.verdict.value,
        "exported": compared.exported,
        "default": compared.default,
        "study": compared.study,
        "study_default": compared.study_default,
        **{
            name: None if ratio is None else [ratio.value, ratio.low, ratio.high]
            for name, ratio in ratios(compared).items()
        },
    }


def _against_default(found: Verification) -> Table:
    rows = []
    for compared in found.objectives:
        scale = scale_for(compared.metric, (compared.exported, compared.default))
        gain = compared.gain
        rows.append((
            Cell.of(title(compared.metric)),
            Cell.of(scale.text(compared.exported), Tone.STRONG),
            Cell.of(scale.text(compared.default)),
            Cell.of(DASH if gain is None else f"{gain.value:.3f}{TIMES}"),
            Cell.of(_interval(compared.metric, gain), Tone.MUTED),
        ))  # fmt: skip
    return Table(
        title="Exported against default",
        columns=(
            Column(head="objective"),
            Column(head="exported", align="right"),
            Column(head="default", align="right"),
            Column(head="ratio", align="right"),
            Column(head="95% interval", align="right"),
        ),
        rows=tuple(rows),
        notes=("Mean over interleaved pairs, each deployed afresh.",),
        simulated=found.trial.simulated,
    )


def _interval(metric: str, ratio: Ratio | None) -> str:
    """Of what is timed; what is counted has no noise between two starts worth an interval."""
    if ratio is None or metric_named(metric).unit in {Unit.TOKENS, Unit.COUNT}:
        return DASH
    return f"{ratio.low:.3f} to {ratio.high:.3f}"


def _against_study(found: Verification) -> Table:
    rows = []
    for compared in found.objectives:
        scale = scale_for(compared.metric, (compared.exported, compared.study))
        ratio = compared.against_study
        noise = DASH if ratio is None else f"±{(ratio.high / ratio.value - 1) * 100:.1f}%"
        rows.append((
            Cell.of(title(compared.metric)),
            Cell.of(scale.text(compared.exported), Tone.STRONG),
            Cell.of(scale.text(compared.study)),
            Cell.of(change(compared.exported, compared.study)),
            Cell.of(noise, Tone.MUTED),
            Cell.of(change(compared.default, compared.study_default), Tone.MUTED),
            Cell.of(compared.verdict.value, _TONES[compared.verdict]),
        ))  # fmt: skip
    return Table(
        title="Exported against the study",
        columns=(
            Column(head="objective"),
            Column(head="now", align="right"),
            Column(head="study", align="right"),
            Column(head="change", align="right"),
            Column(head="noise", align="right"),
            Column(head="default moved", align="right"),
            Column(head=""),
        ),
        rows=tuple(rows),
        simulated=found.trial.simulated,
    )


def _trials(found: Verification) -> Table:
    metrics = [compared.metric for compared in found.objectives]
    rows = [
        (
            Cell.of(record.number),
            Cell.of(record.label),
            *(Cell.of(display(metric, record.metrics.get(metric))) for metric in metrics),
            Cell.of(outcome_text(record.outcome), _outcome_tone(record)),
        )
        for record in found.records
    ]
    return Table(
        title="Trials of the verification",
        columns=(
            Column(head="#", align="right"),
            Column(head="arm"),
            *(Column(head=title(metric), align="right") for metric in metrics),
            Column(head="outcome", fold=True),
        ),
        rows=tuple(rows),
        simulated=found.trial.simulated,
        trials=tuple(record.number for record in found.records),
    )


def _outcome_tone(record: TrialRecord) -> Tone:
    return Tone.GOOD if record.is_measured else Tone.BAD
