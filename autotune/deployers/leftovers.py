"""Processes and shared memory of runs that are dead."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from autotune.clock import Clock
from autotune.deployers import shared_memory
from autotune.deployers.footprint import Footprint, footprints, private_folder
from autotune.deployers.marks import (
    OwnerState,
    deployment_of,
    identity_of,
    is_of_an_earlier_boot,
    owner_state,
)
from autotune.deployers.processes import ProcessId, all_stats, end_all, environment, is_running
from autotune.seams.deployment import Identity
from autotune.units import ns_from_s

GRACE_S: Final = 2.0
SUPERVISOR_S: Final = 20.0
"""A supervisor whose controller died ends its engine by itself: 5 s of grace, then by force."""


async def sweep(study: str, clock: Clock) -> tuple[str, ...]:
    """End what dead runs of a study left on this machine.

    Two ways to find it: the footprints that supervisors wrote, and the marks in the environment
    of processes. What belongs to a run that is alive, or of which nobody here can tell, stays.

    Returns:
        One line for each thing that was ended or removed.
    """
    done: list[str] = []
    for footprint in footprints(private_folder()):
        if is_of_an_earlier_boot(footprint.identity):
            footprint.path(private_folder()).unlink(missing_ok=True)
        elif _is_dead(footprint.identity, study):
            done += await _sweep_footprint(footprint, clock)
    marked = _marked_by_the_dead(study)
    if marked:
        await end_all(lambda: {p for p in marked if is_running(p)}, clock=clock, grace_s=GRACE_S)
        done += [f"study {study}: process {process.pid} ended" for process in sorted(marked)]
    return tuple(done)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What became of a leftover: processes ended, processes left, shared memory removed."""

    ended: tuple[int, ...]
    left: tuple[int, ...]
    swept: tuple[str, ...]


async def end_leftover(footprint: Footprint, clock: Clock) -> Ended:
    """End the processes of a footprint whose supervisor is dead, and remove its files."""

    def everybody() -> set[ProcessId]:
        """A supervisor may have died before it had written down whom it started."""
        return footprint.members() | _marked(
            lambda found: deployment_of(found) == footprint.deployment
        )

    members = everybody()
    seen = footprint.shm_seen | shared_memory.used_files(process.pid for process in members)
    left = await end_all(everybody, clock=clock, grace_s=GRACE_S)
    swept = shared_memory.sweep(footprint.shm_before, seen)
    if not left:
        footprint.path(private_folder()).unlink(missing_ok=True)
    return Ended(
        ended=tuple(sorted(process.pid for process in members - left)),
        left=tuple(sorted(process.pid for process in left)),
        swept=swept,
    )


async def _sweep_footprint(footprint: Footprint, clock: Clock) -> list[str]:
    trial = f"trial {footprint.identity.trial} of study {footprint.identity.study}"
    deadline_ns = clock.now_ns() + ns_from_s(SUPERVISOR_S)
    while footprint.supervisor_runs and clock.now_ns() < deadline_ns:
        await clock.sleep(0.1)  # it is ending its engine
    supervisor = footprint.supervisor
    await end_all(
        lambda: {supervisor} if is_running(supervisor) else set(), clock=clock, grace_s=0.0
    )
    if not footprint.path(private_folder()).exists():
        return [f"{trial}: its supervisor had ended it"]
    ended = await end_leftover(footprint, clock)
    return [
        *(f"{trial}: process {pid} ended" for pid in ended.ended),
        *(f"{trial}: process {pid} could not be ended" for pid in ended.left),
        *(f"{trial}: shared memory {name} removed" for name in ended.swept),
    ]


def _marked_by_the_dead(study: str) -> set[ProcessId]:
    """Processes that carry the marks of a dead run of this study."""

    def is_its(found: Mapping[str, str]) -> bool:
        identity = identity_of(found)
        return identity is not None and _is_dead(identity, study)

    return _marked(is_its)


def _marked(is_wanted: Callable[[Mapping[str, str]], bool]) -> set[ProcessId]:
    """Processes, this one left out, whose environment is wanted."""
    return {
        stat.process
        for stat in all_stats().values()
        if stat.is_running and stat.pid != os.getpid() and is_wanted(environment(stat.pid))
    }


def _is_dead(identity: Identity, study: str) -> bool:
    return identity.study == study and owner_state(identity) is OwnerState.DEAD
