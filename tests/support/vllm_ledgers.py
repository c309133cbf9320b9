"""Published memory of real vLLM starts (`golden/data/vllm_logs/public_ledgers.yaml`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

import yaml

from autotune.clock import VirtualClock
from autotune.engines.models import read_model
from autotune.records import (
    Configuration,
    Failure,
    FailureKind,
    MemoryLedger,
    Outcome,
    OutcomeStatus,
    TrialKind,
    TrialRecord,
)
from autotune.seams.engine import Capabilities, EngineTarget, LaunchContext, ModelFacts
from autotune.seams.telemetry import Gpu, Hardware
from autotune.units import BYTES_PER_GIB, BYTES_PER_MIB
from tests.support.vllm_texts import DATA

OUTCOMES = {
    "started": None,
    "kv_too_small": FailureKind.KV_TOO_SMALL,
    "no_room": FailureKind.NO_ROOM_FOR_KV,
}


NO_CACHE: Final = Path(__file__).parent / "no-compile-cache"
"""A folder for compiled graphs in which none are."""

COLD_COMPILE_S: Final = 20.0
"""For cold starts whose log's seconds of torch.compile were not published."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """One start on one card."""

    card: str
    configuration: Configuration
    context: LaunchContext
    kv_gib: float
    kv_tokens: int | None
    weights_gib: float | None
    compile_s: float | None
    is_cold: bool
    failure: FailureKind | None
    fits_tokens: int | None
    unlike: str | None
    peak_mib: int | None

    @classmethod
    def of(cls, machine: Mapping[str, Any], trial: Mapping[str, Any]) -> Self:
        """From the file's entries."""
        capability = tuple(machine.get("compute_capability", (8, 6)))
        gpu = Gpu(
            index=0,
            name=machine["card"],
            memory_bytes=machine["card_mib"] * BYTES_PER_MIB,
            compute_capability=(capability[0], capability[1]),
            reserved_bytes=reserved_bytes(machine),
        )
        context = LaunchContext(
            target=EngineTarget(
                deployer="process", command=("vllm", "serve"), env=trial.get("env", {})
            ),
            capabilities=Capabilities(engine="vllm", release=trial["release"], platform="cuda"),
            hardware=Hardware(
                gpus=(gpu,), host_memory_bytes=64 * BYTES_PER_GIB, is_wsl=machine.get("wsl", False)
            ),
            model=facts(trial["model"]),
            port=8000,
            cache_dir=NO_CACHE if trial.get("cold") else None,
        )
        return cls(
            card=machine["card"],
            configuration=Configuration.of(trial["settings"]),
            context=context,
            kv_gib=trial["kv_gib"],
            kv_tokens=trial.get("kv_tokens"),
            weights_gib=trial.get("weights_gib"),
            compile_s=trial.get("compile_s"),
            is_cold=trial.get("cold", False),
            failure=OUTCOMES[trial.get("outcome", "started")],
            fits_tokens=trial.get("fits_tokens"),
            unlike=trial.get("unlike"),
            peak_mib=trial.get("peak_mib"),
        )

    @property
    def name(self) -> str:
        """For a test's id."""
        return f"{self.context.model.name} {self.configuration} on {self.card}"

    def record(self, predicted: Mapping[str, float]) -> TrialRecord:
        """What a study would have kept of this start."""
        failed = self.failure is not None
        failure = None
        if self.failure is not None:
            failure = Failure(kind=self.failure, phase="starting", message="refused")
        seconds = self.compile_s or (COLD_COMPILE_S if self.is_cold else None)
        compiled = {} if seconds is None else {"startup_compile_ns": seconds * 1e9}
        return TrialRecord(
            study="public",
            number=0,
            kind=TrialKind.BASELINE,
            configuration=self.configuration,
            outcome=Outcome(
                status=OutcomeStatus.INFEASIBLE if failed else OutcomeStatus.MEASURED,
                failure=failure,
            ),
            metrics=compiled,
            ledger=MemoryLedger(weights_gib=self.weights_gib, kv_cache_gib=self.kv_gib),
            predicted=predicted,
        )


def reserved_bytes(machine: Mapping[str, Any]) -> int | None:
    """What the driver keeps of a card whose memory in CUDA is known, as NVML would tell."""
    cuda_gib = machine.get("cuda_gib")
    if cuda_gib is None:
        return None
    return machine["card_mib"] * BYTES_PER_MIB - round(cuda_gib * BYTES_PER_GIB)


@cache
def facts(model: str) -> ModelFacts:
    """A model's shape: from the package's list, else from the file."""
    config = content()["configs"].get(model)
    if config is not None:
        return ModelFacts(name=model, config=config)
    return VirtualClock().run(read_model(model))


@cache
def content() -> dict[str, Any]:
    """The whole file."""
    text = (DATA / "vllm_logs" / "public_ledgers.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


@cache
def machines() -> tuple[tuple[Start, ...], ...]:
    """Starts, card by card."""
    return tuple(
        tuple(Start.of(machine, trial) for trial in machine["trials"])
        for machine in content()["machines"]
    )


@cache
def starts() -> tuple[Start, ...]:
    """Every start."""
    return tuple(start for machine in machines() for start in machine)
