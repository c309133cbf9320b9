"""What the kernel's OOM killer did."""

from pathlib import Path

from autotune.deployers.kernel import oom_detail, oom_kills


def test_kills_are_counted_since_a_look(tmp_path: Path) -> None:
    """Only kills after the first look are told."""
    vmstat = tmp_path / "vmstat"
    vmstat.write_text("nr_free_pages 5\noom_kill 3\noom_kill_x 9\n")
    assert oom_kills(vmstat) == 3
    assert oom_detail(3, vmstat) == ""
    assert (
        oom_detail(1, vmstat)
        == "the kernel's OOM killer ended 2 process(es) of this host meanwhile"
    )


def test_a_kernel_that_does_not_count(tmp_path: Path) -> None:
    """Unknown is not zero."""
    vmstat = tmp_path / "vmstat"
    assert oom_kills(vmstat) is None
    vmstat.write_text("nr_free_pages 5\n")
    assert oom_kills(vmstat) is None
    assert oom_detail(None, vmstat) == ""
    assert oom_detail(2, vmstat) == ""


def test_this_kernel() -> None:
    """Linux since 4.13 counts."""
    assert isinstance(oom_kills(), int)
