"""What of a study is still on this machine, found without the program's own notes."""

import os
from pathlib import Path

import docker
import psutil

SHM = Path("/dev/shm")  # noqa: S108 - shared memory is meant


def processes(study: str) -> list[str]:
    """Processes that carry the mark of a study, or whose command line names its folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("AUTOTUNE_STUDY") == study:
                found.append(f"process {process.pid} {' '.join(process.cmdline())[:80]}")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def supervisors(folder: Path) -> list[str]:
    """Supervisors that write a log under a folder; other studies on this machine have theirs."""
    found = []
    for process in psutil.process_iter():
        try:
            if "autotune.deployers.supervisor" in process.cmdline() and any(
                Path(file.path).is_relative_to(folder) for file in process.open_files()
            ):
                found.append(f"supervisor {process.pid}")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def containers(study: str | None = None) -> list[str]:
    """Containers of a study; of any that carry a label of autotune's for None."""
    client = docker.from_env()
    try:
        every = client.containers.list(all=True, ignore_removed=True)
        return [
            f"container {c.name}"
            for c in every
            if c.labels.get("autotune.study") == study
            or (study is None and any(key.startswith("autotune.") for key in c.labels))
        ]
    finally:
        client.close()


def shm() -> set[str]:
    """Files in the host's shared memory."""
    return {path.name for path in SHM.iterdir()}
