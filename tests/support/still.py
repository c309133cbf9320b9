"""A deployment that stands still: given processes, given cgroup."""

from dataclasses import dataclass
from pathlib import Path

from autotune.seams.deployment import ExitEvidence


@dataclass
class StillDeployment:
    """Only what telemetry asks for says anything."""

    processes: tuple[int, ...] = ()
    folder: Path | None = None
    base_url: str = "http://127.0.0.1:1"
    log_path: Path = Path("/dev/null")
    started_ns: int = 0

    def pids(self) -> tuple[int, ...]:
        """As given."""
        return self.processes

    def cgroup(self) -> Path | None:
        """As given."""
        return self.folder

    def exit_evidence(self) -> ExitEvidence | None:
        """It runs."""
        return None

    @property
    def is_out_of_sight(self) -> bool:
        """Never."""
        return False

    async def wait_exit(self) -> ExitEvidence:
        """It has ended."""
        return ExitEvidence()

    async def stop(self, *, grace_s: float) -> ExitEvidence:
        """It has ended."""
        return ExitEvidence(stopped_by_us=True)
