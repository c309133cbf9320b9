"""Studies on the simulated engine: tables of what it does, without noise, for a whole space.

The truth is a card whose efficiencies differ from its file by up to 40%, with one effect of its
own; the prior is the file as it stands, or another card's. Tables are kept under `.scratch/`, for
one takes minutes.

    python -m benchmarks.search.simulated        # make every table
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from autotune.cli.running import open_study
from autotune.cli.wiring import Workbench
from autotune.engines.model_shape import shape_of
from autotune.engines.simulated.card import Card, card_named
from autotune.engines.simulated.predictor import predictor_on
from autotune.engines.simulated.refusals import StartRefused
from autotune.engines.simulated.release import release_named
from autotune.engines.simulated.replay import Replay, replayed_metrics
from autotune.records import Configuration, Failure, FailureKind
from autotune.seams.engine import Screening
from autotune.spec.study import study_from
from autotune.spec.workload import Workload
from autotune.study.distributions import enumerate_space
from autotune.study.priors import screening_prior
from autotune.units import BYTES_PER_GIB, gib_from_bytes
from benchmarks.search.problem import FloatArray, Problem, Truth

TABLES = Path(__file__).resolve().parents[2] / ".scratch" / "search"

RAW_SPACE = {
    "name": "bench",
    "parameters": {
        "attention_backend": {"choices": ["default", "FLASHINFER", "TRITON_ATTN"]},
        "kv_cache_dtype": {"choices": ["default", "fp8"]},
        "gpu_memory_utilization": {"choices": [0.8, 0.84, 0.88, 0.92, 0.96]},
        "max_num_seqs": {"choices": ["default", 16, 32, 64, 128]},
        "max_num_batched_tokens": {"choices": ["default", 1024, 4096, 8192]},
        "max_model_len": {"choices": ["default", 16384]},
        "kv_offload_gib": {"choices": ["default", 32]},
        "async_scheduling": {"choices": ["default", False]},
    },
    "relations": [{"at_least": ["max_num_batched_tokens", "max_num_seqs"]}],
}

SEEDS = tuple(
    Configuration.of(values)
    for values in (
        {"attention_backend": "FLASHINFER"},
        {"kv_cache_dtype": "fp8"},
        {"max_num_batched_tokens": 8192, "gpu_memory_utilization": 0.88},
        {"kv_offload_gib": 32},
    )
)


@dataclass(frozen=True)
class Case:
    """A card, a model, a load, the card whose file is believed, and one of another kind."""

    card: str
    model: str
    believed: str
    foreign: str
    workload: dict[str, int]

    @property
    def name(self) -> str:
        """Of its table."""
        load = "-".join(str(v) for v in self.workload.values())
        return f"{self.card}_{self.model.rpartition('/')[2]}_{load}"


CHAT = {"concurrency": 64, "requests": 96, "prompt_tokens": 512, "output_tokens": 96}
LONG = {"concurrency": 16, "requests": 32, "prompt_tokens": 4096, "output_tokens": 64}
CASES = (
    Case("rtx-5070", "Qwen/Qwen2.5-7B-Instruct-AWQ", "rtx-5070", "a100-40", CHAT),
    Case("l4", "Qwen/Qwen2.5-7B-Instruct", "a10", "rtx-3090", CHAT),
    Case("rtx-4090", "Qwen/Qwen2.5-14B-Instruct-AWQ", "rtx-4090", "l4", LONG),
)


class SimulatedProblem(Problem):
    """A case whose card differs from its file by a seed of its own."""

    seeds = SEEDS
    noise_sd = 0.02

    def __init__(self, seed: int, **_: object) -> None:
        self.case = CASES[seed % len(CASES)]
        self.number = seed
        self.spec = study_from(_raw_spec(self.case, seed), where="bench")
        self._bench = _workbench(self.case)
        self.space = self._bench.space.space
        self._card = perturbed(card_named(self.case.card), self.case)
        bound = (self._card.nvml_memory_mib << 20) - BYTES_PER_GIB
        self._screen_prior = screening_prior(self._screening, gpu_bound_bytes=bound)
        load = Workload(long_context_tokens=(8192,), **self.case.workload)
        cards = {
            "right": self._card,
            "wrong": card_named(self.case.believed),
            "foreign": card_named(self.case.foreign),
        }
        engine, context = self._bench.backend.engine, self._bench.context
        self._priors = {name: predictor_on(engine, context, load, c) for name, c in cards.items()}
        self._predicted: dict[tuple[Configuration, str], dict[str, float]] = {}

    @cached_property
    def table(self) -> dict[Configuration, Truth]:
        """The whole space, from disk or made now."""
        path = TABLES / f"{self.case.name}.json"
        if not path.exists():
            rows = [_row(c, self.play(c, self._card)) for c in enumerate_space(self.space)]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(rows))
        return dict(map(_from_row, json.loads(path.read_text())))

    def play(self, configuration: Configuration, card: Card) -> Truth:
        """Run the simulated engine, without noise and without a trial around it."""
        context = self._bench.context
        plan = self._bench.backend.engine.launch_plan(configuration, context)
        replay = Replay(
            argv=plan.argv,
            environment=dict(plan.env),
            shape=shape_of(context.model),
            release=release_named(None),
            workload=Workload(long_context_tokens=(8192,), **self.case.workload),
            weights_bytes=context.model.weights_bytes,
        )
        try:
            memory = replay.memory_on(card).plan()
            over = gib_from_bytes(memory.gpu_busy - (card.nvml_memory_mib << 20) + BYTES_PER_GIB)
            if over > 0:
                return _failed(FailureKind.MEMORY_LIMIT, "GPU memory over its headroom", -over)
            figures = replayed_metrics(card, replay)
        except StartRefused as refused:
            return _failed(_kind(str(refused)), str(refused), None)
        ttft = figures.get("ttft_8k_ns")
        if ttft is None:
            return _failed(FailureKind.KV_TOO_SMALL, "8K do not fit", None)
        return Truth(
            values=(figures["output_tokens_per_s"], ttft, float(memory.kv_tokens)),
            headroom_gib=-over,
        )

    def truth(self, configuration: Configuration) -> Truth:
        """From the table."""
        if configuration in self.table:
            return self.table[configuration]
        return self.play(configuration, self._card)  # the engine's default may lie outside

    def feasible_values(self) -> FloatArray:
        """Of the whole table."""
        return np.asarray([t.values for t in self.table.values() if self.is_feasible(t)])

    def _screening(self, configuration: Configuration) -> Screening:
        return self._bench.backend.engine.screen(configuration, self._bench.context)

    def screen(self, configuration: Configuration) -> Screening:
        """The engine's own memory model."""
        return self._screening(configuration)

    def prior(
        self, configuration: Configuration, belief: str = "wrong"
    ) -> Mapping[str, float] | None:
        """What the product would predict with a card's file, memory margins among it."""
        key = (configuration, belief)
        if key not in self._predicted:
            said = self._priors[belief](configuration)
            margins = self._screen_prior(configuration)
            self._predicted[key] = {**(said or {}), **(margins or {})}
        return self._predicted[key]


def perturbed(card: Card, case: Case) -> Card:
    """The card as it really is: rates off by up to 40%, one backend off the others' order."""
    rng = np.random.default_rng(sum(case.name.encode()))

    def off(value: float, most: float = 1.2) -> float:
        return float(min(most, value * rng.uniform(0.6, 1.4)))

    gemm = card.gemm.model_copy(
        update={"compute": off(card.gemm.compute), "bandwidth": off(card.gemm.bandwidth)}
    )
    attention = {
        name: a.model_copy(update={
            "prefill": off(a.prefill), "decode": off(a.decode), "fp8_decode": off(a.fp8_decode)
        })
        for name, a in card.attention.items()
    }  # fmt: skip
    host = card.host.model_copy(update={"iteration_us": off(card.host.iteration_us, 1e9)})
    memory = card.memory.model_copy(
        update={"activation_factor": off(card.memory.activation_factor, 9.0)}
    )
    return card.model_copy(
        update={"gemm": gemm, "attention": attention, "host": host, "memory": memory}
    )


def _raw_spec(case: Case, seed: int) -> dict[str, Any]:
    engine = {"name": "simulated", "deployer": "simulated", "hardware": case.card}
    return {"name": "b", "seed": seed, "model": case.model, "engine": engine, "space": RAW_SPACE}


_benches: dict[str, Workbench] = {}


def _workbench(case: Case) -> Workbench:
    if case.name not in _benches:
        spec = study_from(_raw_spec(case, 0), where="bench")
        _benches[case.name] = open_study(spec).workbench
    return _benches[case.name]


def _kind(text: str) -> FailureKind:
    lowered = text.lower()
    if "out of memory" in lowered:
        return FailureKind.GPU_OOM
    if "kv cache" in lowered or "cache blocks" in lowered:
        return FailureKind.KV_TOO_SMALL
    return FailureKind.UNSUPPORTED_COMBINATION


def _failed(kind: FailureKind, message: str, margin: float | None) -> Truth:
    return Truth(failure=Failure(kind=kind, phase="starting", message=message, margin_gib=margin))


def _row(configuration: Configuration, truth: Truth) -> list[Any]:
    failure = truth.failure
    told = None if failure is None else [failure.kind.value, failure.message, failure.margin_gib]
    return [configuration.values, truth.values, told, truth.headroom_gib]


def _from_row(row: list[Any]) -> tuple[Configuration, Truth]:
    values, figures, told, headroom = row
    if told is not None:
        return Configuration.of(values), _failed(FailureKind(told[0]), told[1], told[2])
    return Configuration.of(values), Truth(values=tuple(figures), headroom_gib=headroom)


if __name__ == "__main__":
    for index in range(len(CASES)):
        problem = SimulatedProblem(index)
        feasible = problem.feasible_values()
        print(problem.case.name, len(problem.table), "configurations,", len(feasible), "feasible")
