"""Processes named for all time."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from autotune.clock import MonotonicClock
from autotune.deployers.processes import (
    ProcessId,
    Stat,
    _parsed,
    all_stats,
    descendants,
    end_all,
    environment,
    is_running,
    read_stat,
    send,
)

DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); input()"


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that ignores SIGTERM and waits."""
    process = subprocess.Popen(
        [sys.executable, "-uc", DEAF],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"MARK": "here=there"},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    yield process
    process.kill()
    process.communicate()


def test_a_name_with_spaces_and_parentheses() -> None:
    """Fields are counted after the last parenthesis: a process may be called anything."""
    text = "42 (a) b (c)) S 1 42 41 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2"
    assert _parsed(42, text) == Stat(
        pid=42, state="S", parent=1, group=42, session=41, start_ticks=98765
    )


@pytest.mark.parametrize("text", ["", "42 (x", "42 (x) S 1"])
def test_a_text_that_is_cut_off(text: str) -> None:
    """A process that vanishes while it is read is no process."""
    assert _parsed(42, text) is None


def test_this_process_is_seen() -> None:
    """A process is in the list with its parent and its start."""
    stat = all_stats()[os.getpid()]
    assert stat.parent == os.getppid()
    assert is_running(stat.process)


def test_descendants_at_any_depth() -> None:
    """Children of children count, roots and strangers do not."""
    parents = {1: 0, 10: 1, 11: 10, 12: 11, 20: 1, 21: 20}
    stats = {pid: Stat(pid, "S", parent, pid, pid, 5) for pid, parent in parents.items()}
    assert descendants([10], stats) == {11, 12}
    assert descendants([10, 20], stats) == {11, 12, 21}
    assert descendants([], stats) == set()


def test_an_environment_is_read(child: subprocess.Popen[bytes]) -> None:
    """Variables are split at their first equals sign."""
    assert environment(child.pid)["MARK"] == "here=there"
    assert environment(2**22 + 1) == {}


def test_a_reused_number_is_left_alone(child: subprocess.Popen[bytes]) -> None:
    """A signal for a process that was there before does not reach its successor."""
    stat = read_stat(child.pid)
    assert stat is not None
    send(ProcessId(child.pid, stat.start_ticks - 1), signal.SIGKILL)
    assert is_running(stat.process)
    send(stat.process, signal.SIGKILL)
    child.wait()
    assert not is_running(stat.process)
    send(stat.process, signal.SIGKILL)  # nothing happens


def test_first_ask_then_insist(child: subprocess.Popen[bytes]) -> None:
    """A process that ignores SIGTERM is killed after the grace, and none is left."""
    stat = read_stat(child.pid)
    assert stat is not None
    clock = MonotonicClock()
    left = clock.run(
        end_all(
            lambda: {stat.process} if is_running(stat.process) else set(),
            clock=clock,
            grace_s=0.1,
        )
    )
    assert left == frozenset()
    assert child.wait() == -signal.SIGKILL


def test_what_cannot_be_ended_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that survives SIGKILL (it waits for a device) is named after a bounded time."""
    monkeypatch.setattr("autotune.deployers.processes._KILL_TIMEOUT_S", 0.1)
    stuck = ProcessId(2**22 + 1, 7)
    clock = MonotonicClock()
    assert clock.run(end_all(lambda: {stuck}, clock=clock, grace_s=0.0)) == {stuck}
