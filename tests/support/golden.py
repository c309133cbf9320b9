"""Starting the golden server from a test, and asking it what it saw."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Golden:
    """A running golden server."""

    base_url: str
    process: "subprocess.Popen[str]"

    def seen(self) -> list[dict[str, Any]]:
        """One row per request, in order of arrival."""
        rows: list[dict[str, Any]] = self._call("/golden/requests", None)
        return rows

    def brief(self) -> list[dict[str, Any]]:
        """The same with the first send and a count in place of each chunk's time."""
        rows: list[dict[str, Any]] = self._call("/golden/brief", None)
        return rows

    def script(self, **values: object) -> None:
        """Change how requests to come are answered."""
        self._call("/golden/script", values)

    def reset(self) -> None:
        """Forget what was seen."""
        self._call("/golden/reset", {})

    def _call(self, path: str, body: dict[str, object] | None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base_url + path, data=data)  # noqa: S310 - own http
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.load(answer)


@contextmanager
def golden_server(**script: object) -> Iterator[Golden]:
    """A golden server in a process of its own, ended on the way out."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.golden_server", "--script", json.dumps(script)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = json.loads(process.stdout.readline())["port"]
        yield Golden(f"http://127.0.0.1:{port}", process)
    finally:
        process.stdin.close()
        process.kill()
        process.wait(timeout=10)
        process.stdout.close()
