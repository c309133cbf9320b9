"""Deployments: time, log, end; the same study gives the same figures."""

import asyncio
from pathlib import Path

import pytest

from autotune.clock import VirtualClock
from autotune.engines.simulated.arguments import settings_from
from autotune.engines.simulated.boot import compile_key
from autotune.engines.simulated.card import card_named
from autotune.engines.simulated.client import SimulatedClient
from autotune.engines.simulated.deployer import SimulatedDeployment
from autotune.engines.vllm import logs, server_metrics
from autotune.engines.vllm.failures import explain
from autotune.errors import PortInUseError
from autotune.records import FailureKind
from autotune.seams.deployment import ExitEvidence
from autotune.seams.engine import Evidence
from tests.unit.engines.simulated.rig import (
    QWEN_1B5,
    QWEN_7B,
    closed_loop,
    deployer_of,
    identity,
    launch,
    machine_of,
    request,
    started,
    up_or_down,
)


def _figures(log: Path, *options: str, trial: int = 0, seed: int = 0) -> list[tuple[object, ...]]:
    """Everything a load gives on a deployment of its own."""
    clock = VirtualClock()
    deployer = deployer_of(clock, machine_of(card_named("h100"), QWEN_7B), seed=seed)

    async def main() -> list[tuple[object, ...]]:
        async with deployer.deploy(
            launch(*options), identity=identity(trial), log_path=log
        ) as deployment:
            assert isinstance(deployment, SimulatedDeployment)
            await up_or_down(deployment, clock)
            client = SimulatedClient(clock, lambda: deployment.server)
            asked = [request(f"r{i}", (i, 512), output=64) for i in range(24)]
            records = await closed_loop(client, asked, 8)
            return [(r.sent_ns, tuple(r.chunk_ns), r.end_ns, r.text) for r in records]

    return clock.run(main())


def test_a_study_gives_the_same_nanoseconds_again(tmp_path: Path) -> None:
    """Seed, trial and settings fix everything: every stamp, and the log."""
    first = _figures(tmp_path / "a.log", trial=3)
    again = _figures(tmp_path / "b.log", trial=3)
    assert first == again
    assert (tmp_path / "a.log").read_bytes() == (tmp_path / "b.log").read_bytes()


def test_repeats_of_a_configuration_differ_a_little(tmp_path: Path) -> None:
    """Another trial or seed is another measurement: within 5%, and not the same."""
    one = _figures(tmp_path / "a.log", trial=1)
    for other in (_figures(tmp_path / "b.log", trial=2), _figures(tmp_path / "c.log", seed=9)):
        assert other != one
        ends = [[int(str(r[2])) - int(str(r[0])) for r in records] for records in (one, other)]
        assert sum(ends[1]) == pytest.approx(sum(ends[0]), rel=0.05)


def test_a_start_takes_the_time_that_its_log_says(tmp_path: Path) -> None:
    """Weights, compilation and graphs are figures of the log, and together less than the start."""
    clock = VirtualClock()
    deployer = deployer_of(clock, machine_of(card_named("h100"), QWEN_7B))
    started(clock, deployer, launch(), tmp_path / "engine.log")
    milestones = logs.milestones((tmp_path / "engine.log").read_text())
    assert {"startup_import_ns", "startup_weights_ns", "startup_compile_ns",
            "startup_graphs_ns"} <= milestones.keys()  # fmt: skip
    assert 0 < sum(milestones.values()) < clock.now_ns()
    assert 40e9 < clock.now_ns() < 200e9


def test_a_second_start_finds_compiled_graphs(tmp_path: Path) -> None:
    """The same key loads from the cache; another budget compiles again."""

    def compile_ns(*options: str) -> int:
        log = tmp_path / "engine.log"
        started(clock, deployer, launch(*options), log)
        return logs.milestones(log.read_text())["startup_compile_ns"]

    clock = VirtualClock()
    deployer = deployer_of(clock, machine_of(card_named("h100"), QWEN_7B))
    cold = compile_ns()
    assert compile_ns("--gpu-memory-utilization", "0.8") < cold / 2
    assert compile_ns("--max-num-batched-tokens", "4096") > cold / 2


@pytest.mark.parametrize(
    ("options", "same"),
    [
        (("--gpu-memory-utilization", "0.8"), True),
        (("--no-enable-prefix-caching",), True),
        (("--no-async-scheduling",), True),
        (("--max-model-len", "8192"), False),
        (("--kv-cache-dtype", "fp8"), False),
        (("--max-num-seqs", "16"), False),
        (("--attention-backend", "TRITON_ATTN"), False),
    ],
)
def test_the_compile_cache_is_keyed_as_vllms(options: tuple[str, ...], *, same: bool) -> None:
    """Memory share, prefix caching and async scheduling are not in the key (`compute_hash`)."""
    machine = machine_of(card_named("h100"), QWEN_7B)
    plain, other = (
        compile_key(settings_from(("vllm", "serve", "m", *extra), {}, machine))
        for extra in ((), options)
    )
    assert (plain == other) is same


def test_the_log_says_what_the_server_has(tmp_path: Path) -> None:
    """Ledger and KV tokens of the log are those of the running server."""
    clock = VirtualClock()
    deployer = deployer_of(clock, machine_of(card_named("h100"), QWEN_7B))
    server = started(clock, deployer, launch(), tmp_path / "engine.log").server
    assert server is not None
    plan, ledger = server.plan, logs.ledger((tmp_path / "engine.log").read_text())
    assert ledger.kv_cache_tokens == plan.kv_tokens
    assert ledger.weights_gib == pytest.approx(plan.weights / 2**30, abs=0.01)
    assert ledger.activation_gib == pytest.approx(plan.activation / 2**30, abs=0.02)
    assert ledger.graphs_gib == pytest.approx(plan.graphs / 2**30, abs=0.01)
    assert ledger.kv_cache_gib == pytest.approx(plan.kv_cache / 2**30, abs=0.01)


def test_metrics_are_read_by_vllms_reader(tmp_path: Path) -> None:
    """Every engine-neutral figure is there, and counts what was sent."""
    clock = VirtualClock()
    deployer = deployer_of(clock, machine_of(card_named("h100"), QWEN_1B5))

    async def main() -> dict[str, float | None]:
        plan = launch("--kv-offloading-size", "4")
        async with deployer.deploy(
            plan, identity=identity(), log_path=tmp_path / "engine.log"
        ) as deployment:
            assert isinstance(deployment, SimulatedDeployment)
            await up_or_down(deployment, clock)
            client = SimulatedClient(clock, lambda: deployment.server)
            for _ in range(2):
                await client.generate(request("a", (1, 320), output=10))
            answer = await client.get("/metrics")
            assert answer is not None
            return dict(server_metrics.gauges(answer.text))

    figures = clock.run(main())
    assert None not in figures.values()
    assert figures["prompt_tokens"] == 640
    assert figures["generation_tokens"] == 20
    assert figures["prefix_queries_tokens"] == 640
    assert figures["prefix_hits_tokens"] == 304
    assert figures["kv_usage_ratio"] == 0


def test_nobody_answers_before_it_is_up_and_after_it_is_gone(tmp_path: Path) -> None:
    """While it starts a connection is refused; once left, the deployment has an end."""
    clock = VirtualClock()
    deployer = deployer_of(clock)

    async def main() -> None:
        async with deployer.deploy(
            launch(), identity=identity(), log_path=tmp_path / "engine.log"
        ) as deployment:
            assert isinstance(deployment, SimulatedDeployment)
            client = SimulatedClient(clock, lambda: deployment.server)
            assert await client.get("/health") is None
            await up_or_down(deployment, clock)
            health = await client.get("/health")
            assert health is not None
            assert health.status == 200
            assert deployer.running_at("http://127.0.0.1:8000") is deployment
        assert deployment.exit_evidence() == ExitEvidence(exit_code=0, stopped_by_us=True)
        assert deployer.running_at("http://127.0.0.1:8000") is None

    clock.run(main())


def test_an_address_is_used_once_at_a_time(tmp_path: Path) -> None:
    """A second deployment at the same address is an error that names it."""
    clock = VirtualClock()
    deployer = deployer_of(clock)

    async def main() -> None:
        async with deployer.deploy(launch(), identity=identity(), log_path=tmp_path / "a.log"):
            with pytest.raises(PortInUseError, match=r"127\.0\.0\.1:8000"):
                await deployer.preflight(launch())

    clock.run(main())


def test_a_stop_is_noticed_by_whoever_waits(tmp_path: Path) -> None:
    """`wait_exit` returns as the server ends, with the evidence."""
    clock = VirtualClock()
    deployer = deployer_of(clock)

    async def main() -> tuple[ExitEvidence, ExitEvidence]:
        async with deployer.deploy(
            launch(), identity=identity(), log_path=tmp_path / "engine.log"
        ) as deployment:
            waiting = asyncio.create_task(deployment.wait_exit())
            stopped = await deployment.stop(grace_s=10)
            return await asyncio.wait_for(waiting, 1), stopped

    waited, stopped = clock.run(main())
    assert waited == stopped
    assert stopped.stopped_by_us


def test_a_card_that_is_too_full_fails_under_load(tmp_path: Path) -> None:
    """A fixed KV cache that leaves no room for a full batch: the engine dies, exit code 0."""
    clock = VirtualClock()
    machine = machine_of(card_named("rtx-3090"), QWEN_7B)
    deployer = deployer_of(clock, machine)
    log = tmp_path / "engine.log"

    async def main() -> ExitEvidence:
        plan = launch("--kv-cache-memory-bytes", "8.2G", "--max-num-batched-tokens", "8192",
                      "--max-num-seqs", "16", "--enforce-eager")  # fmt: skip
        async with deployer.deploy(plan, identity=identity(), log_path=log) as deployment:
            assert isinstance(deployment, SimulatedDeployment)
            await up_or_down(deployment, clock)
            assert deployment.server is not None, log.read_text()[-500:]
            client = SimulatedClient(clock, lambda: deployment.server)
            record = await client.generate(request("a", (1, 8192)))
            assert record.error is not None
            return await asyncio.wait_for(deployment.wait_exit(), 30)

    ended = clock.run(main())
    assert ended.exit_code == 0
    evidence = Evidence(phase="probe", healthy_once=True, exit=ended, log=log.read_text())
    failure = explain(evidence)
    assert failure is not None
    assert failure.kind is FailureKind.GPU_OOM_UNDER_LOAD
