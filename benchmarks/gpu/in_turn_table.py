"""The simulated H100 against servers measured in turn, which no fit has seen: a table of the page.

The AWQ shape on the second machine of 2026-11-26 (`in-turn.jsonl`): other KV memory, another number
of requests and another machine than the AWQ records that the card was fitted to. The servers ran
the matrix's command with a KV cache of given size. That its token budget of 2,048 was theirs, too,
the file does not say; their longest gaps between chunks (40 ms at the 99th percentile, as the
matrix's; batches of 8,192 tokens take four times that) do.
"""

from collections.abc import Mapping
from dataclasses import replace
from statistics import geometric_mean
from typing import Final

from autotune.cli.commands.calibrate import load_figures
from autotune.engines.simulated.card import Card, card_named
from autotune.engines.simulated.replay import Replay, replayed_metrics
from benchmarks.gpu.in_turn import read
from benchmarks.gpu.markdown import markdown
from benchmarks.gpu.published import SECOND_RUN, THIRD

_KV_BYTES: Final = 1_367_998_464
_REQUESTS: Final = 200
_BASE: Final = "default"
_SERVERS: Final[Mapping[str, tuple[str, ...]]] = {
    "default": (),
    "fp8": ("--kv-cache-dtype", "fp8"),
    "max-32": ("--attention-backend", "FLASHINFER", "--kv-cache-dtype", "fp8",
               "--kv-offloading-size", "32"),
}  # fmt: skip
_METRICS: Final[Mapping[str, str]] = {
    "output_tokens_per_s": "out",
    "ttft_loaded_p50_ns": "TTFT loaded",
    "tpot_p50_ns": "TPOT",
    "itl_p50_ns": "ITL p50",
    "itl_single_ns": "ITL single",
    "ttft_8k_ns": "TTFT 8K",
    "ttft_16k_ns": "TTFT 16K",
}


def in_turn() -> str:
    """Predicted over measured, and each server over the default, measured and predicted."""
    card, replay, rounds = card_named("h100"), _replay(), read(SECOND_RUN / "in-turn.jsonl")
    said = {name: _played(card, replay, options) for name, options in _SERVERS.items()}
    heads = ["metric", *(f"{name}: predicted / measured" for name in _SERVERS)]
    others = [name for name in _SERVERS if name != _BASE]
    heads += [f"{name} / {_BASE}: {kind}" for name in others for kind in ("measured", "predicted")]
    rows = []
    for metric, head in _METRICS.items():
        known = {name: geometric_mean(row[metric] for row in rounds[name]) for name in _SERVERS}
        row = [head, *(f"{said[name][metric] / known[name]:.2f}" for name in _SERVERS)]
        for name in others:
            row.append(f"{known[name] / known[_BASE]:.2f}")
            row.append(f"{said[name][metric] / said[_BASE][metric]:.2f}")
        rows.append(row)
    return markdown(heads, rows)


def _replay() -> Replay:
    """The matrix's baseline with these servers' memory and number of requests."""
    study = next(s for s in THIRD if s.name == "small-card-awq-20k")
    replay = next(o.replay for record, o in study.observed() if record.label == "A")
    argv = list(replay.argv)
    share = argv.index("--gpu-memory-utilization")
    argv[share : share + 2] = ["--kv-cache-memory-bytes", str(_KV_BYTES)]
    workload = replay.workload.model_copy(update={"requests": _REQUESTS})
    return replace(replay, argv=tuple(argv), workload=workload, kv_tokens=None, compiles=False)


def _played(card: Card, replay: Replay, options: tuple[str, ...]) -> Mapping[str, float]:
    asked = replace(replay, argv=(*replay.argv, *options))
    return replayed_metrics(card, asked, load_figures)
