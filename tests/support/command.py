"""The program as a user runs it: the installed `autotune` in a process of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

PROGRAM: Final = Path(sys.executable).with_name("autotune")
END_GRACE_S: Final = 60.0

Event = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A command that has ended.

    Attributes:
        output: Its stdout as it came.
        errors: Its stderr as it came.
    """

    code: int
    output: str
    errors: str

    @property
    def events(self) -> list[Event]:
        """What `--json` wrote."""
        return [json.loads(line) for line in self.output.splitlines()]

    @property
    def result(self) -> Event:
        """The command's result: the last event, or the one before the error that it ends with."""
        results = [event for event in self.events if event["event"] == "result"]
        assert results, self.errors
        return results[-1]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where commands run.

    Attributes:
        folder: Current directory; results go to its `studies/`.
        variables: Environment variables on top of the test's own.
        urgent: Run at a higher priority where the user may: whoever measures must not wait for
            whom it measures, or for anybody else on a machine of two cores.
    """

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    urgent: bool = False

    def trial(self, study: str, number: int) -> Path:
        """Folder of a trial."""
        return self.folder / "studies" / study / "trials" / f"{number:04d}"

    def run(self, *arguments: str, timeout_s: float = 120.0) -> Finished:
        """Run a command to its end."""
        with self.started(*arguments) as process:
            output, errors = process.communicate(timeout=timeout_s)
        return Finished(code=process.returncode, output=output, errors=errors)

    def interrupt(self, *arguments: str, at: Callable[[Event], bool]) -> Finished:
        """Run a `--json` command and press Ctrl-C at the first event that is wanted."""
        lines = []
        with self.started(*arguments) as process:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                if at(json.loads(line)):
                    process.send_signal(signal.SIGINT)
                    break
            output, errors = process.communicate(timeout=END_GRACE_S)
        return Finished(code=process.returncode, output="".join(lines) + output, errors=errors)

    @contextmanager
    def started(self, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        """A running command; on the way out it is gone, asked first."""
        first = ("nice", "-n", "-10") if self.urgent and os.geteuid() == 0 else ()
        process = subprocess.Popen(
            [*first, str(PROGRAM), *arguments],
            cwd=self.folder,
            env={**os.environ, "COLUMNS": "160", "NO_COLOR": "1", **self.variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(END_GRACE_S)
                except subprocess.TimeoutExpired:
                    process.kill()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


def processes_of(study: str) -> list[int]:
    """Processes that a study started and that still run, known by the mark they all carry."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("AUTOTUNE_STUDY") == study:
                found.append(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found
