"""The correctness gate against planted faults: what it catches, and whether it cries wolf.

    python -m benchmarks.correctness.run --vllm ENVIRONMENT --model FOLDER [--unseen]

Real vLLM on the CPU (`.ci/vllm_cpu.sh ENVIRONMENT`) serves a small model (`.ci/tiny_model.py
FOLDER`) whole, again after a restart, with other settings, and with each fault of `plant.py`; the
golden server plays what a model cannot be made to do, and 200 clean runs with 3% of noise on
every log-probability. With `--unseen` vLLM serves faults and settings that the gate's bounds were
not chosen by. Each is held against the first, clean answers. `--only WORDS` asks the servers of
vLLM whose line has one of the words in it, for all of them take long on few cores. Ends with exit
code 1 if a fault is missed or a clean run raises an alarm.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from autotune.records import FailureKind, ProbeResult, ProbeStatus
from benchmarks.correctness.servers import GoldenGate, Served, VllmGate, answers_of

PLANT: Final = Path(__file__).with_name("plant.py")
FAULTS: Final = {
    "keys_doubled": "key projections scaled by 2 in every layer",
    "kv_heads_swapped": "two KV heads swapped, first layer",
    "rope_base": "another rope base",
    "context_truncated": "context truncated to 1024 tokens",
    "chat_template": "wrong chat template",
}
UNSEEN_FAULTS: Final = {
    "keys_scaled": "key projections scaled by 1.5 in every layer",
    "values_of_a_layer": "value projections of the second layer scaled by 1.5",
    "last_kv_heads_swapped": "two KV heads swapped, last layer",
    "smaller_rope_base": "rope base 5,000 for 10,000",
    "context_of_2048": "context truncated to 2048 tokens",
    "no_generation_prompt": "chat template without the assistant's turn",
    "a_layer_lost": "the last layer adds nothing",
}
FP8_CACHE: Final = ("--kv-cache-dtype", "fp8")
SETTINGS: Final[Sequence[Sequence[str]]] = (
    ("--block-size", "32"),
    ("--no-enable-prefix-caching", "--max-num-batched-tokens", "512"),
    ("--dtype", "float32"),
    FP8_CACHE,
)
UNSEEN_SETTINGS: Final[Sequence[Sequence[str]]] = (
    ("--dtype", "float16"),
    ("--dtype", "float16", "--kv-cache-dtype", "fp8"),
    ("--max-num-seqs", "3", "--max-num-batched-tokens", "1024"),
    ("--enforce-eager",),
)
GOLDEN_FAULTS: Final[dict[str, dict[str, object]]] = {
    "repetition loop": {"text": "loop"},
    "answers cut to 30%": {"cut_share": 0.3},
}
NOISE: Final = 0.03


@dataclass(frozen=True, kw_only=True)
class Case:
    """One server that was asked.

    Attributes:
        is_fault: Whether it must be caught.
    """

    server: str
    what: str
    is_fault: bool
    result: ProbeResult

    @property
    def is_caught(self) -> bool:
        """Whether the gate calls its answers wrong."""
        failure = self.result.failure
        return failure is not None and failure.kind is FailureKind.WRONG_ANSWERS

    @property
    def is_right(self) -> bool:
        """A fault is caught; what has none is measured."""
        return self.is_caught if self.is_fault else self.result.status is ProbeStatus.MEASURED


def planted(vllm: Path, model: Path, out: Path, *, unseen: bool = False) -> Path:
    """The folder of the copies, made by vLLM's own Python."""
    more = ["--unseen"] if unseen else []
    python = vllm / "bin" / "python"
    subprocess.run([python, PLANT, model, out, *more], check=True, timeout=300, capture_output=True)
    return out


def vllm_cases(
    gate: VllmGate,
    copies: Path,
    settings: Sequence[Sequence[str]] = SETTINGS,
    *,
    only: Sequence[str] = (),
) -> list[Case]:
    """Real vLLM: restart and other settings without an alarm, and each fault."""
    clean = {"clean, restarted": Served(copies / "clean")} | {
        f"clean, `{' '.join(options)}`": Served(copies / "clean", options) for options in settings
    }
    faulty = {what: Served(copies / name) for name, what in FAULTS.items()}
    return _asked_all(gate, copies, clean, faulty, only)


def _asked_all(
    gate: VllmGate,
    copies: Path,
    clean: Mapping[str, Served],
    faulty: Mapping[str, Served],
    only: Sequence[str],
) -> list[Case]:
    """The cases whose name has one of the words of `only` in it; all without such words."""
    servers = {
        what: served
        for what, served in {**clean, **faulty}.items()
        if not only or any(word in what for word in only)
    }
    reference = answers_of(gate.ask(Served(copies / "clean")))
    results = gate.ask_all(list(servers.values()), reference)
    return [
        Case(server="vLLM", what=what, is_fault=what in faulty, result=result)
        for what, result in zip(servers, results, strict=True)
    ]


def unseen_cases(gate: VllmGate, copies: Path, *, only: Sequence[str] = ()) -> list[Case]:
    """Real vLLM with what the gate's bounds were not chosen by."""
    clean = {
        "clean, restarted": Served(copies / "clean"),
        "clean, weights rounded to 8 bits": Served(copies / "eight_bit_weights"),
    } | {
        f"clean, `{' '.join(options)}`": Served(copies / "clean", options)
        for options in UNSEEN_SETTINGS
    }
    faulty = {what: Served(copies / name) for name, what in UNSEEN_FAULTS.items()}
    return _asked_all(gate, copies, clean, faulty, only)


def golden_faults() -> list[Case]:
    """The golden server's faults."""
    with GoldenGate() as gate:
        reference = answers_of(gate.ask())
        return [
            Case(server="golden", what=what, is_fault=True, result=gate.ask(reference, **script))
            for what, script in GOLDEN_FAULTS.items()
        ]


def noisy_runs(count: int) -> list[Case]:
    """The golden server without a fault; every log-probability of every run has noise."""
    with GoldenGate() as gate:
        reference = answers_of(gate.ask())
        results = [gate.ask(reference, logprob_noise=NOISE) for _ in range(count)]
    return [
        Case(server="golden", what="clean, 3% of noise", is_fault=False, result=result)
        for result in results
    ]


def row(case: Case) -> str:
    """A line of the table."""
    metrics = case.result.metrics
    failure = case.result.failure
    verdict = "no alarm" if failure is None else failure.message
    cells = [
        case.server,
        case.what,
        "must be caught" if case.is_fault else "must pass",
        verdict if case.is_right else f"**WRONG**: {verdict}",
        _shown(metrics["perplexity_ratio"], ".3f"),
        _shown(metrics["logprob_deviation_ratio"], ".1%"),
        _shown(metrics["greedy_agreement_ratio"], ".0%"),
    ]
    return f"| {' | '.join(cells)} |"


def summary(cases: Sequence[Case]) -> str:
    """The line for many clean runs: how many alarms, and the worst of each figure."""
    alarms = sum(not case.is_right for case in cases)
    every = [case.result.metrics for case in cases]
    cells = [
        cases[0].server,
        f"{cases[0].what}, {len(cases)} runs",
        "must pass",
        f"{'**WRONG**: ' if alarms else ''}{alarms} alarms",
        _shown(_extreme(every, "perplexity_ratio", max), ".3f"),
        _shown(_extreme(every, "logprob_deviation_ratio", max), ".1%"),
        _shown(_extreme(every, "greedy_agreement_ratio", min), ".0%"),
    ]
    return f"| {' | '.join(cells)} |"


def _extreme(rows: Sequence[Any], tag: str, pick: Any) -> float | None:
    values = [row[tag] for row in rows if row[tag] is not None]
    return pick(values) if values else None


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def main() -> int:
    """Ask every server, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vllm", type=Path, help="environment with vLLM; without: golden only")
    parser.add_argument("--model", type=Path, help="folder made by .ci/tiny_model.py")
    parser.add_argument("--clean-runs", type=int, default=200)
    parser.add_argument("--unseen", action="store_true", help="other faults, settings and scale")
    parser.add_argument("--only", nargs="*", default=[], help="words of the servers to ask")
    arguments = parser.parse_args()
    print("| server | what | | verdict | perplexity | log-probabilities | agreement |")
    print("|---|---|---|---|---|---|---|")
    asked: list[Case] = []
    with tempfile.TemporaryDirectory(prefix="autotune-gate-") as temporary:
        folder = Path(temporary)
        if arguments.vllm is not None:
            unseen = arguments.unseen
            copies = planted(arguments.vllm, arguments.model, folder / "copies", unseen=unseen)
            cases = unseen_cases if unseen else vllm_cases
            asked += cases(VllmGate(arguments.vllm, folder), copies, only=arguments.only)
        asked += golden_faults()
        clean = noisy_runs(arguments.clean_runs)
    print("\n".join(map(row, asked)))
    if clean:
        print(summary(clean))
    return 0 if all(case.is_right for case in (*asked, *clean)) else 1


if __name__ == "__main__":
    sys.exit(main())
