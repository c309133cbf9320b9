"""The life of one trial, from every start to every end, on a virtual clock."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from autotune.clock import VirtualClock
from autotune.errors import (
    DeployerError,
    EngineError,
    HostError,
    ImageMissingError,
    PortInUseError,
)
from autotune.paths import StudyPaths
from autotune.records import (
    Applied,
    Configuration,
    Failure,
    FailureKind,
    Mismatch,
    OutcomeStatus,
    TrialKind,
    TrialRecord,
)
from autotune.seams.deployment import ExitEvidence
from autotune.seams.engine import EngineTarget, LaunchContext, ModelFacts
from autotune.seams.telemetry import Gpu, Hardware
from autotune.seams.trial import TrialRequest
from autotune.spec.study import StudySpec, study_from
from autotune.trial.lifecycle import Trials
from autotune.trial.tools import TrialTools
from tests.support.fakes import (
    CAPABILITIES,
    FakeConnector,
    FakeDeployer,
    FakeEngine,
    FakeProbe,
    MemorySource,
    Script,
)

GIB = 1024**3
HARDWARE = Hardware(
    gpus=(Gpu(index=0, name="GPU", memory_bytes=12 * GIB, compute_capability=(12, 0)),),
    host_memory_bytes=94 * GIB,
)
SPEC = study_from(
    {
        "name": "s",
        "probes": ["ttft", "long_context"],
        "limits": [{"metric": "ttft_8k_ns", "at_most_s": 2}],
        "budget": {"startup_timeout_s": 60, "trial_timeout_s": 300},
        "workload": {"probe_timeout_s": 100},
    },
    where="test",
)


@dataclass
class Bench:
    """A runner over fakes, and the fakes."""

    runner: Trials
    clock: VirtualClock
    deployer: FakeDeployer
    engine: FakeEngine

    def run(self, kind: TrialKind = TrialKind.SEARCH) -> TrialRecord:
        """One trial of a configuration."""
        return self.clock.run(self.runner.run(request(kind)))


def request(kind: TrialKind = TrialKind.SEARCH) -> TrialRequest:
    """Trial 3 of some configuration."""
    return TrialRequest(number=3, kind=kind, configuration=Configuration.of({"max_num_seqs": 8}))


def bench(
    tmp_path: Path,
    script: Script | None = None,
    probes: Sequence[FakeProbe] = (),
    *,
    engine: FakeEngine | None = None,
    error: Exception | None = None,
    spec: StudySpec = SPEC,
    deployer_name: str = "fake",
    measures_all: bool = False,
) -> Bench:
    """Put a runner together; the default server is healthy after 10 s and lives for ever."""
    clock = VirtualClock()
    deployer = FakeDeployer(script or Script(), clock, error)
    engine = engine or FakeEngine()
    context = LaunchContext(
        target=EngineTarget(deployer=deployer_name, command=("fake",)),
        capabilities=CAPABILITIES,
        hardware=HARDWARE,
        model=ModelFacts(name="m"),
        port=0,
        startup_timeout_s=spec.budget.startup_timeout_s,
    )
    asked = probes or (FakeProbe("ttft"), FakeProbe("long_context", result={"ttft_8k_ns": 1e9}))
    tools = TrialTools(
        clock=clock,
        engine=engine,
        deployer=deployer,
        connect=FakeConnector(deployer),
        sources=lambda deployment, _client: (MemorySource(deployment),),  # type: ignore[arg-type]
        context=context,
        free_port=lambda _host: 8123,
        probes={probe.name: probe for probe in asked},
        environment={"engine_release": "1.0"},
    )
    paths = StudyPaths(tmp_path / spec.name)
    runner = Trials(spec, paths, tools, owner=(1, "x"), measures_all=measures_all)
    return Bench(runner, clock, deployer, engine)


def failure_of(record: TrialRecord) -> Failure:
    """The failure that a record must have."""
    assert record.outcome.failure is not None
    return record.outcome.failure


def test_a_measured_trial_goes_through_every_phase_in_order(tmp_path: Path) -> None:
    """One record holds where the time went and what came out."""
    b = bench(tmp_path)

    record = b.run()

    assert record.outcome.status is OutcomeStatus.MEASURED
    assert [p.name for p in record.phases] == [
        "preparing", "deploying", "starting", "warming_up", "probe:ttft", "probe:long_context",
        "stopping", "waiting_for_memory",
    ]  # fmt: skip
    assert record.metrics == {"ttft_8k_ns": 1e9}
    assert record.limits[0].kept is True
    assert b.deployer.running == 0
    assert b.engine.learnt == [record]


def test_the_start_is_timed_to_the_first_healthy_answer(tmp_path: Path) -> None:
    """10 s of start are seen as 10 s, up to the pause between two questions."""
    record = bench(tmp_path).run()

    (starting,) = [p for p in record.phases if p.name == "starting"]
    assert 10.0 <= starting.duration_ns / 1e9 <= 10.3


def test_a_dead_engine_is_noticed_within_a_second_and_named(tmp_path: Path) -> None:
    """Not at the time-out."""
    script = Script(healthy_after_s=None, dies_after_s=7, log="boom\n")

    record = bench(tmp_path, script).run()

    (starting,) = [p for p in record.phases if p.name == "starting"]
    assert failure_of(record).kind is FailureKind.CRASHED_AT_START
    assert "boom" in failure_of(record).evidence
    assert starting.duration_ns / 1e9 < 8


def test_an_engine_that_never_answers_ends_at_its_time_out(tmp_path: Path) -> None:
    """And is stopped."""
    b = bench(tmp_path, Script(healthy_after_s=None))

    record = b.run()

    assert failure_of(record).kind is FailureKind.START_TIMEOUT
    assert b.deployer.running == 0


def test_a_death_under_load_ends_the_probe_at_once(tmp_path: Path) -> None:
    """The probe would have taken 90 s; the server dies after 20."""
    probes = (FakeProbe("ttft", takes_s=90), FakeProbe("long_context"))
    script = Script(dies_after_s=20, exit=ExitEvidence(exit_code=0))

    record = bench(tmp_path, script, probes).run()

    assert failure_of(record).kind is FailureKind.DIED_UNDER_LOAD
    assert failure_of(record).phase == "probe:ttft"
    assert probes[1].asked == 0
    assert sum(p.duration_ns for p in record.phases) / 1e9 < 21


def test_failed_requests_are_a_death_if_the_server_dies_of_it(tmp_path: Path) -> None:
    """The API server outlives its dead engine for some seconds; the root cause is the death."""
    seen = Failure(kind=FailureKind.REQUESTS_FAILED, phase="probe:ttft", message="refused")
    probes = (FakeProbe("ttft", takes_s=5, failure=seen), FakeProbe("long_context"))
    script = Script(sick_after_s=14, dies_after_s=18, exit=ExitEvidence(exit_code=0))

    record = bench(tmp_path, script, probes).run()

    assert failure_of(record).kind is FailureKind.DIED_UNDER_LOAD


def test_a_server_out_of_reach_and_out_of_sight_is_its_deployers_fault(tmp_path: Path) -> None:
    """A Docker engine that dies takes its ports along: nothing is known of the configuration."""
    seen = Failure(kind=FailureKind.REQUESTS_FAILED, phase="probe:ttft", message="refused")
    probes = (FakeProbe("ttft", takes_s=5, failure=seen), FakeProbe("long_context"))

    record = bench(tmp_path, Script(sick_after_s=14, out_of_sight=True), probes).run()

    assert failure_of(record).kind is FailureKind.DEPLOYER_FAULT
    assert "whoever started it is away: refused" in failure_of(record).message


def test_failed_requests_of_a_healthy_server_stay_failed_requests(tmp_path: Path) -> None:
    """Nothing died, so nothing else is to blame."""
    seen = Failure(kind=FailureKind.REQUESTS_FAILED, phase="probe:ttft", message="status 400")
    probes = (FakeProbe("ttft", failure=seen), FakeProbe("long_context"))

    record = bench(tmp_path, probes=probes).run()

    assert failure_of(record) == seen


def test_memory_over_its_bound_ends_the_trial_at_once(tmp_path: Path) -> None:
    """From the 12th second on, less than 9 GiB of the host are left."""
    probes = (FakeProbe("ttft", takes_s=60), FakeProbe("long_context"))
    script = Script(memory=lambda s: (90.0 if s > 12 else 20.0) * GIB)

    record = bench(tmp_path, script, probes).run()

    assert failure_of(record).kind is FailureKind.MEMORY_LIMIT
    assert failure_of(record).margin_gib == pytest.approx(-5)
    assert sum(p.duration_ns for p in record.phases) / 1e9 < 13


def test_a_missed_limit_spares_the_probes_that_follow(tmp_path: Path) -> None:
    """Nothing is measured of a configuration that is out already."""
    probes = (FakeProbe("ttft", result={"ttft_8k_ns": 3e9}), FakeProbe("long_context"))

    record = bench(tmp_path, probes=probes).run()

    assert failure_of(record).kind is FailureKind.LIMIT_MISSED
    assert probes[1].asked == 0


def test_the_baseline_is_measured_whole_even_where_it_misses_a_limit(tmp_path: Path) -> None:
    """The others are compared with it; it is infeasible all the same."""
    probes = (FakeProbe("ttft", result={"ttft_8k_ns": 3e9}), FakeProbe("long_context"))

    record = bench(tmp_path, probes=probes).run(TrialKind.BASELINE)

    assert probes[1].asked == 1
    assert failure_of(record).kind is FailureKind.LIMIT_MISSED


def test_a_baseline_over_the_gpu_bound_is_measured_whole_and_infeasible(tmp_path: Path) -> None:
    """The default may take more of the GPU than the user allows; it is no candidate then."""
    script = Script(gpu=lambda _seconds: 11.5 * GIB)

    record = bench(tmp_path, script).run(TrialKind.BASELINE)

    assert record.metrics == {"ttft_8k_ns": 1e9}
    assert failure_of(record).kind is FailureKind.MEMORY_LIMIT
    assert failure_of(record).margin_gib == pytest.approx(-0.5)


def test_a_setting_that_was_not_applied_is_never_measured(tmp_path: Path) -> None:
    """Its figures would be credited to a configuration that did not run."""
    mismatch = Mismatch(parameter="attention_backend", asked="FLASHINFER", got="CPU_ATTN",
                        source="log")  # fmt: skip
    probes = (FakeProbe("ttft"), FakeProbe("long_context"))
    engine = FakeEngine(applied=Applied(mismatches=(mismatch,)))

    record = bench(tmp_path, probes=probes, engine=engine).run()

    assert failure_of(record).kind is FailureKind.NOT_APPLIED
    assert probes[0].asked == 0


def test_a_hung_probe_ends_after_its_time(tmp_path: Path) -> None:
    """100 s are allowed."""
    probes = (FakeProbe("ttft", takes_s=1e6), FakeProbe("long_context"))

    record = bench(tmp_path, probes=probes).run()

    assert failure_of(record).kind is FailureKind.HUNG
    assert sum(p.duration_ns for p in record.phases) / 1e9 == pytest.approx(110, abs=2)


def test_ctrl_c_stops_the_server_and_still_gives_a_record(tmp_path: Path) -> None:
    """Cancelled in the middle of a probe."""
    b = bench(tmp_path, probes=(FakeProbe("ttft", takes_s=50), FakeProbe("long_context")))

    async def cancelled() -> TrialRecord:
        task = asyncio.ensure_future(b.runner.run(request()))
        await b.clock.sleep(20)
        task.cancel()
        return await task

    record = b.clock.run(cancelled())

    assert failure_of(record).kind is FailureKind.INTERRUPTED
    assert failure_of(record).phase == "probe:ttft"
    assert b.deployer.running == 0


def test_ctrl_c_while_the_server_is_stopped_keeps_what_was_measured(tmp_path: Path) -> None:
    """Every probe has answered by then; only the clearing up is cut short."""
    b = bench(tmp_path)
    b.deployer.stop_takes_s = 5.0

    async def cancelled() -> TrialRecord:
        task = asyncio.ensure_future(b.runner.run(request()))
        while b.deployer.started == 0 or b.deployer.running:
            await b.clock.sleep(0.1)
        assert not task.done()
        task.cancel()
        return await task

    record = b.clock.run(cancelled())

    assert record.outcome.status is OutcomeStatus.MEASURED
    assert record.metrics == {"ttft_8k_ns": 1e9}
    assert record.phases[-1].name == "stopping"
    assert record.phases[-1].duration_ns < 5e9


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DeployerError("the daemon went away", hint="look"), FailureKind.DEPLOYER_FAULT),
        (PortInUseError("taken", hint="look"), FailureKind.PORT_IN_USE),
    ],
)
def test_a_fault_of_the_deployer_is_not_the_configurations(
    tmp_path: Path, error: DeployerError, kind: FailureKind
) -> None:
    """It may be tried again."""
    record = bench(tmp_path, error=error).run()

    assert record.outcome.status is OutcomeStatus.FAILED
    assert failure_of(record).kind is kind


@pytest.mark.parametrize(
    "error", [ValueError("not\na number"), KeyError("x"), ConnectionResetError("gone")]
)
def test_what_nobody_foresaw_is_a_failed_trial_with_its_evidence(
    tmp_path: Path, error: Exception
) -> None:
    """The study goes on: the configuration is not to blame, and may be tried again."""
    b = bench(tmp_path, error=error)

    record = b.run()

    failure = failure_of(record)
    assert record.outcome.status is OutcomeStatus.FAILED
    assert failure.kind is FailureKind.AUTOTUNE_FAULT
    assert failure.message.startswith(f"autotune itself failed: {type(error).__name__}: ")
    assert "\n" not in failure.message
    assert failure.phase == "deploying"
    assert any(line.startswith("fakes.py:") for line in failure.evidence)
    assert b.deployer.running == 0


def test_a_trial_of_another_image_teaches_the_memory_model_nothing(tmp_path: Path) -> None:
    """Its release takes other memory than the study's."""
    engine = FakeEngine()
    b = bench(tmp_path, engine=engine)

    b.clock.run(b.runner.run(replace(request(TrialKind.MATRIX), image="old:1")))

    assert engine.learnt == []


def test_the_gpus_headroom_refuses_all_but_what_others_are_compared_with(tmp_path: Path) -> None:
    """The default is measured whole whatever it takes; a matrix's cells are too."""
    over = Failure(kind=FailureKind.WOULD_NOT_FIT, phase="screening", message="too much")
    engine = FakeEngine(headroom=over)
    baseline = Configuration.of({"max_num_seqs": 64})
    spec = SPEC.model_copy(update={"baseline": baseline.values})
    searching = bench(tmp_path, engine=engine, spec=spec).runner
    comparing = bench(tmp_path, engine=engine, spec=spec, measures_all=True).runner
    other = Configuration.of({"max_num_seqs": 8})

    assert searching.screen(other).failure == over
    assert searching.screen(baseline).failure is None
    assert comparing.screen(other).failure is None


def test_a_missing_image_ends_more_than_the_trial(tmp_path: Path) -> None:
    """Every further trial would miss it too."""
    b = bench(tmp_path, error=ImageMissingError("no image", hint="docker pull"))

    with pytest.raises(ImageMissingError):
        b.run()


def test_a_limit_that_could_not_be_measured_is_not_kept(tmp_path: Path) -> None:
    """A server that takes no 8K prompt has no TTFT at 8K."""
    record = bench(tmp_path, probes=(FakeProbe("ttft"), FakeProbe("long_context"))).run()

    assert failure_of(record).kind is FailureKind.LIMIT_MISSED
    assert record.limits[0].kept is None


def test_the_engines_own_words_name_a_failure_that_a_probe_saw(tmp_path: Path) -> None:
    """An out-of-memory in the log beats "requests failed"."""
    seen = Failure(kind=FailureKind.REQUESTS_FAILED, phase="probe:ttft", message="500")
    told = Failure(kind=FailureKind.GPU_OOM_UNDER_LOAD, phase="probe:ttft", message="by the log")
    probes = (FakeProbe("ttft", failure=seen), FakeProbe("long_context"))

    record = bench(tmp_path, probes=probes, engine=FakeEngine(told=told)).run()

    assert failure_of(record) is told


def test_a_cell_with_an_image_of_its_own_has_that_ones_release(tmp_path: Path) -> None:
    """What is recorded is what was measured, and the release is looked at once."""
    engine = FakeEngine()
    b = bench(tmp_path, engine=engine)
    cell = replace(request(TrialKind.MATRIX), image="old:1")

    first = b.clock.run(b.runner.run(cell))
    second = b.clock.run(b.runner.run(replace(cell, number=4)))

    assert first.environment["image"] == second.environment["image"] == "old:1"
    assert first.environment["engine_release"] == CAPABILITIES.release
    assert [target.image for target in engine.detected] == ["old:1"]


def test_a_cell_with_an_image_is_not_run_as_a_process(tmp_path: Path) -> None:
    """Another release would be measured under its name, on every address of the machine."""
    b = bench(tmp_path, deployer_name="process")

    record = b.clock.run(b.runner.run(replace(request(TrialKind.MATRIX), image="old:1")))

    assert failure_of(record).kind is FailureKind.UNSUPPORTED_COMBINATION
    assert "old:1" in failure_of(record).message
    assert "--deployer docker" in failure_of(record).evidence[0]
    assert b.deployer.started == 0


def test_an_image_of_a_cell_that_is_missing_ends_only_the_cell(tmp_path: Path) -> None:
    """The others have the study's own."""
    b = bench(tmp_path, error=ImageMissingError("no image", hint="docker pull"))

    record = b.clock.run(b.runner.run(replace(request(TrialKind.MATRIX), image="old:1")))

    assert record.outcome.status is OutcomeStatus.FAILED
    assert "docker pull" in failure_of(record).evidence


def test_what_the_engine_cannot_be_told_is_the_configurations_fault(tmp_path: Path) -> None:
    """Another image's release may lack a setting of the cell."""
    b = bench(tmp_path, error=EngineError("no such option"))

    assert failure_of(b.run()).kind is FailureKind.UNSUPPORTED_COMBINATION


def test_files_that_cannot_be_written_end_the_study_with_clear_words(tmp_path: Path) -> None:
    """The next trial would meet the same disk."""
    b = bench(tmp_path)
    (tmp_path / SPEC.name).write_text("a file where a folder should be")

    with pytest.raises(HostError) as caught:
        b.run()

    assert caught.value.hint


class Machine:
    """A machine whose memory is in use as told."""

    keys = ("host_memory_used_bytes", "host_memory_total_bytes", "host_memory_pressure_ratio")

    def __init__(self, used_gib: float) -> None:
        self._used_gib = used_gib

    async def read(self) -> dict[str, float | None]:
        """One look; it is under pressure at the moment."""
        used, total = self._used_gib * GIB, 94.0 * GIB
        return dict(zip(self.keys, (used, total, 0.9), strict=True))


@pytest.mark.parametrize(("used_gib", "fits"), [(84.9, True), (85.1, False)])
def test_nothing_is_started_where_the_hosts_reserve_could_not_hold(
    tmp_path: Path, used_gib: float, fits: bool
) -> None:
    """Of 94 GiB, 9 must stay available: the first trial would be ended at its first sample."""
    b = bench(tmp_path)
    tools = replace(b.runner._tools, machine_sources=(Machine(used_gib),))
    runner = Trials(SPEC, StudyPaths(tmp_path / "s"), tools, owner=(1, "x"))
    if fits:
        assert b.clock.run(runner.prepare()) == ()
        return
    with pytest.raises(HostError, match=r"8\.90 GiB, under the reserve of 9\.00 GiB") as raised:
        b.clock.run(runner.prepare())
    assert "headroom.host_gib" in raised.value.hint
