"""Servers whose logs and answers are written to repaint a terminal or to run in a page.

Each has a trial of a study; then every command that shows the study is run, and what it printed
and wrote is searched: no control character, and no markup that a browser would obey.
"""

import io
import json
import socket
import subprocess
import sys
import time  # noqa: TID251 - real processes, real time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from rich.console import Console

from autotune.cli.live_panels import screen
from autotune.cli.live_state import LiveState
from autotune.cli.plain import PlainLines
from autotune.clock import MonotonicClock
from autotune.deployers.ports import free_port
from autotune.records import Configuration, TrialKind
from autotune.report.exports.write import FORMATS
from autotune.seams.events import TrialEnded
from autotune.seams.trial import TrialRequest
from autotune.spec.space import space_from
from autotune.store import TrialStore, write_study
from benchmarks.reliability.figure import Figure
from benchmarks.reliability.forked import command
from benchmarks.reliability.scripted import DOES, SERVER, failure_kind, runner_of, spec_of, tools_of

NAME, DEFEATED = "hostile", "defeated"
"""A study with a measured baseline, and one of which nothing was measured."""
SPACE: Final = {"name": "scripted", "parameters": {"max_num_seqs": {"low": 1, "high": 1024}}}
ENDS: Final = {
    "serves": {"measured"},
    "taunts": {"measured"},
    "taunts-and-crashes": {"crashed_at_start"},
    "taunts-and-dies": {"died_under_load"},
    "taunts-in-refusals": {"requests_failed"},
    "taunts-in-events": {"requests_failed"},
}
"""What the servers do, and how their trials end."""
CONTROL: Final = ("\x1b", "\x07", "\x08", "\x9b", "\u202e", "\x00")
MARKUP: Final = ("<script>taunt", "<img src=x")
LOGS: Final = frozenset({"engine.log"})
"""What a server wrote is kept as it was; autotune shows it in its own words only."""


def hostile(folder: Path) -> Figure:
    """Run the study, show it in every way, look.

    Args:
        folder: Scratch.
    """
    figure = Figure("hostile")
    said = _study(NAME, tuple(ENDS), folder, figure)
    said += _study(DEFEATED, ("taunts-and-crashes", "taunts-in-refusals"), folder, figure)
    figure.broken += [f"the view's lines hold {found!r}" for found in _unwanted(said)]
    for arguments in _commands():
        figure.tried["commands"] += 1
        ended = command(arguments, folder)
        line = f"autotune {' '.join(arguments)}"
        if ended.code is None or ended.code < 0 or "Traceback" in ended.errors:
            figure.broken.append(f"{line}: {ended.errors[-300:]}")
        figure.broken += [f"{line} prints {f!r}" for f in _unwanted(ended.output + ended.errors)]
    _probed(folder, figure)
    for path in (p for p in folder.rglob("*") if p.is_file() and p.name not in LOGS):
        figure.tried["files looked through"] += 1
        text = path.read_bytes().decode(errors="replace")
        figure.broken += [f"{path} holds {found!r}" for found in _unwanted(text)]
        if path.suffix in {".html", ".md"}:
            figure.broken += [f"{path} holds {found!r}" for found in MARKUP if found in text]
    if not any(_is_kept(folder / "studies")):
        figure.broken.append("no log holds the taunt: nothing is shown")
    figure.demand("trials", "commands", "files looked through")
    return figure


def _study(name: str, servers: Sequence[str], folder: Path, figure: Figure) -> str:
    """A trial of each server, on disk; what the views made of them, their colours aside."""
    clock = MonotonicClock()
    spec = spec_of(name, {"workload": {"ttft_repeats": 3, "ttft_max_tokens": 8}})
    lines, drawn = io.StringIO(), io.StringIO()
    plain = PlainLines(lines, clock=clock, objectives=spec.objectives)
    console = Console(file=drawn, width=120, color_system=None)
    state = LiveState(study=name, objectives=spec.objectives, simulated=False)
    tools = tools_of(spec, "process", clock=clock, observer=plain)
    runner = runner_of(spec, folder / "studies", tools)
    write_study(runner._paths, spec, space_from(SPACE, where=name))  # noqa: SLF001 - its files
    store = TrialStore(runner._paths, name)  # noqa: SLF001
    for number, does in enumerate(servers):
        kind = TrialKind.SEARCH if number else TrialKind.BASELINE
        configuration = Configuration.of({} if does == "serves" else {DOES: does})
        record = clock.run(
            runner.run(TrialRequest(number=number, kind=kind, configuration=configuration))
        )
        store.append(record)
        ended = TrialEnded(record=record)
        plain(ended)
        state.end(ended, clock.now_ns())
        console.print(screen(state, now_ns=clock.now_ns(), width=console.width, height=40))
        figure.tried["trials"] += 1
        if failure_kind(record) not in ENDS[does]:
            figure.broken.append(f"{does} is called {failure_kind(record)}: {record.outcome}")
    return lines.getvalue() + drawn.getvalue()


def _commands() -> Iterator[Sequence[str]]:
    for shown in (("show", NAME), ("recommend", NAME), ("compare", NAME, "0", "1"), ("list",)):
        yield shown
        yield (*shown, "--json")
    for shown in (("show", DEFEATED), ("recommend", DEFEATED)):
        yield shown
        yield (*shown, "--json")
    yield ("show", DEFEATED, "--trial", "0")
    yield ("report", DEFEATED)
    for number in range(len(ENDS)):
        yield ("show", NAME, "--trial", str(number))
        yield ("show", NAME, "--trial", str(number), "--json")
        yield ("compare", NAME, "0", str(number))
    for form in FORMATS:
        for how in ("--stdout", "--force"):
            yield ("export", NAME, "--trial", "1", "--format", form, how)
    yield ("report", NAME)


def _probed(folder: Path, figure: Figure) -> None:
    """`autotune probe` at each of the servers that can be asked."""
    for does in ("taunts", "taunts-in-refusals", "taunts-in-events"):
        port = free_port("127.0.0.1")
        arguments = [sys.executable, str(SERVER), str(port), does]
        with subprocess.Popen(arguments, stdout=subprocess.DEVNULL) as server:
            try:
                _wait_until_it_answers(port)
                ended = command(["probe", f"http://127.0.0.1:{port}", "--tests", "2"], folder)
            finally:
                server.kill()
        figure.tried["commands"] += 1
        said = ended.output + ended.errors
        figure.broken += [f"probe of one that {does}: prints {f!r}" for f in _unwanted(said)]
        if ended.code is None or "Traceback" in said:
            figure.broken.append(f"probe of one that {does}: {said[-300:]}")


def _wait_until_it_answers(port: int) -> None:
    for _ in range(200):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)


def _unwanted(text: str) -> list[str]:
    return [found for found in CONTROL if found in text]


def _is_kept(studies: Path) -> Iterator[bool]:
    taunt = json.loads(SERVER.with_name("taunt.json").read_text())
    for log in studies.glob("*/trials/*/engine.log"):
        yield taunt in log.read_text(errors="replace")
