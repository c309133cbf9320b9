"""How a simulated server does not come up: last words, exit code, and who dies."""

from dataclasses import dataclass
from typing import Final

EXIT_USAGE: Final = 2
EXIT_ERROR: Final = 1
EXIT_KILLED: Final = 137

_PACKAGES: Final = "/usr/local/lib/python3.12/dist-packages/vllm"
_FRAMES: Final = {
    "load_model": "v1/worker/gpu_model_runner.py",
    "load_weights": "model_executor/models/utils.py",
    "profile_run": "v1/worker/gpu_model_runner.py",
    "initialize_kv_cache": "v1/worker/gpu_model_runner.py",
    "capture_model": "v1/worker/gpu_model_runner.py",
    "execute_model": "v1/worker/gpu_model_runner.py",
    "create_region": "v1/kv_offload/cpu/shared_offload_region.py",
    "create_pinned_tensors": "v1/kv_offload/cpu/gpu_worker.py",
}
"""Functions in which a start fails, by file: the frames tell the classifier the phase."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a simulated server does not come up.

    Attributes:
        lines: What it writes last, without the log's line heads.
        exit_code: How it ends.
        in_core: Whether the engine core dies, so that the API server wraps the error.
        oom_killed: Whether a memory limit did it.
    """

    lines: tuple[str, ...]
    exit_code: int = EXIT_ERROR
    in_core: bool = True
    oom_killed: bool = False


class StartRefused(Exception):  # noqa: N818 - not an error of ours: the server's answer
    """Carries a refusal up to where the start is played."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.lines[-1] if refusal.lines else "killed")
        self.refusal = refusal


def usage(message: str) -> Refusal:
    """What argparse does: it ends with the usage and code 2."""
    lines = ("usage: vllm serve [model_tag] [options]", f"vllm serve: error: {message}")
    return Refusal(lines=lines, exit_code=EXIT_USAGE, in_core=False)


def config_error(text: str) -> Refusal:
    """A configuration object refuses its values, before there is an engine."""
    return Refusal(lines=_traceback(text, ""), in_core=False)


def core_error(text: str, *, before: str | None = None, frame: str = "") -> Refusal:
    """The engine core raises.

    Args:
        text: The exception, its class first.
        before: A line that was logged before it.
        frame: Function in which it happened, one of those known here.
    """
    hints = () if before is None else (before,)
    return Refusal(lines=(*hints, *_traceback(text, frame)))


def killed(*, by_limit: bool) -> Refusal:
    """The kernel ends the process: no word of Python's."""
    return Refusal(lines=(), exit_code=EXIT_KILLED, in_core=False, oom_killed=by_limit)


def _traceback(text: str, frame: str) -> tuple[str, ...]:
    frames = [("v1/engine/core.py", "run_engine_core"), (_FRAMES[frame], frame)] if frame else []
    lines = [
        f'  File "{_PACKAGES}/{file}", line {100 + len(name)}, in {name}' for file, name in frames
    ]
    return ("Traceback (most recent call last):", *lines, *text.splitlines())
