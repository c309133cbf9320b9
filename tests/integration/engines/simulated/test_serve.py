"""The simulated server as a process: started, asked, broken and named like a real one."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from autotune.clock import MonotonicClock
from autotune.deployers.ports import free_port
from autotune.deployers.process import ProcessDeployer
from autotune.deployers.readiness import Died, Ready, wait_ready
from autotune.engines.simulated.faults import Fault
from autotune.engines.vllm.failures import explain
from autotune.load.client import HttpClient
from autotune.records import FailureKind
from autotune.seams.deployment import Deployment, ExitEvidence, Identity, LaunchPlan
from autotune.seams.engine import Evidence
from autotune.seams.requests import (
    GenerationRequest,
    Prompt,
    RequestErrorKind,
    RequestRecord,
    Segment,
)

T = TypeVar("T")

_MODEL = "Qwen/Qwen2.5-1.5B-Instruct"
_STALL_S = 1.0
K = FailureKind


@dataclass(frozen=True)
class _Up:
    """A server that was started, whatever became of it."""

    deployment: Deployment
    client: HttpClient
    ready: object

    def log(self) -> str:
        return self.deployment.log_path.read_text(encoding="utf-8", errors="replace")


def _with_server(
    tmp_path: Path,
    talk: Callable[[_Up], Awaitable[T]],
    *options: str,
    fault: Fault | None = None,
    timeout_s: float = 30.0,
) -> T:
    """Start a server by the process deployer, wait for it, talk to it, and end it."""
    clock = MonotonicClock()
    port = free_port()
    argv = [sys.executable, "-m", "autotune.engines.simulated.serve"]
    argv += ["--card", "h100", "--release", "0.26.0", "--boot-speed", "1000", "--speed", "10"]
    argv += [] if fault is None else ["--fault", fault.value]
    argv += [_MODEL, "--host", "127.0.0.1", "--port", str(port), *options]
    plan = LaunchPlan(argv=tuple(argv), port=port)
    identity = Identity(study="serve", trial=0, owner_pid=1, owner_start="0")

    async def main() -> T:
        deployer = ProcessDeployer(clock)
        async with (
            deployer.deploy(plan, identity=identity, log_path=tmp_path / "x.log") as deployment,
            HttpClient(base_url=plan.base_url, model=_MODEL, clock=clock) as client,
        ):

            async def is_healthy() -> bool:
                answer = await client.get("/health", timeout_s=2)
                return answer is not None and answer.status == 200

            ready = await wait_ready(
                deployment, is_healthy, clock=clock, timeout_s=timeout_s, poll_s=0.05
            )
            return await talk(_Up(deployment, client, ready))

    return clock.run(main())


def _ask(name: str, *, output: int = 8, timeout_s: float = 20.0) -> GenerationRequest:
    return GenerationRequest(
        request_id=name,
        prompt=Prompt(segments=(Segment(sum(name.encode()), 64),)),
        max_tokens=output,
        timeout_s=timeout_s,
    )


def test_a_healthy_server_answers_like_vllm(tmp_path: Path) -> None:
    """Streams with usage, prefix hits, log-probabilities, a chat that recalls, and its paths."""

    async def talk(up: _Up) -> None:
        assert isinstance(up.ready, Ready), up.log()
        client = up.client
        version = await client.get("/version")
        assert version is not None
        assert version.text == '{"version": "0.26.0"}'
        long = Prompt(segments=(Segment(1, 1000), Segment(2, 24)))
        first, second = [
            await client.generate(GenerationRequest(request_id=f"{i}", prompt=long, max_tokens=20))
            for i in range(2)
        ]
        for record in (first, second):
            assert record.error is None
            assert (record.prompt_tokens, record.output_tokens) == (1024, 20)
            assert 1 < len(record.chunk_ns) <= 20  # a late reader gets several tokens at once
        assert (first.cached_tokens, second.cached_tokens) == (0, 1008)
        scored = await client.generate(
            GenerationRequest(request_id="p", prompt=long, max_tokens=1, prompt_logprobs=0)
        )
        assert len(scored.raw["prompt_logprobs"]) == 1024
        question = "The secret number of the mill is 4711. What is the secret number of the mill?"
        recalled = await client.generate(
            GenerationRequest(
                request_id="c",
                prompt=Prompt(text=question, chat=True),
                max_tokens=6,
                ignore_eos=False,
                logprobs=1,
            )
        )
        assert recalled.error is None
        assert "4711" in recalled.text
        assert len(recalled.raw["tokens"]) == 6
        too_long = await client.generate(_ask("long", output=40_000))
        assert too_long.error is not None
        assert too_long.error.status == 400

    _with_server(tmp_path, talk)


def test_two_servers_agree_unless_one_answers_wrongly(tmp_path: Path) -> None:
    """Log-probabilities follow from the prompt; the fault changes them."""

    async def talk(up: _Up) -> tuple[float, ...]:
        request = GenerationRequest(
            request_id="l", prompt=Prompt(segments=(Segment(1, 64),)), max_tokens=8, logprobs=2
        )
        record = await up.client.generate(request)
        assert record.error is None
        return tuple(record.raw["logprobs"])

    honest = [_with_server(tmp_path, talk, *options) for options in ((), ("--enforce-eager",))]
    wrong = _with_server(tmp_path, talk, fault=Fault.WRONG_ANSWERS)
    assert honest[0] == honest[1]
    assert sum(wrong) < sum(honest[0]) - 8


def _died(tmp_path: Path, *options: str, fault: Fault | None = None) -> tuple[ExitEvidence, str]:
    async def talk(up: _Up) -> tuple[ExitEvidence, str]:
        assert isinstance(up.ready, Died), up.log()
        return up.ready.exit, up.log()

    return _with_server(tmp_path, talk, *options, fault=fault)


@pytest.mark.parametrize(
    ("fault", "code", "kind"),
    [
        (Fault.OOM_WEIGHTS, 1, K.GPU_OOM_WEIGHTS),
        (Fault.OOM_PROFILING, 1, K.GPU_OOM_PROFILING),
        (Fault.NO_KV, 1, K.NO_ROOM_FOR_KV),
        (Fault.OOM_GRAPHS, 1, K.GPU_OOM_GRAPHS),
        (Fault.OOM_WARMUP, 1, K.GPU_OOM_WARMUP),
        (Fault.CRASH_AT_START, 1, K.CRASHED_AT_START),
    ],
)
def test_a_scripted_death_at_the_start_is_named(
    tmp_path: Path, fault: Fault, code: int, kind: FailureKind
) -> None:
    """Exit code and log of the process lead the classifier to the kind."""
    ended, log = _died(tmp_path, fault=fault)
    assert ended.exit_code == code
    failure = explain(Evidence(phase="starting", exit=ended, log=log))
    assert failure is not None
    assert failure.kind is kind


def test_a_killed_start_leaves_a_signal(tmp_path: Path) -> None:
    """SIGKILL, and no word of an error."""
    ended, log = _died(tmp_path, fault=Fault.KILLED_AT_START)
    assert ended.signal == 9
    assert "Traceback" not in log


def test_an_exit_with_code_zero_is_still_a_death(tmp_path: Path) -> None:
    """It was never healthy."""
    ended, _ = _died(tmp_path, fault=Fault.EXIT_ZERO_AT_START)
    assert ended.exit_code == 0
    assert not ended.stopped_by_us


def test_an_option_that_nobody_knows_ends_with_code_2(tmp_path: Path) -> None:
    """As argparse does."""
    ended, log = _died(tmp_path, "--num-scheduler-steps", "10")
    assert ended.exit_code == 2
    assert "unrecognized arguments: --num-scheduler-steps 10" in log


def _fourth(tmp_path: Path, fault: Fault, *, timeout_s: float = 20.0) -> tuple[RequestRecord, _Up]:
    """The fourth request for text, where faults under load begin; the vocabulary takes one."""

    async def talk(up: _Up) -> tuple[RequestRecord, _Up]:
        assert isinstance(up.ready, Ready), up.log()
        for index in range(2):
            warm = await up.client.generate(_ask(f"warm-{index}"))
            assert warm.error is None, warm
        return await up.client.generate(_ask("fourth", output=16, timeout_s=timeout_s)), up

    return _with_server(tmp_path, talk, fault=fault)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.STALL, RequestErrorKind.TIMEOUT),
        (Fault.HANG, RequestErrorKind.TIMEOUT),
        (Fault.CUT, RequestErrorKind.CUT_OFF),
        (Fault.ERROR_IN_STREAM, RequestErrorKind.IN_STREAM),
        (Fault.SERVER_ERROR, RequestErrorKind.STATUS),
        (Fault.EMPTY, RequestErrorKind.EMPTY),
        (Fault.SHORT, RequestErrorKind.WRONG_LENGTH),
        (Fault.NO_USAGE, RequestErrorKind.NO_USAGE),
    ],
)
def test_a_bad_answer_is_told_apart(tmp_path: Path, fault: Fault, kind: RequestErrorKind) -> None:
    """Each fault is one kind of request error."""
    record, _ = _fourth(tmp_path, fault, timeout_s=_STALL_S)
    assert record.error is not None
    assert record.error.kind is kind


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.OOM_UNDER_LOAD, K.GPU_OOM_UNDER_LOAD),
        (Fault.DIES_UNDER_LOAD, K.DIED_UNDER_LOAD),
    ],
)
def test_a_dead_engine_takes_its_server_along_with_code_zero(
    tmp_path: Path, fault: Fault, kind: FailureKind
) -> None:
    """The request fails, the server ends by itself, and the log names the cause."""

    async def talk(up: _Up) -> tuple[RequestRecord, ExitEvidence, str]:
        for index in range(2):
            await up.client.generate(_ask(f"warm-{index}"))
        record = await up.client.generate(_ask("fourth"))
        ended = await asyncio.wait_for(up.deployment.wait_exit(), 20)
        return record, ended, up.log()

    record, ended, log = _with_server(tmp_path, talk, fault=fault)
    assert record.error is not None
    assert (ended.exit_code, ended.stopped_by_us) == (0, False)
    failure = explain(Evidence(phase="probe", healthy_once=True, exit=ended, log=log))
    assert failure is not None
    assert failure.kind is kind


def test_a_server_killed_under_load_is_gone_at_once(tmp_path: Path) -> None:
    """The request ends, and so does the deployment, by signal."""

    async def talk(up: _Up) -> tuple[RequestRecord, ExitEvidence]:
        for index in range(2):
            await up.client.generate(_ask(f"warm-{index}"))
        record = await up.client.generate(_ask("fourth"))
        return record, await asyncio.wait_for(up.deployment.wait_exit(), 20)

    record, ended = _with_server(tmp_path, talk, fault=Fault.KILLED_UNDER_LOAD)
    assert record.error is not None
    assert ended.signal == 9


def test_a_deaf_server_does_not_answer_the_health_path_either(tmp_path: Path) -> None:
    """It listens, and says nothing."""

    async def talk(up: _Up) -> tuple[RequestRecord, object]:
        for index in range(2):
            await up.client.generate(_ask(f"warm-{index}"))
        record = await up.client.generate(_ask("fourth", timeout_s=_STALL_S))
        return record, await up.client.get("/health", timeout_s=_STALL_S)

    record, health = _with_server(tmp_path, talk, fault=Fault.DEAF)
    assert record.error is not None
    assert health is None


def test_a_server_that_ignores_the_signal_is_ended_all_the_same(tmp_path: Path) -> None:
    """Asked first, then killed."""

    async def talk(up: _Up) -> ExitEvidence:
        return await up.deployment.stop(grace_s=0.5)

    ended = _with_server(tmp_path, talk, fault=Fault.IGNORES_SIGTERM)
    assert ended.stopped_by_us
    assert ended.signal == 9


def test_a_server_that_never_listens_runs_out_of_time(tmp_path: Path) -> None:
    """It lives, and is not healthy."""

    async def talk(up: _Up) -> object:
        assert up.deployment.exit_evidence() is None
        return up.ready

    ready = _with_server(tmp_path, talk, fault=Fault.NEVER_HEALTHY, timeout_s=4.0)
    assert not isinstance(ready, Ready | Died)


def test_a_flood_of_log_lines_does_not_stop_the_server(tmp_path: Path) -> None:
    """It still answers, and the log grows."""

    async def talk(up: _Up) -> tuple[RequestRecord, int]:
        return await up.client.generate(_ask("a")), len(up.log())

    record, size = _with_server(tmp_path, talk, fault=Fault.LOG_FLOOD)
    assert record.error is None
    assert size > 100_000


def test_a_port_in_use_is_said_in_vllms_words(tmp_path: Path) -> None:
    """The socket is bound before the engine starts."""

    async def talk(up: _Up) -> tuple[int, str]:
        port = up.deployment.base_url.rpartition(":")[2]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "autotune.engines.simulated.serve", _MODEL, "--card", "h100",
            "--boot-speed", "1000", "--host", "127.0.0.1", "--port", port,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await asyncio.wait_for(process.communicate(), 30)
        return process.returncode or 0, out.decode()

    code, out = _with_server(tmp_path, talk)
    assert code == 1
    assert "[Errno 98] Address already in use" in out
