"""Signals that end a program end it cleanly."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from autotune.cli.interrupts import ENDING, end_cleanly, leave_at_once, nothing_to_clean_up
from autotune.clock import MonotonicClock

OTHERS = (signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Those of the test run come back afterwards."""
    kept = {number: signal.getsignal(number) for number in ENDING}
    for number in OTHERS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Codes with which the process would have ended at once."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    return codes


@pytest.mark.parametrize("number", OTHERS)
@pytest.mark.parametrize("before", [signal.default_int_handler, signal.SIG_IGN])
def test_it_is_cleaned_up_as_after_ctrl_c(number: signal.Signals, before: signal.Handlers) -> None:
    """The running coroutine is cancelled and may clean up; a background shell changes nothing."""
    signal.signal(signal.SIGINT, before)
    end_cleanly()
    cleaned: list[str] = []

    async def work() -> None:
        signal.raise_signal(number)
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.append("up")

    with pytest.raises(KeyboardInterrupt):
        MonotonicClock().run(work())
    assert cleaned == ["up"]


@pytest.mark.parametrize("prepare", [end_cleanly, leave_at_once])
def test_what_nohup_ignores_stays_ignored(prepare: object) -> None:
    """A closed terminal does not end a study that was started to survive it."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert callable(prepare)
    prepare()
    signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.parametrize("number", ENDING)
def test_before_anything_runs_the_process_ends_at_once_with_130(
    number: signal.Signals, exits: list[int]
) -> None:
    """An import that an exception breaks off would print a traceback, or lose it."""
    leave_at_once()
    signal.raise_signal(number)
    assert exits == [130]


def test_loading_a_command_is_no_time_for_exceptions(exits: list[int]) -> None:
    """Afterwards Ctrl-C is what it was."""
    with nothing_to_clean_up():
        signal.raise_signal(signal.SIGINT)
    assert exits == [130]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
