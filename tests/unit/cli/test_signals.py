"""Signals that end a program end it cleanly."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from autotune.cli.main import end_cleanly_on_signals
from autotune.clock import MonotonicClock

ENDING = (signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Those of the test run come back afterwards."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, *ENDING)}
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize("before", [signal.default_int_handler, signal.SIG_IGN])
def test_it_is_cleaned_up_as_after_ctrl_c(number: signal.Signals, before: signal.Handlers) -> None:
    """The running coroutine is cancelled and may clean up; a background shell changes nothing."""
    signal.signal(signal.SIGINT, before)
    end_cleanly_on_signals()
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


def test_what_nohup_ignores_stays_ignored() -> None:
    """A closed terminal does not end a study that was started to survive it."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end_cleanly_on_signals()
    signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
