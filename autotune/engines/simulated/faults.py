"""Faults that a simulated HTTP server plays on request: `--fault NAME`.

Each is something that real servers do to whoever drives them; the texts are vLLM's.
"""

from dataclasses import dataclass
from enum import StrEnum

from autotune.engines.simulated import refusals, words
from autotune.engines.simulated.refusals import Refusal
from autotune.engines.simulated.release import Release
from autotune.units import BYTES_PER_GIB, BYTES_PER_MIB


class Fault(StrEnum):
    """What goes wrong.

    At the start:
        SLOW_START          takes ten times as long
        NEVER_HEALTHY       never listens
        OOM_WEIGHTS         out of GPU memory while the weights are loaded
        OOM_PROFILING       ... in the profile run
        NO_KV               nothing is left for the KV cache
        OOM_GRAPHS          out of GPU memory while graphs are captured
        OOM_WARMUP          ... while the sampler warms up
        SHM                 /dev/shm is too small
        KILLED_AT_START     killed by the kernel, without a word
        CRASH_AT_START      an error that no table knows
        EXIT_ZERO_AT_START  ends with code 0 before it listens
    Under load, from the fourth request for text on:
        OOM_UNDER_LOAD      the engine runs out of GPU memory; the server follows with code 0
        DIES_UNDER_LOAD     a GPU kernel crashes; the server follows with code 0
        KILLED_UNDER_LOAD   killed by the kernel
        HANG                takes requests and never answers
        DEAF                answers nothing at all, /health included
        STALL               streams stop after three chunks and stay open
        CUT                 streams break off after three chunks
        ERROR_IN_STREAM     streams carry an error after three chunks
        SERVER_ERROR        status 500
        EMPTY               streams without content
        SHORT               answers of half the length
        NO_USAGE            no usage at the end of streams
    Always:
        WRONG_ANSWERS       other text, of other probability
        IGNORES_SIGTERM     must be killed
        LOG_FLOOD           writes a megabyte of log a second
    """

    SLOW_START = "slow_start"
    NEVER_HEALTHY = "never_healthy"
    OOM_WEIGHTS = "oom_weights"
    OOM_PROFILING = "oom_profiling"
    NO_KV = "no_kv"
    OOM_GRAPHS = "oom_graphs"
    OOM_WARMUP = "oom_warmup"
    SHM = "shm"
    KILLED_AT_START = "killed_at_start"
    CRASH_AT_START = "crash_at_start"
    EXIT_ZERO_AT_START = "exit_zero_at_start"
    OOM_UNDER_LOAD = "oom_under_load"
    DIES_UNDER_LOAD = "dies_under_load"
    KILLED_UNDER_LOAD = "killed_under_load"
    HANG = "hang"
    DEAF = "deaf"
    STALL = "stall"
    CUT = "cut"
    ERROR_IN_STREAM = "error_in_stream"
    SERVER_ERROR = "server_error"
    EMPTY = "empty"
    SHORT = "short"
    NO_USAGE = "no_usage"
    WRONG_ANSWERS = "wrong_answers"
    IGNORES_SIGTERM = "ignores_sigterm"
    LOG_FLOOD = "log_flood"


@dataclass(frozen=True)
class StartFault:
    """A start that fails.

    Attributes:
        phase: After which phase: "imports", "weights", "profiling", "kv", "graphs", "warmup".
        refusal: The last words.
    """

    phase: str
    refusal: Refusal


def start_fault(fault: Fault | None, release: Release) -> StartFault | None:
    """How a start fails; None if it does not."""
    total, wanted = 80 * BYTES_PER_GIB, 2 * BYTES_PER_GIB
    oom = words.cuda_oom(wanted, total, 200 * BYTES_PER_MIB, total - 500 * BYTES_PER_MIB)
    match fault:
        case Fault.OOM_WEIGHTS:
            return StartFault("imports", refusals.core_error(oom, frame="load_model"))
        case Fault.OOM_PROFILING:
            return StartFault("weights", refusals.core_error(oom, frame="profile_run"))
        case Fault.NO_KV:
            return StartFault("profiling", refusals.core_error(words.no_blocks(release)))
        case Fault.OOM_GRAPHS:
            return StartFault("kv", refusals.core_error(oom, frame="capture_model"))
        case Fault.OOM_WARMUP:
            return StartFault("graphs", refusals.core_error(words.sampler_warmup(256)))
        case Fault.SHM:
            text = words.no_shm(release, 32 * BYTES_PER_GIB, 64 * BYTES_PER_MIB)
            return StartFault("kv", refusals.core_error(text))
        case Fault.KILLED_AT_START:
            return StartFault("weights", refusals.killed(by_limit=False))
        case Fault.CRASH_AT_START:
            text = "KeyError: 'model.layers.0.self_attn.wobble'"
            return StartFault("imports", refusals.core_error(text, frame="load_weights"))
        case Fault.EXIT_ZERO_AT_START:
            return StartFault("imports", Refusal(lines=(), exit_code=0, in_core=False))
        case _:
            return None
