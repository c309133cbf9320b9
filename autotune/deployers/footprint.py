"""What a process deployment has on this machine, kept where a later run of autotune finds it."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from autotune.deployers.processes import ProcessId, Stat, all_stats, descendants, is_running
from autotune.deployers.shared_memory import ShmFile
from autotune.errors import DeployerError
from autotune.seams.deployment import Identity


@dataclass(kw_only=True)
class Footprint:
    """Processes and files of one deployment.

    Marks in the environment are not enough to find them again: vLLM's engine core overwrites its
    environment when it sets its title. So the supervisor writes down whom it has seen.

    Attributes:
        deployment: Unique among all deployments.
        identity: Whose it is.
        supervisor: The process that watches the engine; it ends last.
        engine: The server's own process, leader of its session.
        processes: Everyone seen so far that may still run, the engine included.
        shm_before: Shared memory files that were there before the start.
        shm_seen: Those that its processes were seen to use.
    """

    deployment: str
    identity: Identity
    supervisor: ProcessId
    engine: ProcessId | None = None
    processes: frozenset[ProcessId] = frozenset()
    shm_before: frozenset[ShmFile] = field(default_factory=frozenset)
    shm_seen: frozenset[ShmFile] = field(default_factory=frozenset)

    def members(self, stats: Mapping[int, Stat] | None = None) -> set[ProcessId]:
        """Everyone of the deployment that runs now, the supervisor left out.

        These are the processes seen before, the engine's session, the supervisor's children, and
        all their descendants. The supervisor is a subreaper: a daemon that leaves its session and
        loses its parent becomes the supervisor's child, so none escapes while it lives.
        """
        stats = all_stats() if stats is None else stats
        known = {p.pid for p in self.processes if _runs(p, stats)}
        if self.engine is not None and any(
            stats[pid].session == self.engine.pid for pid in known
        ):  # the number is the session's as long as one member of it lives
            known |= {s.pid for s in stats.values() if s.session == self.engine.pid}
        roots = known | ({self.supervisor.pid} if _runs(self.supervisor, stats) else set())
        found = (known | descendants(roots, stats)) - {self.supervisor.pid}
        return {stats[pid].process for pid in found if stats[pid].is_running}

    def save(self, folder: Path) -> None:
        """Write it down, atomically; on a full disk the last note stays."""
        path = self.path(folder)
        partial = path.with_suffix(".part")
        try:
            partial.write_text(json.dumps(asdict(self), default=_plain), encoding="utf-8")
            partial.replace(path)
        except OSError:
            with suppress(OSError):
                partial.unlink()

    def path(self, folder: Path) -> Path:
        """Where it is written down."""
        return folder / f"{self.deployment}.json"

    @property
    def supervisor_runs(self) -> bool:
        """Whether somebody still watches."""
        return is_running(self.supervisor)


def footprints(folder: Path) -> Iterator[Footprint]:
    """Every footprint of this user; what cannot be read is none."""
    for path in sorted(folder.glob("*.json")):
        with suppress(OSError, ValueError, TypeError, KeyError):
            yield _loaded(json.loads(path.read_text(encoding="utf-8")))


def private_folder() -> Path:
    """This user's folder for footprints.

    On disk and not in shared memory, for an engine may fill that.

    Raises:
        DeployerError: If there is no place for it.
    """
    try:
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        folder = Path(state) / "autotune" / "deployments"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except (OSError, RuntimeError) as error:  # RuntimeError: a user without a home
        message = f"there is no place for notes about deployments: {error}"
        raise DeployerError(message, hint="XDG_STATE_HOME names another place.") from error
    return folder


def _runs(process: ProcessId, stats: Mapping[int, Stat]) -> bool:
    found = stats.get(process.pid)
    return found is not None and found.is_running and found.process == process


def _plain(value: object) -> list[Any]:
    """JSON has no sets; `asdict` leaves the dataclasses inside them as they are."""
    if isinstance(value, frozenset):
        return [asdict(item) for item in sorted(value)]
    raise TypeError(type(value))


def _loaded(raw: dict[str, Any]) -> Footprint:
    return Footprint(
        deployment=str(raw["deployment"]),
        identity=Identity(**raw["identity"]),
        supervisor=ProcessId(**raw["supervisor"]),
        engine=None if raw["engine"] is None else ProcessId(**raw["engine"]),
        processes=frozenset(ProcessId(**p) for p in raw["processes"]),
        shm_before=frozenset(ShmFile(**f) for f in raw["shm_before"]),
        shm_seen=frozenset(ShmFile(**f) for f in raw["shm_seen"]),
    )
