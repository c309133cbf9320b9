"""Test 1: how long the start took, and what the started server holds."""

from autotune.probes.asking import Asker, ProbeSkippedError
from autotune.probes.base import BaseProbe, Findings
from autotune.seams.probe import ProbeContext

_MILESTONES = (
    "startup_import_ns",
    "startup_weights_ns",
    "startup_compile_ns",
    "startup_graphs_ns",
)


class StartupProbe(BaseProbe):
    """Reads what the start left; asks nothing of the server."""

    name = "startup"
    test = 1
    is_timed = False
    metrics = ("startup_ns", *_MILESTONES, "context_capacity_tokens", "max_model_len_tokens")

    async def ask(self, context: ProbeContext, asker: Asker) -> Findings:  # noqa: ARG002
        """See `BaseProbe.ask`."""
        ready, applied = context.readiness, context.applied
        findings = Findings(
            metrics={
                **{tag: ready.milestones.get(tag) for tag in _MILESTONES},
                "context_capacity_tokens": applied.kv_cache_tokens,
                "max_model_len_tokens": applied.max_model_len_tokens,
            }
        )
        if ready.healthy_ns > ready.started_ns:
            findings.metrics["startup_ns"] = ready.healthy_ns - ready.started_ns
        else:
            findings.notes.append("the server was running already: its start was not seen")
        if all(value is None for value in findings.metrics.values()):
            message = "the server was running already and says nothing about itself"
            raise ProbeSkippedError(message)
        return findings
