"""How well the simulated H100 predicts the published records: tables for docs/results/README.md.

What was said before a record was measured lies beside the records, with the state of the program
that said it (`python -m benchmarks.gpu.predict`); the rest is the account that
`python -m benchmarks.gpu.calibrate_h100` wrote.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from autotune.records import OutcomeStatus, TrialRecord
from benchmarks.gpu.markdown import DASH, markdown, share
from benchmarks.gpu.published import (
    FIRST,
    FOURTH,
    LATER,
    OTHER_MACHINE,
    RESULTS,
    SECOND,
    SECOND_RUN,
    THIRD,
    PublishedStudy,
)

ACCOUNT: Final = LATER / "calibration.json"
BEFORE: Final = RESULTS / "simulated-before.json"
OTHER_MACHINE_BEFORE: Final = OTHER_MACHINE / "simulated-before.json"
AHEAD: Final = SECOND_RUN / "simulated-before.json"
LATER_BEFORE: Final = LATER / "simulated-before.json"
_RATIOS: Final = {
    "output_tokens_per_s": "out",
    "ttft_short_ns": "TTFT short",
    "ttft_loaded_p50_ns": "TTFT loaded",
    "tpot_p50_ns": "TPOT",
    "itl_p50_ns": "ITL p50",
    "itl_single_ns": "ITL single",
    "ttft_8k_ns": "TTFT 8K",
    "ttft_16k_ns": "TTFT 16K",
    "ttft_32k_ns": "TTFT 32K",
}


_MEMORY: Final = frozenset({"gpu_memory_utilization", "kv_cache_memory_gib"})


@dataclass(frozen=True)
class Said:
    """A prediction that was made of a record before anything was fitted to it.

    Attributes:
        machine: Which machine it ran on.
        is_base: Whether it is the default of an unquantized model, memory aside.
        ratios: Metric to predicted / measured.
    """

    study: str
    machine: str
    record: TrialRecord
    is_base: bool
    ratios: Mapping[str, float]


def said_of(path: Path, studies: Sequence[PublishedStudy]) -> tuple[Said, ...]:
    """The predictions of a file, each beside its record."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return tuple(
        found
        for study in studies
        for found in _said(study, content["predictions"].get(study.called, {}))
    )


def _said(study: PublishedStudy, predictions: Mapping[str, Mapping[str, float]]) -> Iterator[Said]:
    is_plain = "quantization_config" not in study.config()
    for record in study.records():
        known = predictions.get(str(record.number), {})
        ratios = {m: said / value for m, said in known.items() if (value := record.metrics.get(m))}
        if ratios and record.outcome.status is OutcomeStatus.MEASURED:
            machine = study.session or f"machine {study.machine_of(record.number) + 1}"
            is_base = is_plain and not settings_of(record)
            yield Said(study.called, machine, record, is_base, ratios)


def settings_of(record: TrialRecord) -> tuple[str, ...]:
    """What a record's configuration says beside defaults and shares of memory."""
    return tuple(
        f"{name}={value}"
        for name, value in record.configuration.items
        if value != "default" and name not in _MEMORY
    )


def unseen(path: Path = LATER_BEFORE, studies: Sequence[PublishedStudy] = SECOND) -> str:
    """Errors of a calibrated card on records that neither it nor its structure had seen."""
    said = said_of(path, studies)
    floor = _account()["repeats"]
    machines = sorted({s.machine for s in said})
    rows = []
    for metric, head in _RATIOS.items():
        scaled = _scaled(said, metric)
        by_machine = (
            _middle([s.ratios[metric] for s in said if s.machine == m and metric in s.ratios])
            for m in machines
        )
        rows.append(
            (
                head,
                *_spread([s.ratios[metric] for s in said if metric in s.ratios]),
                *by_machine,
                *_spread(scaled),
                share(floor["median_error"].get(metric)),
                share(floor["p90_error"].get(metric)),
            )
        )
    heads = ["metric", "median", "p90", *(f"{m}: median" for m in machines),
             "one factor per machine: median", "p90", "repeats: median", "p90"]  # fmt: skip
    rank = _rank([(s.ratios[_OUT] * (s.record.metrics[_OUT] or 0), s.record.metrics[_OUT] or 0)
                  for s in said if _OUT in s.ratios])  # fmt: skip
    return f"{markdown(heads, rows)}\n\nRank correlation of output tokens/s: {rank:.2f}."


def unseen_trials(path: Path = LATER_BEFORE, studies: Sequence[PublishedStudy] = SECOND) -> str:
    """Predicted over measured, trial by trial."""
    rows = []
    for said in said_of(path, studies):
        ratios = (f"{said.ratios[m]:.2f}" if m in said.ratios else DASH for m in _RATIOS)
        name = f"{said.study} {said.record.label or said.record.number}"
        rows.append((name, said.machine, ", ".join(settings_of(said.record)) or "default", *ratios))
    return markdown(("trial", "machine", "settings", *_RATIOS.values()), rows)


def errors() -> str:
    """What was predicted before and after the calibration, against what was measured."""
    before, account = said_of(BEFORE, FIRST), _account()
    days = account["later_days"]
    kinds = {
        "a third left out": account["left_out"],
        "each configuration left out": account["cross_validated"],
        "the same, its machine known": account["cross_validated"]["on_its_machine"],
        **{f"from {day} on left out": summary for day, summary in days.items()},
        "fitted to all": account["fitted"],
        "repeats": account["repeats"],
    }
    rows = []
    for metric in account["fitted"]["median_error"]:
        told = (share(summary[f"{part}_error"].get(metric))
                for summary in kinds.values() for part in ("median", "p90"))  # fmt: skip
        rows.append((metric, *_spread([s.ratios[metric] for s in before if metric in s.ratios]),
                     *told))  # fmt: skip
    heads = ["metric", "before: median", "p90"]
    for kind in kinds:
        heads += [f"{kind}: median", "p90"]
    turned = account["cross_validated"]
    ranks = [
        f"{account['left_out']['rank_correlation']:.2f} with a third left out",
        f"{turned['rank_correlation']:.2f} of configurations left out in turn",
        f"{turned['on_its_machine']['rank_correlation']:.2f} of the same, their machine known",
        *(
            f"{rank:.2f} from {day} on"
            for day, s in days.items()
            if (rank := s["rank_correlation"]) is not None
        ),
        f"{account['rank_correlation']:.2f} fitted to all",
    ]
    left_out = ", ".join(account["left_out"]["records"])
    told = f"Rank correlation of output tokens/s: {', '.join(ranks)}. Left out by lot: {left_out}."
    return f"{markdown(heads, rows)}\n\n{told}"


def shapes() -> str:
    """Errors on each model's records of a card that was fitted to the other models alone."""
    return _left_out("shapes")


def on_machines() -> str:
    """Errors on each machine's records of a card that was fitted to the other machines alone."""
    return _left_out("machines")


def _left_out(kind: str) -> str:
    account = _account()[kind]
    metrics = dict.fromkeys(m for summary in account.values() for m in summary["median_error"])
    rows = [
        (metric, *(share(summary[f"{part}_error"].get(metric))
                   for summary in account.values() for part in ("median", "p90")))
        for metric in metrics
    ]  # fmt: skip
    heads = ["metric"]
    for name, summary in account.items():
        heads += [f"{name} ({len(summary['records'])} records): median", "p90"]
    return markdown(heads, rows)


def signs() -> str:
    """Measured effects above 10% and the calibrated simulator's, also without having seen them."""
    account = _account()
    unseen_effects = {(e["study"], e["name"], e["metric"]): e for e in account["unseen_effects"]}
    noise: dict[str, float] = {}
    for effect in account["effects"]:
        if not effect["settings"]:
            largest = max(noise.get(effect["metric"], 0.0), abs(effect["measured"]))
            noise[effect["metric"]] = largest
    rows = []
    for effect in account["effects"]:
        alone = unseen_effects.get((effect["study"], effect["name"], effect["metric"]))
        judged = alone or effect
        rows.append(
            (
                effect["name"],
                ", ".join(effect["settings"]) or "a repeat",
                effect["metric"],
                f"{effect['measured']:+.1%}",
                f"{effect['predicted']:+.1%}",
                DASH if alone is None else f"{alone['predicted']:+.1%}",
                _verdict(judged, noise.get(effect["metric"], 0.0)),
            )
        )
    heads = ("first trial", "settings", "metric", "measured", "predicted", "left out", "sign")
    return markdown(heads, rows)


def _verdict(effect: Mapping[str, Any], noise: float) -> str:
    if not effect["settings"]:
        return "noise"
    if effect["sign_is_right"]:
        return "right"
    return "wrong, within noise" if abs(effect["measured"]) <= noise else "**wrong**"


def parameters() -> str:
    """What the fit moved."""
    account = _account()
    rows = [(f"`{name}`", f"{old:.4g}", f"{new:.4g}")
            for name, (old, new) in account["parameters"].items()]  # fmt: skip
    rows += [(f"host costs on: {machine}", "1", f"{factor:.3f}")
             for machine, factor in account["host_factors"].items()]  # fmt: skip
    return markdown(("parameter", "start", "fitted"), rows)


_OUT: Final = "output_tokens_per_s"


def _account() -> dict[str, Any]:
    account: dict[str, Any] = json.loads(ACCOUNT.read_text(encoding="utf-8"))
    return account


def _scaled(said: Sequence[Said], metric: str) -> list[float]:
    """Ratios of what is no baseline, divided by the mean ratio of its machine's baselines."""
    found = []
    for one in said:
        bases = [s.ratios[metric] for s in said
                 if s.is_base and s.machine == one.machine and metric in s.ratios]  # fmt: skip
        if not one.is_base and bases and metric in one.ratios:
            found.append(one.ratios[metric] / float(np.exp(np.mean(np.log(bases)))))
    return found


def _spread(ratios: Sequence[float]) -> tuple[str, str]:
    misses = [abs(r - 1) for r in ratios]
    if not misses:
        return DASH, DASH
    return share(float(np.median(misses))), share(float(np.percentile(misses, 90)))


def ahead() -> str:
    """Errors of what was said before measuring."""
    return unseen(AHEAD, THIRD)


def ahead_trials() -> str:
    """What was said before measuring, trial by trial."""
    return unseen_trials(AHEAD, THIRD)


def flashinfer_trials() -> str:
    """What was said of FLASHINFER without quantization before anything was fitted to it."""
    return unseen_trials(OTHER_MACHINE_BEFORE, FOURTH)


def _middle(ratios: Sequence[float]) -> str:
    return _spread(ratios)[0]


def _rank(pairs: Sequence[tuple[float, float]]) -> float:
    from scipy.stats import spearmanr  # noqa: PLC0415 - slow to import

    said, value = zip(*pairs, strict=True)
    return float(spearmanr(said, value).statistic)
