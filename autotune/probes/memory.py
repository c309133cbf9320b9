"""Test 6: GPU and host memory through the whole trial, from the timeline."""

from collections.abc import Sequence
from typing import Final

from autotune.load.formulas import median
from autotune.probes.asking import Asker, ProbeSkippedError
from autotune.probes.base import BaseProbe, Findings
from autotune.seams.probe import ProbeContext
from autotune.seams.telemetry import Sample

_PEAKS: Final = {
    "gpu_memory_peak_bytes": "gpu_memory_used_bytes",
    "host_memory_peak_bytes": "host_memory_used_bytes",
    "engine_memory_peak_bytes": "engine_memory_bytes",
    "shm_peak_bytes": "shm_used_bytes",
}
_STEADY: Final = {
    "gpu_memory_steady_bytes": "gpu_memory_used_bytes",
    "host_memory_steady_bytes": "host_memory_used_bytes",
}


class MemoryProbe(BaseProbe):
    """Reads what telemetry saw while the start and the other probes ran; asks nothing."""

    name = "memory"
    test = 6
    is_timed = False
    metrics = (*_PEAKS, *_STEADY, "gpu_power_mean_w")

    async def ask(self, context: ProbeContext, asker: Asker) -> Findings:  # noqa: ARG002
        """See `BaseProbe.ask`."""
        whole = context.timeline
        # Steady is what serving needs: from the moment the server was ready.
        serving = [sample for sample in whole if sample.at_ns >= context.readiness.healthy_ns]
        powers = _values(serving, "gpu_power_w")
        findings = Findings(
            metrics={
                **{tag: max(_values(whole, key), default=None) for tag, key in _PEAKS.items()},
                **{tag: _median(_values(serving, key)) for tag, key in _STEADY.items()},
                "gpu_power_mean_w": sum(powers) / len(powers) if powers else None,
            }
        )
        if all(value is None for value in findings.metrics.values()):
            message = "no telemetry of this machine's memory"
            raise ProbeSkippedError(message)
        return findings


def _values(samples: Sequence[Sample], key: str) -> list[float]:
    return [value for s in samples if (value := s.values.get(key)) is not None]


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None
