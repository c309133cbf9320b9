"""Every source keeps the contract of sources."""

import os
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from autotune.seams.requests import HttpAnswer
from autotune.seams.telemetry import Source
from autotune.telemetry import deployment_sources, machine_sources
from autotune.telemetry.engine_memory import EngineMemorySource
from autotune.telemetry.engine_metrics import EngineMetricsSource
from autotune.telemetry.host import HostSource
from autotune.telemetry.nvml import NvmlSource
from tests.contract.source_suite import SAMPLE_KEYS, SourceSuite
from tests.support.fake_nvml import FakeNvml
from tests.support.still import StillDeployment


class TestNvmlSource(SourceSuite):
    """One GPU; blind on a machine without a driver."""

    @pytest.fixture
    def source(self) -> Source:
        """A card that tells everything."""
        return NvmlSource(library=FakeNvml())

    @pytest.fixture
    def blind(self) -> Source:
        """No driver."""
        return NvmlSource(library=FakeNvml(cards=None))


class TestNvmlSourceOfADeafCard(SourceSuite):
    """A card that refuses all but its memory; blind if it refuses that too."""

    refused = frozenset(name for name in dir(FakeNvml) if name.startswith("nvmlDeviceGet")) - {
        "nvmlDeviceGetCount",
        "nvmlDeviceGetHandleByIndex",
    }

    @pytest.fixture
    def source(self) -> Source:
        """Only memory."""
        return NvmlSource(
            index=0, library=FakeNvml(refused=self.refused - {"nvmlDeviceGetMemoryInfo"})
        )

    @pytest.fixture
    def blind(self) -> Source:
        """Nothing."""
        return NvmlSource(index=0, library=FakeNvml(refused=set(self.refused)))


class TestHostSource(SourceSuite):
    """This host; blind where neither shared memory nor pressure can be seen."""

    @pytest.fixture
    def source(self) -> Source:
        """This host."""
        return HostSource()

    @pytest.fixture
    def blind(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
        """A host whose /proc is shut."""

        def shut(*_arguments: object) -> None:
            raise OSError(13, "Permission denied")

        for name in ("virtual_memory", "swap_memory", "cpu_times"):
            monkeypatch.setattr(psutil, name, shut)
        return HostSource(shm=tmp_path / "none", pressure=tmp_path / "none")


class TestEngineMemorySource(SourceSuite):
    """Processes of this test; blind once they are gone."""

    @pytest.fixture
    def source(self) -> Source:
        """This very process as the engine."""
        return EngineMemorySource(StillDeployment((os.getpid(),)))

    @pytest.fixture
    def blind(self) -> Source:
        """An engine that has ended."""
        return EngineMemorySource(StillDeployment())


class FakeMetrics:
    """A server's /metrics; None while nobody answers."""

    def __init__(self, answer: HttpAnswer | None) -> None:
        self.answer = answer

    async def get(self, path: str, *, timeout_s: float = 10.0) -> HttpAnswer | None:
        """One answer."""
        assert path == "/metrics"
        return self.answer


def gauges(text: str) -> Mapping[str, float | None]:
    """An engine's translation: more than is asked for, and not all of it."""
    return {"kv_usage_ratio": float(text), "prompt_tokens": 7.0, "requests_running_count": None}


class TestEngineMetricsSource(SourceSuite):
    """A server's metrics; blind while it does not answer."""

    @pytest.fixture
    def source(self) -> Source:
        """A server that answers."""
        return EngineMetricsSource(FakeMetrics(HttpAnswer(status=200, text="0.25")), gauges)  # type: ignore[arg-type]

    @pytest.fixture(params=[None, HttpAnswer(status=503, text="0.25")])
    def blind(self, request: pytest.FixtureRequest) -> Source:
        """A server that is not there, and one whose engine is dead."""
        return EngineMetricsSource(FakeMetrics(request.param), gauges)  # type: ignore[arg-type]


def test_together_they_give_every_key() -> None:
    """A trial's sources give all keys of a sample, the machine's alone those of the machine."""
    deployment = StillDeployment()
    client = FakeMetrics(None)
    metrics = EngineMetricsSource(client, gauges)  # type: ignore[arg-type]
    trial = (*deployment_sources(deployment, client), metrics)  # type: ignore[arg-type]
    assert {key for source in trial for key in source.keys} == SAMPLE_KEYS
    assert {key for source in machine_sources() for key in source.keys} < SAMPLE_KEYS


@pytest.mark.parametrize("key", ["gpu_memory_used_bytes", "host_memory_pressure_ratio"])
def test_the_declared_keys_are_read(key: str) -> None:
    """The list that sources are held against is the seam's own."""
    assert key in SAMPLE_KEYS
    assert len(SAMPLE_KEYS) > 15
