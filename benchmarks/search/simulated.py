"""Studies on the simulated engine: what the whole server does in every cell of a space.

Each seed is another truth: a card whose efficiencies differ from its file by up to 40%, each
attention backend by a factor of its own. The prior is the file as it stands, or another card's.
The truth is played once for each landscape and kept in a table (`truths.py`).

    python -m benchmarks.search.simulated --seeds 20      # make the tables beforehand
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np

from autotune.cli.running import open_study
from autotune.cli.wiring import Workbench
from autotune.engines.model_shape import shape_of
from autotune.engines.simulated.card import Card, card_named
from autotune.engines.simulated.predictor import predictor_on
from autotune.engines.simulated.refusals import StartRefused
from autotune.engines.simulated.release import release_named
from autotune.engines.simulated.replay import Replay, replayed_metrics
from autotune.engines.simulated.settings import ServeSettings
from autotune.records import Configuration, Failure, FailureKind
from autotune.seams.engine import Screening
from autotune.spec.study import study_from
from autotune.spec.workload import Workload
from autotune.study.distributions import enumerate_space
from autotune.study.priors import screening_prior
from autotune.units import BYTES_PER_GIB, gib_from_bytes
from benchmarks.search.problem import FloatArray, Problem, Truth
from benchmarks.search.truths import kept_table

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


_SHORT: Final = {
    "warmup_requests": 0,
    "ttft_max_tokens": 2,
    "long_context_tokens": (8192,),
    "long_context_output_tokens": 2,
}
"""A simulated server needs no warming up, and of single answers only the first token counts."""


def _load(concurrency: int, requests: int, prompt: int, output: int) -> dict[str, int]:
    return {
        "concurrency": concurrency,
        "requests": requests,
        "prompt_tokens": prompt,
        "output_tokens": output,
    }


CASES = (
    Case("rtx-5070", "Qwen/Qwen2.5-7B-Instruct-AWQ", "rtx-5070", "a100-40", _load(48, 72, 512, 64)),
    Case("l4", "Qwen/Qwen2.5-7B-Instruct", "a10", "rtx-3090", _load(64, 96, 256, 48)),
    Case("rtx-4090", "Qwen/Qwen2.5-14B-Instruct-AWQ", "rtx-4090", "l4", _load(16, 24, 4096, 48)),
    Case("h100", "Qwen/Qwen2.5-1.5B-Instruct", "h100", "l4", _load(96, 144, 256, 48)),
    Case("h100", "Qwen/Qwen2.5-7B-Instruct", "a100-80", "rtx-4090", _load(48, 72, 2048, 48)),
)
"""A landscape's case is its seed modulo their number."""


class SimulatedProblem(Problem):
    """A case whose card differs from its file by a seed of its own."""

    seeds = SEEDS
    noise_sd = 0.01
    """The simulated engine's own, of eight starts of each case's card: 0.4 to 1.7% in throughput,
    0.7 to 1.3% in the time to first token."""

    def __init__(self, seed: int, **_: object) -> None:
        self.case = CASES[seed % len(CASES)]
        self.number = seed
        self.spec = study_from(_raw_spec(self.case, seed), where="bench")
        self._bench = _workbench(self.case)
        self.space = self._bench.space.space
        self._card = perturbed(card_named(self.case.card), np.random.default_rng((seed, 5)))
        self._load = Workload(**_SHORT, **self.case.workload)
        self._played: dict[object, dict[str, float]] = {}
        bound = (self._card.nvml_memory_mib << 20) - BYTES_PER_GIB
        self._screen_prior = screening_prior(self._screening, gpu_bound_bytes=bound)
        cards = {
            "right": self._card,
            "wrong": card_named(self.case.believed),
            "foreign": card_named(self.case.foreign),
        }
        engine, context = self._bench.backend.engine, self._bench.context
        self._priors = {
            name: predictor_on(engine, context, self._load, c) for name, c in cards.items()
        }
        self._predicted: dict[tuple[Configuration, str], dict[str, float]] = {}

    @cached_property
    def table(self) -> dict[Configuration, Truth]:
        """The whole space, from disk or made now."""
        inputs = [self._card.model_dump_json(), self._load.model_dump_json(), str(self.space)]
        return kept_table(f"{self.case.name}_{self.number}", inputs, self._play_all)

    @property
    def plays(self) -> int:
        """How many servers were played so far."""
        return len(self._played)

    def _play_all(self) -> dict[Configuration, Truth]:
        return {c: self.play(c) for c in enumerate_space(self.space)}

    def play(self, configuration: Configuration) -> Truth:
        """Run the simulated engine, without noise and without a trial around it."""
        card, context = self._card, self._bench.context
        plan = self._bench.backend.engine.launch_plan(configuration, context)
        replay = Replay(
            argv=plan.argv,
            environment=dict(plan.env),
            shape=shape_of(context.model),
            release=release_named(None),
            workload=self._load,
            weights_bytes=context.model.weights_bytes,
        )
        try:
            memory = replay.memory_on(card).plan()
            over = gib_from_bytes(memory.gpu_busy - (card.nvml_memory_mib << 20) + BYTES_PER_GIB)
            if over > 0:
                return _failed(FailureKind.MEMORY_LIMIT, "GPU memory over its headroom", -over)
            settings = replay.settings_on(card)
            key = _what_matters(settings, self._load, memory.kv_tokens, memory.offload_blocks)
            if key not in self._played:
                self._played[key] = replayed_metrics(card, replay)
            figures = self._played[key]
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
        return self.play(configuration)  # the engine's default may lie outside

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


def _what_matters(
    settings: ServeSettings, load: Workload, kv_tokens: int, offload_blocks: int
) -> object:
    """Servers of one such key serve a load alike; most cells of a space need no play of their own.

    The share of memory and the longest length decide how many KV blocks there are, and no more;
    beyond what the load can fill at once their number does not matter.
    """
    alike = replace(settings, gpu_memory_utilization=0.0, max_model_len=0, explicit=())
    filled = load.concurrency * (load.prompt_tokens + load.output_tokens + settings.block_size)
    longest = max(load.long_context_tokens) + load.long_context_output_tokens
    enough = 2 * max(filled, longest)
    return alike, min(kv_tokens, enough), kv_tokens > longest, offload_blocks


def perturbed(card: Card, rng: np.random.Generator) -> Card:
    """The card as it really is: rates off by up to 40%, each backend by its own factors."""

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


def main() -> None:
    """Make the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        problem = SimulatedProblem(seed)
        feasible = problem.feasible_values()
        print(f"{problem.case.name}: {len(feasible)} of {len(problem.table)} feasible", flush=True)


if __name__ == "__main__":
    main()
