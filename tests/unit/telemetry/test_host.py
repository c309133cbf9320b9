"""The host's memory and processors."""

from pathlib import Path

import psutil
import pytest

from autotune.clock import MonotonicClock
from autotune.telemetry.hardware import detect_hardware, is_wsl, shm_size_bytes
from autotune.telemetry.host import HostSource, full_pressure_ratio

CLOCK = MonotonicClock()

# Documentation/accounting/psi.rst of the kernel
PRESSURE = """\
some avg10=2.04 avg60=0.75 avg300=0.40 total=157656722
full avg10=1.25 avg60=0.13 avg300=0.12 total=1234567
"""


def test_the_pressure_is_that_of_full_stalls() -> None:
    """Percent of the last 10 s in which nothing could work becomes a ratio."""
    assert full_pressure_ratio(PRESSURE) == pytest.approx(0.0125)


@pytest.mark.parametrize(
    "text", ["", "some avg10=2.04 avg60=0.75 avg300=0.40 total=1", "full avg60=1", "full avg10=x"]
)
def test_a_kernel_without_pressure(text: str) -> None:
    """A kernel that does not tell gives None."""
    assert full_pressure_ratio(text) is None


def test_used_is_what_free_calls_used() -> None:
    """Used is total less available, within what changes between two looks."""
    values = CLOCK.run(HostSource().read())
    memory = psutil.virtual_memory()
    used, total = values["host_memory_used_bytes"], values["host_memory_total_bytes"]
    assert total == memory.total
    assert used == pytest.approx(memory.total - memory.available, abs=0.2 * memory.total)


def test_processor_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The share is busy time over all time between two looks; waiting for a disk is idle."""
    kinds = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest",
             "guest_nice")  # fmt: skip
    base = psutil.cpu_times()
    assert set(kinds) <= set(base._fields)

    def times(**changes: float) -> object:
        return type(base)(**{**dict.fromkeys(base._fields, 100.0), **changes})

    looks = iter([
        times(),
        times(user=130.0, idle=160.0, iowait=110.0, guest=110.0),
        times(user=130.0, idle=160.0, iowait=110.0, guest=110.0),
    ])  # fmt: skip
    monkeypatch.setattr(psutil, "cpu_times", lambda: next(looks))
    source = HostSource()
    # 30 s busy of 30 + 60 + 10: guest time is part of user time (proc(5))
    assert CLOCK.run(source.read())["host_cpu_ratio"] == pytest.approx(0.3)
    assert CLOCK.run(source.read())["host_cpu_ratio"] is None


def test_shared_memory(tmp_path: Path) -> None:
    """A file system that is not there is 0 bytes of hardware and None of use."""
    assert shm_size_bytes(tmp_path / "none") == 0
    assert CLOCK.run(HostSource(shm=tmp_path / "none").read())["shm_used_bytes"] is None


def test_this_machine() -> None:
    """The hardware found is that which the system tells."""
    hardware = detect_hardware()
    assert hardware.host_memory_bytes == psutil.virtual_memory().total
    assert 1 <= hardware.cpu_count <= (psutil.cpu_count() or 1)
    assert hardware.platform.startswith("Linux")


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("5.15.167.4-microsoft-standard-WSL2", True),
        ("4.4.0-19041-Microsoft", True),
        ("6.8.0-45-generic", False),
    ],
)
def test_windows_subsystem(release: str, expected: bool) -> None:
    """Kernels of both generations of WSL are known by their release."""
    assert is_wsl(release) is expected
