"""The supervisor as a program."""

import subprocess
import sys


def test_a_supervisor_without_an_order_goes() -> None:
    """If the controller is gone at once, nothing is started and nothing is said."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "autotune.deployers.supervisor"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert (done.stdout, done.stderr) == (b"", b"")


def test_it_brings_no_docker_client_along() -> None:
    """One is started with every trial: it imports nothing heavy."""
    program = (
        "import sys, autotune.deployers.supervisor; "
        "print([m for m in ('docker', 'requests', 'pydantic', 'psutil') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=60, check=True
    )
    assert done.stdout == b"[]\n"
