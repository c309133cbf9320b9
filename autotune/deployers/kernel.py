"""What the kernel did to processes of this host."""

from contextlib import suppress
from pathlib import Path
from typing import Final

VMSTAT: Final = Path("/proc/vmstat")


def oom_kills(vmstat: Path = VMSTAT) -> int | None:
    """Processes that the kernel's OOM killer has ended since boot (Linux 4.13).

    Those of containers over their limit are among them. None where the kernel does not say.
    """
    with suppress(OSError, ValueError):
        for line in vmstat.read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return None


def oom_detail(before: int | None, vmstat: Path = VMSTAT) -> str:
    """What the OOM killer did since `before`, in one line; empty if nothing is known of it."""
    now = oom_kills(vmstat)
    if before is None or now is None or now <= before:
        return ""
    return f"the kernel's OOM killer ended {now - before} process(es) of this host meanwhile"
