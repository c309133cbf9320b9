"""The one entry for the wiring: engine, deployer, connector, sources, hardware fit together."""

from pathlib import Path
from typing import Any

import pytest

from autotune.clock import Clock, VirtualClock
from autotune.engines.simulated.backend import SimulatedBackend, simulated_backend
from autotune.errors import EngineError, ModelError, SpecError
from autotune.records import Configuration
from autotune.seams.deployment import Deployment, ExitEvidence
from autotune.seams.engine import EngineTarget, LaunchContext, ModelFacts
from autotune.seams.requests import Client, LoadPlan, LoadResult
from autotune.spec.study import StudySpec, study_from
from tests.unit.engines.simulated.rig import QWEN_7B_AWQ, identity, request


class _Load:
    """The part of the load generator that these tests need."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client, self._clock = client, clock

    async def run(self, plan: LoadPlan) -> LoadResult:
        """One after the other."""
        start = self._clock.now_ns()
        records = [await self._client.generate(r) for r in plan.requests]
        return LoadResult(records=tuple(records), start_ns=start, end_ns=self._clock.now_ns())


def _spec(**engine: Any) -> StudySpec:
    return study_from({"engine": {"name": "simulated", **engine}}, where="test")


def _backend(clock: Clock, **engine: Any) -> SimulatedBackend:
    return simulated_backend(_spec(**engine), clock, QWEN_7B_AWQ, _Load)


def test_an_rtx_5070_is_the_default() -> None:
    """12 GB, compute capability 12.0, 94 GiB of host memory, all of which containers may share."""
    hardware = _backend(VirtualClock()).hardware
    assert hardware.gpu is not None
    assert hardware.gpu.name == "NVIDIA GeForce RTX 5070"
    assert hardware.gpu.compute_capability == (12, 0)
    assert hardware.gpu.memory_bytes == 12227 * 2**20
    assert hardware.host_memory_bytes == 94 * 2**30
    assert hardware.shm_bytes == 94 * 2**30


def test_card_release_and_memory_are_the_studys() -> None:
    """`engine.hardware`, `engine.release`, `engine.host_memory_gib`."""
    clock = VirtualClock()
    backend = _backend(clock, hardware="h100", release="0.26.0", host_memory_gib=200)
    target = EngineTarget(deployer="simulated", command=("vllm", "serve"))
    found = clock.run(backend.engine.detect(target))
    assert (found.engine, found.release, found.platform) == ("simulated", "0.26.0", "cuda")
    assert "num-scheduler-steps" not in found.flags
    assert backend.hardware.host_memory_bytes == 200 * 2**30
    assert backend.card.name == "h100"


@pytest.mark.parametrize("engine", [{"hardware": "gtx-1"}, {"release": "9.9.9"}])
def test_a_card_or_release_that_does_not_exist_is_named(engine: dict[str, str]) -> None:
    """The field of the study is in the message."""
    with pytest.raises(SpecError, match=rf"engine\.{next(iter(engine))}"):
        _backend(VirtualClock(), **engine)


def test_a_model_without_a_shape_is_an_error() -> None:
    """Sizes follow from config.json."""
    with pytest.raises(ModelError):
        simulated_backend(_spec(), VirtualClock(), ModelFacts(name="m"), _Load)


def test_a_configuration_goes_all_the_way(tmp_path: Path) -> None:
    """Engine writes a launch, the deployer runs it, a connection answers, sources look at it."""
    clock = VirtualClock()
    backend = _backend(clock)
    engine = backend.engine

    async def main() -> None:
        target = EngineTarget(deployer="simulated", command=("vllm", "serve"))
        context = LaunchContext(
            target=target,
            capabilities=await engine.detect(target),
            hardware=backend.hardware,
            model=QWEN_7B_AWQ,
            port=8000,
        )
        asked = Configuration.of({"kv_cache_dtype": "fp8", "attention_backend": "TRITON_ATTN",
                                  "max_model_len": 16384, "kv_offload_gib": 8})  # fmt: skip
        plan = engine.launch_plan(asked, context)
        log = tmp_path / "engine.log"
        async with (
            backend.deployer.deploy(plan, identity=identity(), log_path=log) as deployment,
            backend.connect(base_url=plan.base_url, model="m") as connection,
        ):
            (source,) = backend.sources(deployment, connection.client)
            before = await source.read()
            while (answer := await connection.client.get(plan.health_path)) is None:
                assert deployment.exit_evidence() is None, log.read_text()[-800:]
                await clock.sleep(0.5)
            assert answer.status == 200
            applied = await engine.read_back(
                asked, context.capabilities, connection.client, log.read_text()
            )
            assert applied.mismatches == ()
            assert applied.unverified == ()
            assert applied.max_model_len_tokens == 16384
            result = await connection.load.run(LoadPlan(requests=(request("a", (1, 512)),)))
            assert result.records[0].error is None
            after = await source.read()
            assert set(source.keys) == set(before) == set(after)
            assert (before["shm_used_bytes"], after["shm_used_bytes"]) == (0, 8 * 2**30)
            assert (after["gpu_memory_used_bytes"] or 0) > 10 * (
                before["gpu_memory_used_bytes"] or 0
            )

    clock.run(main())


def test_sources_look_at_simulated_deployments_only() -> None:
    """Anything else is an error, not a guess."""

    class Other:
        base_url, log_path, started_ns = "", Path(), 0

        def pids(self) -> tuple[int, ...]:
            return ()

        def cgroup(self) -> Path | None:
            return None

        def exit_evidence(self) -> ExitEvidence | None:
            return None

        @property
        def is_out_of_sight(self) -> bool:
            return False

        async def wait_exit(self) -> ExitEvidence:
            return ExitEvidence()

        async def stop(self, *, grace_s: float) -> ExitEvidence:
            del grace_s
            return ExitEvidence()

    backend = _backend(VirtualClock())
    other: Deployment = Other()
    with pytest.raises(EngineError):
        backend.sources(other, object())  # type: ignore[arg-type] # never used
