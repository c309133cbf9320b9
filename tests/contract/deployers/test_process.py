"""The process deployer keeps the contract of deployers."""

import os
import signal
import sys
from pathlib import Path

import pytest

from autotune.deployers.footprint import Footprint, footprints, private_folder
from autotune.deployers.marks import identity_of
from autotune.deployers.ports import free_port
from autotune.deployers.process import ProcessDeployer
from autotune.deployers.processes import ProcessId, all_stats, environment, is_running
from autotune.seams.deployment import LaunchPlan
from autotune.units import BYTES_PER_MIB
from tests.contract.deployer_suite import CLOCK, FLOOD_BYTES, DeployerSuite

SERVER = """
import http.server, os, signal, sys, time

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/quit":
            os._exit(0)
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass

if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "forks" in sys.argv and os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(3600)
    os._exit(0)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

FLOOD = f"""
import sys
print("first", flush=True)
line = b"x" * 1023 + b"\\n"
for _ in range({FLOOD_BYTES} // 1024):
    sys.stdout.buffer.write(line)
print("last")
"""

HOG = """
held = []
while True:
    held.append(bytearray(16 * 1024**2))
"""


class ProcessBench:
    """Tiny servers in Python."""

    quit_path = "/quit"

    def __init__(self, folder: Path) -> None:
        self.deployer = ProcessDeployer(CLOCK)
        self._folder = folder

    def plan(self, behaviour: str) -> LaunchPlan:
        """As the suite says."""
        port = free_port()
        python = (sys.executable, "-c")
        if behaviour == "unstartable":
            return LaunchPlan(argv=(str(self._script_without_interpreter()),), port=port)
        programs = {"exit": "print('bye'); raise SystemExit(3)", "flood": FLOOD, "hog": HOG}
        if behaviour in programs:
            limit = 400 * BYTES_PER_MIB if behaviour == "hog" else None
            argv = (*python, programs[behaviour])
            return LaunchPlan(argv=argv, port=port, memory_limit_bytes=limit)
        return LaunchPlan(argv=(*python, SERVER, str(port), behaviour), port=port)

    def left(self, study: str) -> list[str]:
        """Marked processes and notes about them."""
        processes = [
            f"process {pid}"
            for pid in all_stats()
            if (found := identity_of(environment(pid))) is not None and found.study == study
        ]
        return processes + [f.deployment for f in self._footprints(study)]

    def processes_of(self, study: str, owner_pid: int) -> set[ProcessId]:
        """As their supervisors wrote down."""
        mine = [f for f in self._footprints(study) if f.identity.owner_pid == owner_pid]
        return {process for f in mine for process in f.processes}

    def cripple(self, study: str, owner_pid: int) -> None:
        """Kill the supervisors."""
        for footprint in self._footprints(study):
            if footprint.identity.owner_pid != owner_pid:
                continue
            os.kill(footprint.supervisor.pid, signal.SIGKILL)
            while is_running(footprint.supervisor):
                pass

    def _footprints(self, study: str) -> list[Footprint]:
        return [f for f in footprints(private_folder()) if f.identity.study == study]

    def _script_without_interpreter(self) -> Path:
        script = self._folder / "server"
        script.write_text("#!/no/such/interpreter\n")
        script.chmod(0o755)
        return script


class TestProcessDeployer(DeployerSuite):
    """The suite."""

    @pytest.fixture
    def bench(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProcessBench:
        """A process deployer and its tiny servers."""
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        return ProcessBench(tmp_path)
