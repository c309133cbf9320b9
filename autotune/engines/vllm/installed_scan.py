"""Runs the scan with an interpreter of this machine, once for as long as nothing changes.

What was found is kept beside a stamp of every file that was read and of every folder in which
another vLLM or another file could have appeared. Starting a Python and parsing 60 files is 0.4 s of
the processor, and many times that by the clock where other work takes it; looking at the stamps
is 0.01 s.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from autotune.engines.vllm import scan_script
from autotune.engines.vllm.scan_files import SCAN_SOURCE, answer_of, cache_file, keep
from autotune.errors import EngineError

SCAN_TIMEOUT_S: Final = 30.0

Stamps = dict[str, list[int]]
"""Of files and folders: when they were changed (ns), and their size in bytes."""


async def scan_installed(interpreter: str, env: Mapping[str, str]) -> dict[str, Any]:
    """What an interpreter's vLLM accepts.

    Raises:
        EngineError: If it does not run or does not end.
    """
    file = _kept_file(interpreter, env)
    kept = _kept(file)
    if kept is not None:
        return kept
    found = await _scan(interpreter, env)
    if "location" in found:
        with contextlib.suppress(OSError):  # a full disk: the next time is as long as this one
            keep(file, {"found": found, "stamps": _stamps(_looked_at(interpreter, found))})
    return found


def _kept_file(interpreter: str, env: Mapping[str, str]) -> Path:
    """By the interpreter and what says where it looks for packages."""
    said = {**os.environ, **env}
    variables = sorted(f"{k}={v}" for k, v in said.items() if k.startswith("PYTHON"))
    return cache_file("installed", str(Path(interpreter).absolute()), *variables)


def _kept(file: Path) -> dict[str, Any] | None:
    """What was found, if everything that was looked at is as it was."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        found, stamps = kept["found"], kept["stamps"]
        return found if isinstance(found, dict) and stamps == _stamps(stamps) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _stamps(paths: Mapping[str, Any] | list[str]) -> Stamps:
    """Of those that are there; an empty stamp of those that are not."""
    return {path: _stamp(path) for path in paths}


def _stamp(path: str) -> list[int]:
    try:
        status = Path(path).stat()
    except OSError:
        return []
    return [status.st_mtime_ns, status.st_size]


def _looked_at(interpreter: str, found: Mapping[str, Any]) -> list[str]:
    """Files that the scan read, the folders that they lie in, and where packages are looked for."""
    root = Path(str(found["location"]))
    names = (*scan_script.BACKEND_FILES, "envs.py", scan_script.ARGUMENT_ACTIONS)
    files = [
        *scan_script.flag_files(root),
        *scan_script.config_files(root),
        *(root / name for name in names),
    ]
    folders = {path.parent for path in files}
    places = [Path(place) for place in found.get("path", ())]
    return sorted({str(path) for path in (Path(interpreter), *files, *folders, *places)})


async def _scan(interpreter: str, env: Mapping[str, str]) -> dict[str, Any]:
    try:
        process = await asyncio.create_subprocess_exec(
            interpreter, "-c", SCAN_SOURCE.read_text(encoding="utf-8"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **env},
            cwd="/",
        )  # fmt: skip
    except OSError as error:
        message = f"the Python {interpreter} does not start: {error.strerror}"
        raise EngineError(
            message, hint="Its environment may have been moved or removed."
        ) from error
    try:
        async with asyncio.timeout(SCAN_TIMEOUT_S):
            stdout, stderr = await process.communicate()
    except TimeoutError:
        message = f"looking at the vLLM of {interpreter} took over {SCAN_TIMEOUT_S:.0f} s"
        raise EngineError(message, hint="Is its disk very slow?") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return answer_of(process.returncode or 0, stdout.decode(), stderr.decode(errors="replace"))
