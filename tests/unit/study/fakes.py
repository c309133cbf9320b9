"""A runner that measures a made-up landscape in virtual time, and a small space for it."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from autotune.clock import VirtualClock
from autotune.errors import AutotuneError
from autotune.records import (
    Applied,
    Configuration,
    Failure,
    FailureKind,
    Outcome,
    OutcomeStatus,
    PhaseSpan,
    ProbeResult,
    ProbeStatus,
    Scalar,
    TrialRecord,
)
from autotune.seams.engine import Removal, Screening, Settled
from autotune.seams.trial import TrialRequest
from autotune.spec.space import SearchSpace, space_from
from autotune.spec.study import StudySpec, study_from

SPACE = space_from(
    {
        "name": "small",
        "parameters": {
            "kv_cache_dtype": {"choices": ["default", "fp8"]},
            "max_num_seqs": {"choices": ["default", 16, 64, 256]},
            "max_num_batched_tokens": {"choices": [128, 2048, 8192]},
            "gpu_memory_utilization": {"low": 0.8, "high": 0.96, "step": 0.02},
            "kv_offload_gib": {"low": 0, "high": 80, "step": 16},
            "block_size": {"choices": ["default", 16], "when": {"kv_cache_dtype": ["fp8"]}},
        },
        "relations": [{"at_least": ["max_num_batched_tokens", "max_num_seqs"]}],
    },
    where="small",
)


def study_spec(**changes: object) -> StudySpec:
    """The default study under the name `s` with 2 s to first token at 8K, and changes."""
    limits = [{"metric": "ttft_8k_ns", "at_most_s": 2}]
    return study_from({"name": "s", "limits": limits, **changes}, where="test")


def measured(configuration: Configuration) -> dict[str, float | None]:
    """Metrics of the made-up landscape: bigger batches are faster and slower to first token."""
    values = configuration.values
    seqs = float(values.get("max_num_seqs", 64))
    budget = float(values.get("max_num_batched_tokens", 2048))
    share = float(values.get("gpu_memory_utilization", 0.9))
    fp8 = values.get("kv_cache_dtype") == "fp8"
    return {
        "output_tokens_per_s": 1000.0 * seqs / (seqs + 50) * (0.95 if fp8 else 1.0),
        "ttft_8k_ns": 1e9 * (0.5 + 2048 / budget * 0.4 + seqs / 1000),
        "context_capacity_tokens": (share - 0.5) * 1e5 * (2 if fp8 else 1),
        "failed_requests_count": 0.0,
        "gpu_memory_peak_bytes": share * 12 * 1024**3,
    }


def failing(configuration: Configuration) -> Failure | None:
    """Too much of the GPU runs out of memory under load."""
    share = configuration.get("gpu_memory_utilization")
    if isinstance(share, float) and share > 0.925:
        return Failure(
            kind=FailureKind.GPU_OOM_UNDER_LOAD,
            phase="probe:throughput",
            message="out of memory",
            margin_gib=(0.92 - share) * 12,
        )
    return None


def screening(configuration: Configuration) -> Screening:
    """More than 64 GiB of offload would not fit the host."""
    offload = float(configuration.values.get("kv_offload_gib", 0))
    failure = None
    if offload > 64:
        failure = Failure(
            kind=FailureKind.WOULD_NOT_FIT, phase="screening", message="no host memory for that"
        )
    return Screening(failure=failure, host_margin_gib=64 - offload)


Judge = Callable[[Configuration], Failure | None]


@dataclass
class FakeRunner:
    """Runs trials of the landscape, 10 virtual seconds each.

    Attributes:
        script: Record number to the failure or error that this trial meets instead.
        lacking: Parameters that this engine lacks, with the reason.
        default: Settings that are this engine's default anyway, with the reason.
        environment: What every record says of the machine.
        applied: What every server reads back of what it was not asked for.
        disturbed: Record number to what disturbed that trial.
    """

    clock: VirtualClock
    study: str = "s"
    judge: Judge = failing
    script: Mapping[int, Failure | AutotuneError] = field(default_factory=dict)
    lacking: Mapping[str, str] = field(default_factory=dict)
    default: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    applied: Mapping[str, Scalar] = field(default_factory=dict)
    disturbed: Mapping[int, str] = field(default_factory=dict)
    requests: list[TrialRequest] = field(default_factory=list)

    async def run(self, request: TrialRequest) -> TrialRecord:
        self.requests.append(request)
        start_ns = self.clock.now_ns()
        met = self.script.get(request.number)
        try:
            await self.clock.sleep(10)
        except asyncio.CancelledError:
            met = Failure(kind=FailureKind.INTERRUPTED, phase="all", message="stopped by the user")
        if isinstance(met, AutotuneError):
            raise met
        failure = met or self.judge(request.configuration)
        status = OutcomeStatus.MEASURED
        if failure is not None:
            host = {FailureKind.INTERRUPTED, FailureKind.PORT_IN_USE, FailureKind.DEPLOYER_FAULT}
            status = OutcomeStatus.FAILED if failure.kind in host else OutcomeStatus.INFEASIBLE
        names = request.probes or ("throughput",)
        return TrialRecord(
            study=self.study,
            number=request.number,
            kind=request.kind,
            label=request.label,
            configuration=request.configuration,
            outcome=Outcome(status=status, failure=failure),
            metrics=measured(request.configuration) if failure is None else {},
            probes=tuple(
                ProbeResult(
                    probe=name,
                    status=ProbeStatus.MEASURED,
                    disturbed=self.disturbed.get(request.number, ""),
                )
                for name in names
            )
            if failure is None
            else (),
            phases=(PhaseSpan(name="all", start_ns=start_ns, end_ns=self.clock.now_ns()),),
            left_out=request.left_out,
            environment=self.environment,
            applied=(
                Applied(settings={**self.applied, **request.configuration.values})
                if self.applied
                else None
            ),
            wall_start=self.clock.wall().isoformat(),
        )

    def screen(self, configuration: Configuration) -> Screening:
        return screening(configuration)

    def settle(self, configuration: Configuration) -> Settled:
        lacks = [n for n, _ in configuration.items if n in self.lacking]
        redundant = {n: self.default[n] for n, _ in configuration.items if n in self.default}
        return Settled(
            configuration=configuration.without(*lacks, *redundant),
            left_out=tuple(Removal(parameter=n, value=None, reason=self.lacking[n]) for n in lacks),
            redundant=redundant,
        )


def space() -> SearchSpace:
    """The small space."""
    return SPACE
