"""Secrets planted where a user has them: nothing that is written, printed or listed holds one."""

import asyncio
import base64
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import psutil

from autotune.clock import MonotonicClock
from autotune.load.connect import http_connector
from autotune.records import Configuration, TrialKind
from autotune.seams.trial import TrialRequest
from benchmarks.reliability.figure import Figure
from benchmarks.reliability.forked import command
from benchmarks.reliability.scripted import DOES, failure_kind, runner_of, spec_of, tools_of

TOKEN: Final = "hf_" + "plantedtokenplantedtokenplantedtok"
KEY: Final = "sk-planted-key-0123456789abcdef"
PASSWORD: Final = "planted-password-in-a-url"  # noqa: S105 - planted
SHORT: Final = "plnt"
ENVIRONMENT: Final[Mapping[str, str]] = {
    "HF_TOKEN": TOKEN,
    "HUGGING_FACE_HUB_TOKEN": TOKEN,
    "OPENAI_API_KEY": KEY,
    "VLLM_API_KEY": KEY[::-1],
    "AWS_SECRET_ACCESS_KEY": KEY.upper(),
    "PIP_INDEX_URL": f"https://me:{PASSWORD}@index.invalid/simple",
    "DATABASE_URL": f"postgres://me:{SHORT}@db.invalid/x",
}
LONG: Final = (TOKEN, KEY, KEY[::-1], KEY.upper(), PASSWORD)
IN_BASE64: Final = tuple(
    base64.b64encode(bytes(before) + secret.encode()).decode()[4:-4]
    for secret in LONG
    for before in range(3)
)
"""What of a secret is the same wherever it stands in what was encoded, less some letters."""
PLANTED: Final = re.compile("|".join(map(re.escape, (*LONG, f":{SHORT}@", *IN_BASE64))).encode())
STUDY: Final = ("study", "--engine", "simulated", "--trials", "4", "--json")
COMMANDS: Final = (
    STUDY,
    ("list",),
    ("show",),
    ("show", "--trial", "0"),
    ("recommend",),
    ("report",),
    ("plan",),
    ("doctor",),
    *(
        ("export", "--format", name)
        for name in ("compose", "env", "command", "kubernetes", "systemd")
    ),
)
REFUSED: Final = {
    "model": f"model: https://me:{PASSWORD}@hub.invalid/model\n",
    "token-in-model": f"model: https://hub.invalid/{TOKEN}\n",
    "environment": f"engine: {{env: {{HF_TOKEN: {TOKEN}}}}}\n",
    "proxy": f"engine: {{env: {{HTTPS_PROXY: 'http://me:{PASSWORD}@proxy.invalid'}}}}\n",
    "arguments": f"engine: {{arguments: ['--api-key', '{KEY}']}}\n",
    "yaml": f"engine: {{env: {{HF_TOKEN: {TOKEN}\n",
    "key": f"{TOKEN}: 1\n",
}
"""Study files with a secret in them: refused, without repeating it."""

ENDS: Final[Mapping[str, str]] = {
    "tells": "crashed_at_start", "serves": "measured", "repeats": "requests_failed",
}  # fmt: skip
"""What the servers do, and how their trials end."""


@dataclass
class Listing:
    """Command lines of this machine while a server runs."""

    seen: set[bytes] = field(default_factory=set)

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            for process in psutil.process_iter():
                try:
                    line = " ".join(process.cmdline()).encode(errors="replace")
                except (psutil.NoSuchProcess, psutil.AccessDenied):
                    continue
                self.seen.update(PLANTED.findall(line))
            await asyncio.sleep(0.1)


def planted_secrets(folder: Path, *, deployers: tuple[str, ...]) -> Figure:
    """Plant, run, look everywhere.

    Args:
        folder: Scratch; caches and state lie in it too, so that they are looked at.
        deployers: With which of them a server tells its environment.
    """
    figure = Figure("secrets")
    before = dict(os.environ)
    os.environ.update(ENVIRONMENT)
    os.environ.update(XDG_CACHE_HOME=str(folder / "cache"), XDG_STATE_HOME=str(folder / "state"))
    try:
        _told(folder, deployers, figure)
        _commands(folder, figure)
        _refused(folder, figure)
    finally:
        os.environ.clear()
        os.environ.update(before)
    inputs = {folder / f"{name}.yaml" for name in REFUSED}
    files = [path for path in folder.rglob("*") if path.is_file() and path not in inputs]
    figure.tried["files looked through"] += len(files)
    figure.demand("servers", "files looked through")
    figure.broken += [line for path in files for line in _in_file(path)]
    return figure


def _told(folder: Path, deployers: tuple[str, ...], figure: Figure) -> None:
    """Servers: one prints its environment, one lives a while beside `ps`, one repeats its key."""
    clock = MonotonicClock()
    listing = Listing()

    async def both(deployer: str, name: str) -> None:
        headers = {"Authorization": f"Bearer {ENVIRONMENT['VLLM_API_KEY']}"}
        connect = http_connector(clock, headers=headers)
        tools = replace(tools_of(spec_of(name), deployer, clock=clock), connect=connect)
        runner = runner_of(spec_of(name), folder, tools)
        for number, does in enumerate(ENDS):
            configuration = Configuration.of({DOES: does})
            record = await runner.run(
                TrialRequest(number=number, kind=TrialKind.SEARCH, configuration=configuration)
            )
            if failure_kind(record) != ENDS[does]:
                figure.broken.append(f"{deployer}, {does}: {record.outcome}")
            if PLANTED.search(repr(record).encode()):
                figure.broken.append(f"{deployer}: a record holds one")
            figure.tried["servers"] += 1

    async def watched(deployer: str) -> None:
        watching = asyncio.create_task(listing.watch())
        await both(deployer, f"planted-{deployer}")
        watching.cancel()

    for deployer in deployers:
        clock.run(watched(deployer))
    figure.broken += [f"a command line holds {found!r}" for found in listing.seen]


def _commands(folder: Path, figure: Figure) -> None:
    for arguments in COMMANDS:
        figure.tried["commands"] += 1
        ended = command(arguments, folder)
        if PLANTED.search((ended.output + ended.errors).encode()):
            figure.broken.append(f"autotune {' '.join(arguments)} prints one")
        if ended.code is None or "Traceback" in ended.errors or (arguments == STUDY and ended.code):
            figure.broken.append(f"autotune {' '.join(arguments)}: {ended.errors[-300:]}")


def _refused(folder: Path, figure: Figure) -> None:
    """Each study file is refused, and the refusal does not repeat what it refuses."""
    for name, text in REFUSED.items():
        file = folder / f"{name}.yaml"
        file.write_text(text)
        ended = command(["study", str(file), "--name", f"refused-{name}", *STUDY[1:]], folder)
        figure.tried["study files"] += 1
        if ended.code in {0, None} or "error: " not in ended.errors:
            figure.broken.append(f"{name} is not refused: {ended.errors[-300:]}")
        if PLANTED.search((ended.output + ended.errors).encode()):
            figure.broken.append(f"{name}: the refusal repeats it: {ended.errors[-300:]}")


def _in_file(path: Path) -> Iterator[str]:
    """Appearances in a file; a database is also asked, for it may keep text in pieces."""
    for found in PLANTED.findall(path.read_bytes()):
        yield f"{path} holds {found!r}"
    if path.suffix == ".db":
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            if PLANTED.search("\n".join(database.iterdump()).encode(errors="replace")):
                yield f"{path} holds one in its rows"
