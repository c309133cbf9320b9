"""The log that a simulated server writes: vLLM's lines, with the server's own time."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from autotune.engines.simulated.refusals import Refusal
from autotune.units import NS_PER_S

_ORIGIN: Final = datetime(2001, 1, 1, tzinfo=UTC)
"""Stamps count from here, so that equal trials have equal logs; vLLM's carry no year anyway."""
API: Final = "APIServer pid=1"
CORE: Final = "EngineCore pid=187"


class EngineLog:
    """Appends to the file that the trial reads.

    Args:
        path: Where to; None keeps nothing.
        elapsed_ns: Time since the server was started.
        echo: Called with each piece of text (a server that is a process prints it).
    """

    def __init__(
        self,
        path: Path | None,
        elapsed_ns: Callable[[], int],
        *,
        echo: Callable[[str], None] | None = None,
        tags: bool = True,
    ) -> None:
        self._path, self._elapsed_ns, self._echo, self._tags = path, elapsed_ns, echo, tags

    def info(self, where: str, text: str, *, process: str = CORE) -> None:
        """A line as vLLM's logger writes it."""
        self._line("INFO", where, text, process)

    def debug(self, where: str, text: str, *, process: str = CORE) -> None:
        """The same, at DEBUG."""
        self._line("DEBUG", where, text, process)

    def warning(self, where: str, text: str, *, process: str = CORE) -> None:
        """The same, as a warning."""
        self._line("WARNING", where, text, process)

    def error(self, where: str, text: str, *, process: str = CORE) -> None:
        """The same, as an error."""
        self._line("ERROR", where, text, process)

    def raw(self, text: str) -> None:
        """Text without a head, such as a traceback."""
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(text + "\n")
        if self._echo is not None:
            self._echo(text + "\n")

    def refused(self, refusal: Refusal) -> None:
        """The last words of a server that does not come up, with vLLM's wrappers around."""
        if not refusal.in_core:
            for line in refusal.lines:
                self.raw(f"({API}) {line}" if self._tags and refusal.exit_code == 1 else line)
            return
        self.error("core.py:1136", "EngineCore failed to start.")
        for line in refusal.lines:
            self.error("core.py:1136", line)
        self.raw(f"({API}) Traceback (most recent call last):")
        self.raw(
            f"({API}) RuntimeError: Engine core initialization failed. See root cause above. "
            "Failed core proc(s): {}"
        )

    def _line(self, level: str, where: str, text: str, process: str) -> None:
        at = _ORIGIN + timedelta(seconds=self._elapsed_ns() / NS_PER_S)
        tag = f"({process}) " if self._tags else ""
        self.raw(f"{tag}{level} {at:%m-%d %H:%M:%S} [{where}] {text}")
