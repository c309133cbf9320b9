"""The program `autotune` in a fork of this process, which has imported it already.

A start costs the command's own time and not seconds of imports. A fork is a process of its own,
with its own locks, files and database connections.
"""

import contextlib
import importlib
import os
import signal
import sys
import time  # noqa: TID251 - real processes, real time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from autotune.cli.program import run

CRASHED = 70
"""Exit code of a fork from which an error escaped that is none of ours."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A fork that has ended.

    Attributes:
        code: Exit code, -SIGNAL after a signal; None if it had to be killed for its time.
        errors: What it wrote to stderr.
    """

    code: int | None
    output: str
    errors: str


def start(
    arguments: Sequence[str],
    folder: Path,
    output: Path,
    *,
    work: Callable[[Sequence[str]], int] = run,
) -> int:
    """Fork; stdout goes to a file and stderr to the one beside it with the suffix `.err`.

    Returns:
        The process id of the fork, which leads a session.
    """
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        os.chdir(folder)
        _redirect(output, 1)
        _redirect(output.with_suffix(".err"), 2)
        code = work(arguments)
    except BaseException:  # noqa: BLE001 - shown as the interpreter would; never into the parent's code
        import traceback  # noqa: PLC0415 - only here

        os.write(2, traceback.format_exc().encode(errors="replace"))
        code = CRASHED
    os._exit(code)


def preload(arguments: Sequence[str], folder: Path, *, timeout_s: float = 300.0) -> None:
    """Run a command in a fork and import here whatever it came to import."""
    noted = folder / "modules"

    def noting(given: Sequence[str]) -> int:
        code = run(given)
        noted.write_text("\n".join(sys.modules))
        return code

    finish(start(arguments, folder, folder / "preload.out", work=noting), timeout_s)
    for name in noted.read_text().split() if noted.exists() else ():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def finish(pid: int, timeout_s: float) -> int | None:
    """Wait for a fork; its exit code, None if it had to be killed."""
    end = time.monotonic() + timeout_s
    while True:
        is_over = time.monotonic() >= end  # before the look: who waits may stand still himself
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if is_over:
            break
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def command(
    arguments: Sequence[str], folder: Path, *, output: Path | None = None, timeout_s: float = 120.0
) -> Ended:
    """Run a command to its end in a folder; its output goes to a file there unless one is given."""
    output = output or folder / "command.out"
    for path in (output, output.with_suffix(".err")):
        path.unlink(missing_ok=True)
    code = finish(start(arguments, folder, output), timeout_s)
    return Ended(
        code=code,
        output=output.read_text(errors="replace"),
        errors=output.with_suffix(".err").read_text(errors="replace"),
    )


def _redirect(path: Path, descriptor: int) -> None:
    made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(made, descriptor)
    os.close(made)
