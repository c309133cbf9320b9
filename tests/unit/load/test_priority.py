"""Real-time priority while a load runs."""

import os

from autotune.load.priority import realtime


def test_the_priority_lasts_as_long_as_the_load() -> None:
    """What a process does between loads must not keep others from a core."""
    calls: list[tuple[int, int]] = []

    with realtime(lambda policy, priority: calls.append((policy, priority))) as has_it:
        assert has_it
        assert calls == [(os.SCHED_RR, 1)]

    assert calls == [(os.SCHED_RR, 1), (os.SCHED_OTHER, 0)]


def test_who_may_not_have_it_runs_as_before() -> None:
    """An ordinary user's load is sent all the same."""

    def refused(policy: int, priority: int) -> None:
        raise PermissionError(policy, priority)

    with realtime(refused) as has_it:
        assert not has_it
