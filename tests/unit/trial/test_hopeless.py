"""A trial that is asked after each probe whether it is worth going on."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from autotune.records import OutcomeStatus
from tests.support.fakes import FakeProbe
from tests.unit.trial.test_lifecycle import bench, request

PROBES = (
    FakeProbe("ttft", result={"ttft_short_ns": 5e7}),
    FakeProbe("long_context", result={"ttft_8k_ns": 1e9}),
)


def test_a_hopeless_trial_ends_with_what_it_has_measured(tmp_path: Path) -> None:
    """No failure, no limit missed for want of a figure, and a note that says why."""
    asked: list[Mapping[str, float | None]] = []

    def hopeless(metrics: Mapping[str, float | None]) -> str | None:
        asked.append(dict(metrics))
        return "no hope"

    built = bench(tmp_path, probes=PROBES)
    found = built.clock.run(built.runner.run(replace(request(), hopeless=hopeless)))
    assert found.outcome.status is OutcomeStatus.MEASURED
    assert [p.probe for p in found.probes] == ["ttft"]
    assert found.metrics["ttft_short_ns"] == 5e7
    assert "ended after the probe ttft: no hope" in found.notes
    assert asked == [{"ttft_short_ns": 5e7}]


def test_a_trial_with_hope_is_measured_whole(tmp_path: Path) -> None:
    """Both probes, no note."""
    built = bench(tmp_path, probes=PROBES)
    found = built.clock.run(built.runner.run(replace(request(), hopeless=lambda _metrics: None)))
    assert [p.probe for p in found.probes] == ["ttft", "long_context"]
    assert not any("ended after" in note for note in found.notes)
