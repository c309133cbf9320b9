"""Provoke real failures of vLLM, keep their logs, and see whether each is named rightly.

    python -m benchmarks.gpu.provoke_failures benchmarks/gpu/provoked.yaml \
        --models FOLDER --out FOLDER [--without-card]

For each case: the log, and a row with what it was called, what it should be called, and the GiB
that were needed and free by vLLM's words beside the GiB that really were free. Imports are done
beforehand and together (`preloaded.py`). Exits with 1 if a case is called something else.
"""

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from autotune.clock import MonotonicClock
from autotune.deployers.processes import ProcessId, all_stats, end_all
from autotune.engines.vllm.failures import explain
from autotune.seams.deployment import ExitEvidence
from autotune.seams.engine import Evidence
from autotune.units import s_from_ns

HERE: Final = Path(__file__).parent
CLOCK: Final = MonotonicClock()
CGROUP: Final = Path("/sys/fs/cgroup")
START_S: Final = 240.0
LOAD_S: Final = 90.0
GRACE_S: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class Row:
    """What came of a case; one that is expected to start has no kind."""

    name: str
    expected: str | None
    kind: str | None
    message: str
    needed_gib: float | None
    available_gib: float | None
    margin_gib: float | None
    really_free_gib: float | None
    exit_code: int | None
    seconds: float
    as_expected: bool


class Filler:
    """A process that leaves so much of the card free."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "card_filler.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def leave(self, gib: float) -> float:
        """Fill or empty; returns what is free, in GiB."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{gib}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def end(self) -> None:
        """Give everything back."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)


class Case:
    """One server that waits with its imports done."""

    def __init__(self, raw: dict[str, Any], models: Path, out: Path, port: int) -> None:
        self.raw, self.port = raw, port
        self.name: str = raw["name"]
        self._go = out / f"{self.name}.go"
        self.log = out / f"{self.name}.log"
        command = [
            sys.executable, str(HERE / "preloaded.py"), str(self._go), "serve",
            str(models / raw["model"]), "--host", "127.0.0.1", "--port", str(port),
            *raw.get("fixed", ["--load-format", "dummy", "--max-model-len", "32768"]),
            *raw["arguments"],
        ]  # fmt: skip
        self._cgroup = _cgroup(self.name, raw.get("cgroup_memory_gib"))
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        if self._cgroup is not None:
            (self._cgroup / "cgroup.procs").write_text(str(self._process.pid))

    def wait_imported(self) -> None:
        """Until nothing is left but the start itself."""
        for _ in range(int(START_S * 5)):
            if self._go.with_suffix(".ready").exists() or self._process.poll() is not None:
                return
            pause(0.2)

    def run(self, filler: Filler | None) -> Row:
        """Let it go, wait for its end or health, load it, name what happened."""
        began = CLOCK.now_ns()
        wanted = self.raw.get("free_gib")
        free = filler.leave(wanted) if filler is not None and wanted is not None else None
        self.go()
        healthy = self.wait_healthy()
        load = self.raw.get("load")
        if healthy and load is not None:
            if filler is not None:
                free = filler.leave(load["free_gib"])
            self._ask(load)
        return self.row(healthy=healthy, free=free, seconds=s_from_ns(CLOCK.now_ns() - began))

    def go(self) -> None:
        """Let it start."""
        self._go.touch()

    def row(self, *, healthy: bool, free: float | None, seconds: float) -> Row:
        """End what still runs and name what happened."""
        code = self._process.poll()
        killed = self._oom_killed()
        self.end()
        number = -code if code is not None and code < 0 else None
        evidence = Evidence(
            phase="probe:load" if healthy else "starting",
            healthy_once=healthy,
            exit=None if code is None else ExitEvidence(
                exit_code=code if number is None else None, signal=number, oom_killed=killed
            ),
            log=self.log.read_text(errors="replace"),
        )  # fmt: skip
        failure = explain(evidence)
        kind = None if failure is None else failure.kind.value
        expected: str | None = self.raw["expected"]
        return Row(
            name=self.name,
            expected=expected,
            kind=kind,
            message="" if failure is None else failure.message,
            needed_gib=None if failure is None else failure.needed_gib,
            available_gib=None if failure is None else failure.available_gib,
            margin_gib=None if failure is None else failure.margin_gib,
            really_free_gib=free,
            exit_code=code,
            seconds=round(seconds, 1),
            as_expected=kind == expected,
        )

    def end(self) -> None:
        """End its whole process group: the next case finds the card without it."""
        CLOCK.run(end_all(self._members, clock=CLOCK, grace_s=GRACE_S))
        self._process.poll()

    def _members(self) -> set[ProcessId]:
        group = self._process.pid
        return {s.process for s in all_stats().values() if s.group == group and s.is_running}

    def wait_healthy(self) -> bool:
        """True once it answers; False when it has ended or the time is over."""
        for _ in range(int(START_S * 2)):
            if self._process.poll() is not None:
                return False
            try:
                answer = httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=2.0)
            except httpx.HTTPError:
                pause(0.5)
                continue
            if answer.status_code == 200:
                return True
            pause(0.5)
        return False

    def _ask(self, load: dict[str, Any]) -> None:
        """Send what must kill it; wait until it has ended."""
        body = {
            "model": "served",
            "prompt": list(range(1000, 1000 + load["prompt_tokens"])),
            "max_tokens": 1,
            "prompt_logprobs": load["prompt_logprobs"],
        }
        url = f"http://127.0.0.1:{self.port}/v1"
        try:
            body["model"] = httpx.get(f"{url}/models", timeout=10).json()["data"][0]["id"]
            httpx.post(f"{url}/completions", json=body, timeout=LOAD_S)
        except httpx.HTTPError:
            pass  # it is to die of this
        for _ in range(int(LOAD_S)):
            if self._process.poll() is not None:
                return
            pause(1.0)

    def _oom_killed(self) -> bool:
        if self._cgroup is None:
            return False
        events = (self._cgroup / "memory.events").read_text()
        return any(
            line.split()[0] == "oom_kill" and line.split()[1] != "0" for line in events.splitlines()
        )


def _cgroup(name: str, gib: float | None) -> Path | None:
    """A memory limit for a case, as a container has one."""
    if gib is None:
        return None
    (CGROUP / "cgroup.subtree_control").write_text("+memory")
    folder = CGROUP / f"autotune-{name}"
    folder.mkdir(exist_ok=True)
    (folder / "memory.max").write_text(str(int(gib * 1024**3)))
    return folder


def pause(seconds: float) -> None:
    """Wait on the clock."""
    CLOCK.run(CLOCK.sleep(seconds))


def together(cases: Sequence[Case]) -> list[Row]:
    """Those that need little of the card."""
    began = CLOCK.now_ns()
    for case in cases:
        case.wait_imported()
        case.go()
    rows = []
    for case in cases:
        healthy = case.wait_healthy()
        rows.append(case.row(healthy=healthy, free=None,
                             seconds=s_from_ns(CLOCK.now_ns() - began)))  # fmt: skip
    return rows


def main() -> None:
    """Run them all and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("cases", type=Path)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--without-card", action="store_true", help="for a machine without a GPU")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # whatever was started is ended
    raw = yaml.safe_load(chosen.cases.read_text())
    groups = {
        key: [
            Case(entry, chosen.models, chosen.out, port)
            for port, entry in enumerate(raw.get(key) or [], first)
        ]
        for key, first in (("together", 18100), ("alone", 18200))
    }
    filler = None if chosen.without_card or not groups["alone"] else Filler()
    rows: list[Row] = []
    try:
        rows += together(groups["together"])
        for case in groups["alone"]:
            case.wait_imported()
            rows.append(case.run(filler))
            print(json.dumps(asdict(rows[-1])), flush=True)
    finally:
        for case in (*groups["together"], *groups["alone"]):
            case.end()
        if filler is not None:
            filler.end()
        (chosen.out / "rows.json").write_text(json.dumps([asdict(r) for r in rows], indent=1))
    for row in rows:
        mark = "ok" if row.as_expected else "OTHER"
        print(f"{mark:5} {row.name}: {row.kind} (expected {row.expected}): {row.message}")
    sys.exit(0 if rows and all(row.as_expected for row in rows) else 1)


if __name__ == "__main__":
    main()
