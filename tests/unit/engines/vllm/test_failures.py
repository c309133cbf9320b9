"""Naming failures: order, stage, exit codes, evidence."""

import pytest

from autotune.engines.vllm.failures import explain, start_phase
from autotune.engines.vllm.logs import ledger
from autotune.records import Failure, FailureKind
from autotune.seams.deployment import ExitEvidence
from autotune.seams.engine import Evidence

K = FailureKind
OOM = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total "
    "capacity of 11.50 GiB of which 512.00 MiB is free.\n"
)
LOADED = "INFO 01-01 00:00:01 [r.py:1] Model loading took 5.2 GiB and 1.5 seconds\n"
SIZED = "INFO 01-01 00:00:02 [g.py:1] Available KV cache memory: 3.10 GiB\n"
CAPTURING = "Capturing CUDA graphs (decode, FULL):  50%|#####     | 4/8\n"
CAPTURED = "INFO 01-01 00:00:03 [r.py:1] Graph capturing finished in 3 secs, took 0.30 GiB\n"
READY = "INFO 01-01 00:00:09 [c.py:1] init engine (profile, create kv cache, warmup) took 9 s\n"
STARTING = "INFO 01-01 00:00:00 [r.py:1] Starting to load model m...\n"


def told(log: str, *, code: int | None = 1, healthy: bool = False, signal: int | None = None,
         stopped: bool = False, oom_killed: bool | None = None) -> Failure | None:  # fmt: skip
    """What a log and an exit are called."""
    ended = None
    if code is not None:
        ended = ExitEvidence(
            exit_code=code, signal=signal, stopped_by_us=stopped, oom_killed=oom_killed
        )
    return explain(Evidence(phase="starting", healthy_once=healthy, exit=ended, log=log))


def kind(log: str, **rest: object) -> FailureKind | None:
    """Its kind."""
    failure = told(log, **rest)  # type: ignore[arg-type]
    return None if failure is None else failure.kind


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (STARTING, K.GPU_OOM_WEIGHTS),
        (STARTING + LOADED, K.GPU_OOM_PROFILING),
        (STARTING + LOADED + SIZED, K.GPU_OOM),
        (STARTING + LOADED + SIZED + CAPTURING, K.GPU_OOM_GRAPHS),
        (STARTING + LOADED + SIZED + CAPTURING + CAPTURED, K.GPU_OOM_WARMUP),
        ("", K.GPU_OOM),
    ],
)
def test_log_lines_before_it_give_an_out_of_memory_its_phase(
    before: str, expected: FailureKind
) -> None:
    """Where no traceback tells more."""
    assert kind(before + OOM) is expected


def test_frames_tell_better_than_lines() -> None:
    """Graphs are profiled before the KV cache is sized, and then are not its fault."""
    traceback = (
        "Traceback (most recent call last):\n"
        '  File "gpu_worker.py", line 300, in determine_available_memory\n'
        '  File "gpu_model_runner.py", line 5000, in profile_cudagraph_memory\n'
    )
    assert kind(STARTING + LOADED + traceback + OOM) is K.GPU_OOM_GRAPHS
    assert start_phase(STARTING + LOADED, len(STARTING + LOADED), traceback) == "graphs"


def test_only_the_traceback_that_ends_in_the_text_counts() -> None:
    """An earlier one, of something that was caught, does not."""
    earlier = (
        "Traceback (most recent call last):\n"
        '  File "x.py", line 1, in capture_model\n'
        "KeyError: 'caught'\n"
        "Traceback (most recent call last):\n"
        '  File "x.py", line 1, in load_model\n'
    )
    assert kind(earlier + OOM) is K.GPU_OOM_WEIGHTS


def test_after_a_good_answer_it_is_always_under_load() -> None:
    """Whatever the frames say."""
    assert kind(STARTING + LOADED + SIZED + READY + OOM, healthy=True) is K.GPU_OOM_UNDER_LOAD


def test_the_first_root_cause_wins_over_later_ones() -> None:
    """A dying engine prints more errors."""
    log = (
        "ValueError: No available memory for the cache blocks. Try increasing\n"
        "ValueError: Selected backend FLASHINFER is not valid for this configuration. Reason: []\n"
    )
    assert kind(log) is K.NO_ROOM_FOR_KV
    assert kind("\n".join(reversed(log.splitlines()))) is K.UNSUPPORTED_COMBINATION


def test_a_named_cause_wins_over_an_exception_s_class() -> None:
    """Also where the general one comes first."""
    log = OOM + "CUDA out of memory occurred when warming up sampler with 256 dummy requests.\n"
    failure = told(log)
    assert failure is not None
    assert failure.kind is K.GPU_OOM_WARMUP
    assert failure.needed_gib == 2.0
    assert failure.available_gib == 0.5
    assert failure.margin_gib == -1.5


def test_wrappers_alone_name_nothing_but_a_crash() -> None:
    """Then at least the crash is known."""
    wrapper = "RuntimeError: Engine core initialization failed. See root cause above.\n"
    failure = told(wrapper)
    assert failure is not None
    assert failure.kind is K.CRASHED_AT_START
    assert "without naming a reason" in failure.message


def test_an_unknown_exception_is_shown_as_it_is() -> None:
    """The first one that is no wrapper."""
    log = "  File x\nmy.own.OddError: it broke\nRuntimeError: Engine core initialization failed.\n"
    failure = told(log)
    assert failure is not None
    assert failure.kind is K.CRASHED_AT_START
    assert failure.message == "my.own.OddError: it broke"
    assert failure.evidence == ("my.own.OddError: it broke", "exit code 1")
    assert kind(log, healthy=True) is K.DIED_UNDER_LOAD


def test_texts_of_the_start_do_not_name_a_death_under_load() -> None:
    """A warning of the start-up, hours before."""
    log = "ValueError: No available memory for the cache blocks\n" + READY
    assert kind(log, healthy=True, code=0) is not K.NO_ROOM_FOR_KV


@pytest.mark.parametrize("code", [0, 1, 143, -15])
def test_what_we_stopped_is_no_failure(code: int) -> None:
    """VLLM's exit codes after SIGTERM differ from release to release."""
    assert told(STARTING + LOADED + SIZED, code=code, stopped=True) is None


def test_a_cause_is_named_even_where_we_stopped_it() -> None:
    """A dead engine under a living API server ends by our hand."""
    assert kind(STARTING + OOM, stopped=True) is K.GPU_OOM_WEIGHTS


def test_exit_2_is_argparse() -> None:
    """With what it printed, or without."""
    failure = told("vllm serve: error: something new\n", code=2)
    assert failure is not None
    assert failure.kind is K.INVALID_VALUE
    assert failure.message == "something new"
    assert kind("", code=2) is K.INVALID_VALUE
    assert kind("", code=2, healthy=True) is None


@pytest.mark.parametrize(("code", "signal"), [(-9, 9), (137, None)])
def test_a_kill_without_a_text_is_for_the_deployer_to_tell(code: int, signal: int | None) -> None:
    """Only it knows the limit and the kernel's counters."""
    assert told(STARTING, code=code, signal=signal) is None
    assert kind(STARTING, code=137, oom_killed=True) is K.CONTAINER_OOM


def test_a_hint_counts_only_if_the_process_was_killed() -> None:
    """The preflight warns of what need not happen."""
    warning = (
        "WARNING Cgroup memory preflight for CPU KV offload: 32768.0 MiB required, 5120.0 MiB "
        "current usage, 27648.0 MiB available under 32768.0 MiB limit\n"
    )
    assert kind(warning, code=137) is K.CONTAINER_OOM
    assert kind(warning, code=0, stopped=True) is None
    assert kind(warning + OOM) is K.GPU_OOM


def test_a_hint_is_a_host_s_shortage_while_the_server_still_runs() -> None:
    """Nobody has been killed yet, so no limit has been the cause."""
    warning = (
        "WARNING Cgroup memory preflight for CPU KV offload: 32768.0 MiB required, 5120.0 MiB "
        "current usage, 27648.0 MiB available under 32768.0 MiB limit\n"
    )
    assert kind(warning, code=None) is K.HOST_OOM


def test_nothing_is_made_of_nothing() -> None:
    """An empty log of a server that runs."""
    assert told("", code=None) is None
    assert told("", code=1) is None


def test_evidence_is_bounded() -> None:
    """A line of a megabyte is cut, and still shows the cause."""
    log = "x" * 1_000_000 + OOM.strip() + "y" * 1_000_000
    failure = told(log)
    assert failure is not None
    assert len(failure.evidence[0]) <= 600
    assert "CUDA out of memory" in failure.evidence[0]


def test_phase_and_message_are_the_trial_s_and_one_line() -> None:
    """The phase is where in the trial it happened."""
    evidence = Evidence(phase="probe:long_context", healthy_once=True, log=OOM,
                        exit=ExitEvidence(exit_code=0))  # fmt: skip
    failure = explain(evidence)
    assert failure is not None
    assert failure.phase == "probe:long_context"
    assert "\n" not in failure.message


def test_the_same_evidence_has_the_same_name() -> None:
    """A pure function: stored trials can be named again."""
    evidence = Evidence(phase="starting", log=STARTING + OOM, exit=ExitEvidence(exit_code=1))
    assert explain(evidence) == explain(evidence)


@pytest.mark.parametrize("garbled", ["400.0.1", "9" * 400, "..", "1.2.3"])
def test_a_garbled_number_is_no_number(garbled: str) -> None:
    """Two writers on one line: the failure is named, its figure is not known."""
    tried = f"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {garbled} MiB. "
    failure = told(tried + "GPU 0 has a total capacity of 11.5 GiB of which 1.00 GiB is free.")
    assert failure is not None
    assert failure.needed_gib is None
    assert ledger(f"Model loading took {garbled} GiB and 1.0 seconds").weights_gib is None
