"""What a scan of vLLM's files answered, and where the answer is kept."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from autotune.errors import EngineError

SCAN_SOURCE: Final = Path(__file__).with_name("scan_script.py")


def answer_of(exit_code: int, stdout: str, stderr: str) -> dict[str, Any]:
    """The scan's JSON, on the last line of what was printed.

    Raises:
        EngineError: If there is none.
    """
    lines = stdout.strip().splitlines()
    try:
        found = json.loads(lines[-1]) if exit_code == 0 and lines else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        last = (stderr.strip().splitlines() or ["it printed nothing"])[-1]
        message = f"the files of vLLM could not be read: {last}"
        raise EngineError(message, hint="Is the installation complete?")
    return found


def cache_file(*parts: str) -> Path:
    """Where an answer is kept, by what it was asked of; a changed script makes a new name."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    asked = (*parts, SCAN_SOURCE.read_text(encoding="utf-8"))
    key = hashlib.sha256("\0".join(asked).encode()).hexdigest()[:32]
    return root / "autotune" / "capabilities" / f"{key}.json"


def keep(file: Path, content: Mapping[str, Any]) -> None:
    """Write an answer as a whole: another study may read it at this moment."""
    file.parent.mkdir(parents=True, exist_ok=True)
    half = file.with_suffix(f".{os.getpid()}")
    half.write_text(json.dumps(content), encoding="utf-8")
    half.replace(file)
