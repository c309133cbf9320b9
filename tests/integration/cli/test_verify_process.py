"""An exported script, verified as a process behind a real socket."""

import sys
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from autotune.cli.commands.verify import run as measure
from autotune.cli.conclude import conclude
from autotune.cli.plain import PlainLines
from autotune.cli.stored import StoredStudy, stored_study
from autotune.cli.verify.exported import exported_files
from autotune.cli.wiring import Backend, Workbench, make_workbench, read_model_facts, read_space
from autotune.clock import MonotonicClock
from autotune.deployers.marks import owner
from autotune.deployers.ports import free_port
from autotune.deployers.process import ProcessDeployer
from autotune.engines.simulated.engine import SimulatedEngine
from autotune.engines.simulated.release import release_named
from autotune.load.connect import http_connector
from autotune.records import Configuration, TrialKind
from autotune.seams.events import ignore
from autotune.seams.requests import Connection
from autotune.seams.telemetry import Gpu, Hardware
from autotune.seams.trial import TrialRequest
from autotune.spec.study import study_from
from autotune.store import TrialStore, write_study
from autotune.trial.lifecycle import Trials

STUDY = {
    "name": "short",
    "space": {"parameters": {"kv_cache_dtype": {"choices": ["fp8"]}}},
    "objectives": ["output_tokens_per_s"],
    "probes": ["startup", "ttft", "throughput"],
    "workload": {
        "client_lag_ms": 5000,
        "ttft_repeats": 2,
        "concurrency": 4,
        "requests": 8,
        "prompt_tokens": 64,
        "output_tokens": 16,
        "warmup_requests": 2,
    },
    "headroom": {"gpu_gib": 0, "host_gib": 1},
}
HARDWARE = Hardware(
    gpus=(Gpu(index=0, name="GPU", memory_bytes=12 * 1024**3, compute_capability=(12, 0)),),
    host_memory_bytes=94 * 1024**3,
)


@dataclass(frozen=True, kw_only=True)
class Behind:
    """A study whose engine is a process behind a real socket.

    Attributes:
        asked_for: Names under which a model was asked for, in order.
    """

    study: StoredStudy
    workbench: Workbench
    asked_for: list[str]


def behind_a_socket(folder: Path, *, served_name: str) -> Behind:
    """A baseline, measured through the rooms of a process study with a simulated server.

    The program is the simulated engine's server, at many times its speed.
    """
    program = folder / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\nshift\n"
        f"exec {sys.executable} -m autotune.engines.simulated.serve --boot-speed 500 --speed 50 "
        f'"$@"\n'
    )
    program.chmod(0o755)
    engine = {"name": "vllm", "deployer": "process", "command": [str(program), "serve"]}
    spec = study_from({**STUDY, "engine": engine}, where="test")
    model = read_model_facts(spec)
    clock = MonotonicClock()
    asked_for: list[str] = []
    connect = http_connector(clock)

    def recorded(*, base_url: str, model: str) -> AbstractAsyncContextManager[Connection]:
        asked_for.append(model)
        return connect(base_url=base_url, model=model)

    backend = Backend(
        clock=clock,
        engine=SimulatedEngine(release_named(None)),
        deployer=ProcessDeployer(clock),
        connect=recorded,
        sources=lambda _deployment, _client: (),
        machine_sources=(),
        hardware=HARDWARE,
        free_port=free_port,
        simulated=False,
    )
    workbench = clock.run(make_workbench(spec, backend, model, read_space(spec)))
    paths = workbench.paths
    write_study(paths, spec, workbench.space.space)
    runner = Trials(spec, paths, workbench.tools(ignore), owner=owner())
    request = TrialRequest(number=0, kind=TrialKind.BASELINE, configuration=Configuration())
    record = clock.run(runner.run(request))
    TrialStore(paths, spec.name).append(record)
    conclude(spec, paths, [record])
    script = paths.recommended / "serve.sh"
    text = script.read_text()
    assert text.endswith('--port "$port"\n')
    script.write_text(f"{text.rstrip()} --served-model-name {served_name}\n")
    return Behind(study=stored_study("short"), workbench=workbench, asked_for=asked_for)


def test_a_script_is_started_and_asked_under_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sh serve.sh` on a port of the controller's, serving under a name that no trial used."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    behind = behind_a_socket(tmp_path, served_name="another-name")
    study = behind.study
    files = exported_files(study.paths.recommended, deployer="process")
    assert files.trial == 0
    view = PlainLines(sys.stdout, clock=MonotonicClock(), objectives=(), quiet=True)
    found = measure(behind.workbench, study, files, study.trial(0), 1, view)
    assert found.failure is None
    default, exported = found.records
    assert default.is_measured
    assert exported.is_measured
    assert exported.command == ("sh", str(files.start))
    assert exported.metrics["failed_requests_count"] == 0
    assert exported.metrics["context_capacity_tokens"] == default.metrics["context_capacity_tokens"]
    own = study.spec.model
    assert behind.asked_for == [own, own, own, "another-name"]  # study, default, exported
