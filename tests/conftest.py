"""What every test gets: a clean environment, a folder of its own, and loud skips.

Tests marked `vllm`, `docker` or `gpu` need something real. Without it they are skipped with the
reason, and the summary ends with a table of what was and was not tested for real.
"""

import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any, Final

import hypothesis
import pytest

from tests.support import machine
from tests.support.side_by_side import OneMachine

hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")

NEEDS: Final = {
    "vllm": machine.no_vllm,
    "docker": machine.no_docker,
    "gpu": machine.no_gpu,
    "figures": machine.no_figures,
}
"""Marker to the function that says why its tests cannot run here; None if they can."""

SECRETS: Final = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No token of the user's, and an empty current directory: results go under it."""
    for name in SECRETS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneMachine:
    """Of `pytest -n`."""
    return OneMachine(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot carry, each with its reason."""
    wanted = {name for item in items for name in NEEDS if item.get_closest_marker(name)}
    lacking = {name: reason for name in sorted(wanted) if (reason := NEEDS[name]()) is not None}
    for item in items:
        marked = [name for name in NEEDS if item.get_closest_marker(name)]
        item.user_properties += [("needs", name) for name in marked]
        if (missing := next((name for name in marked if name in lacking), None)) is not None:
            item.add_marker(pytest.mark.skip(reason=lacking[missing]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much ran on something real."""
    stats = terminalreporter.stats
    ran = Counter(
        name
        for outcome in ("passed", "failed")
        for report in stats.get(outcome, [])
        if report.when == "call"
        for key, name in report.user_properties
        if key == "needs"
    )
    skipped = Counter(
        (name, report.longrepr[2].removeprefix("Skipped: "))
        for report in stats.get("skipped", [])
        for key, name in report.user_properties
        if key == "needs"
    )
    if not ran and not skipped:
        return
    terminalreporter.section("on something real")
    for name in NEEDS:
        if ran[name]:
            terminalreporter.line(f"{name}: {ran[name]} ran", green=True)
    for (name, reason), count in sorted(skipped.items()):
        terminalreporter.line(f"{name}: {count} NOT RUN: {reason}", yellow=True, bold=True)


def pytest_configure() -> None:
    """Ctrl-C means Ctrl-C, here and in every process that a test starts.

    A shell that puts the test run into the background makes it ignore SIGINT, and whoever is
    started by it as well; then a test that sends one would wait for ever.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
