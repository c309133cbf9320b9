"""Real-time priority for a client process while it runs a load, where the system allows it.

A chunk that arrives while the server's own process has the core waits until that process pauses,
and its stamp is late by so much: on two cores 1 to 3 ms, which is the client's error and not the
server's time. A process of real-time priority runs at once. It takes little, 18 us per chunk, and
Linux keeps 5% of each second from real-time processes (`kernel.sched_rt_runtime_us`), so that even
one that never pauses stops nobody.

It takes root, CAP_SYS_NICE or a limit `rtprio` of 1 (sched(7)); without, the load runs at the
priority it has.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

_LEAST: Final = 1  # of 1 to 99: before every ordinary process, behind all other real-time ones

Schedule = Callable[[int, int], None]
"""Sets this process's policy and static priority; raises OSError where that is refused."""


def schedule(policy: int, priority: int) -> None:
    """Set this process's scheduling policy by the system call.

    Raises:
        OSError: If the system refuses, or has no such call.
    """
    if not hasattr(os, "sched_setscheduler"):  # macOS
        raise OSError
    os.sched_setscheduler(0, policy, os.sched_param(priority))


@contextmanager
def realtime(set_to: Schedule = schedule) -> Iterator[bool]:
    """Within the block this process has real-time priority, if it may; gives whether it has."""
    try:
        set_to(getattr(os, "SCHED_RR", 0), _LEAST)
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        with suppress(OSError):
            set_to(getattr(os, "SCHED_OTHER", 0), 0)
