"""Who started what: the marks by which a later run finds what a dead one left, and only that."""

import os
import platform
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from autotune.deployers.processes import read_stat
from autotune.seams.deployment import Identity

_FIELDS: Final = ("study", "trial", "owner", "deployment")
ENVIRONMENT_PREFIX: Final = "AUTOTUNE_"
ERRANDS: Final = "preflight"
"""In place of a study's name: containers in which no trial runs, that only try or look."""
LABEL_PREFIX: Final = "autotune."
DEPLOYMENT_LABEL: Final = f"{LABEL_PREFIX}deployment"


class OwnerState(StrEnum):
    """Whether the autotune that started something still runs.

    UNKNOWN is another machine's or another PID namespace's, or a process of another user where
    /proc hides them: nobody here can tell.
    """

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


def owner(pid: int | None = None) -> tuple[int, str]:
    """Process id and start of an autotune, by default this one, for an `Identity`.

    The start names machine, boot, PID namespace and the process's start in clock ticks since
    boot (proc(5), stat field 22): no two processes share it, whatever becomes of the clock.
    """
    pid = os.getpid() if pid is None else pid
    stat = read_stat(pid)
    ticks = "none" if stat is None else str(stat.start_ticks)
    return pid, f"{_machine()}/{_boot()}/{_pid_namespace()}/{ticks}"


def errand() -> Identity:
    """The identity of what this process starts to try or to look, for no trial."""
    pid, start = owner()
    return Identity(study=ERRANDS, trial=0, owner_pid=pid, owner_start=start)


def named(identity: Identity) -> Identity:
    """An identity whose owner's start is one of `owner`'s, whatever its maker wrote there."""
    if identity.owner_start.count("/") == 3:
        return identity
    return replace(identity, owner_start=owner(identity.owner_pid)[1])


def owner_state(identity: Identity) -> OwnerState:
    """Find out whether the owner of something still runs."""
    parts = identity.owner_start.split("/")
    if len(parts) != 4 or parts[0] != _machine():
        return OwnerState.UNKNOWN
    if parts[1] != _boot():
        return OwnerState.DEAD
    if parts[2] != _pid_namespace():
        return OwnerState.UNKNOWN
    stat = read_stat(identity.owner_pid)
    if stat is None and _is_hidden(identity.owner_pid):
        return OwnerState.UNKNOWN
    is_it = stat is not None and stat.is_running and str(stat.start_ticks) == parts[3]
    return OwnerState.ALIVE if is_it else OwnerState.DEAD


def is_of_an_earlier_boot(identity: Identity) -> bool:
    """Whether this machine has been started anew since: nothing of it can run any more."""
    parts = identity.owner_start.split("/")
    return len(parts) == 4 and parts[0] == _machine() and parts[1] != _boot()


def environment_marks(identity: Identity, deployment: str) -> dict[str, str]:
    """Environment variables for every process of a deployment."""
    return {f"{ENVIRONMENT_PREFIX}{k.upper()}": v for k, v in _values(identity, deployment).items()}


def labels(identity: Identity, deployment: str) -> dict[str, str]:
    """Labels for a container."""
    return {f"{LABEL_PREFIX}{key}": value for key, value in _values(identity, deployment).items()}


def identity_of(found: Mapping[str, str]) -> Identity | None:
    """Read marks or labels back; None unless all are there."""
    for prefix, case in ((ENVIRONMENT_PREFIX, str.upper), (LABEL_PREFIX, str.lower)):
        values = [found.get(prefix + case(name)) for name in _FIELDS]
        study, trial, owner_mark, deployment = values
        if study is None or trial is None or owner_mark is None or deployment is None:
            continue
        pid, _, start = owner_mark.partition(":")
        if trial.isdecimal() and pid.isdecimal():
            return Identity(study=study, trial=int(trial), owner_pid=int(pid), owner_start=start)
    return None


def deployment_of(found: Mapping[str, str]) -> str | None:
    """Which deployment a process says it belongs to."""
    return found.get(f"{ENVIRONMENT_PREFIX}DEPLOYMENT")


def _is_hidden(pid: int) -> bool:
    """Whether a process is there although /proc shows none: mounted with hidepid (proc(5))."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _values(identity: Identity, deployment: str) -> dict[str, str]:
    owner_mark = f"{identity.owner_pid}:{identity.owner_start}"
    values = (identity.study, str(identity.trial), owner_mark, deployment)
    return dict(zip(_FIELDS, values, strict=True))


def _machine() -> str:
    return _line("/etc/machine-id") or platform.node() or "unnamed"


def _boot() -> str:
    return _line("/proc/sys/kernel/random/boot_id") or "unknown"


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return "unknown"


def _line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").strip().replace("/", "-")
    except OSError:
        return ""
