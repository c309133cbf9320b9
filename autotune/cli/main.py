"""The command `autotune`: signals first, then the rest of the program."""

import sys
from collections.abc import Sequence

from autotune.cli.interrupts import end_cleanly, leave_at_once
from autotune.errors import EXIT_INTERRUPTED


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and exit; an error that is ours is one message, a hint and an exit code."""
    leave_at_once()
    code = EXIT_INTERRUPTED
    try:
        from autotune.cli import program  # noqa: PLC0415 - Ctrl-C must be quiet from the start

        end_cleanly()
        code = program.run(arguments)
    except KeyboardInterrupt:
        pass
    finally:
        leave_at_once()
    sys.exit(code)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command within this process; its exit code, as `autotune.cli.program.run` has it."""
    from autotune.cli import program  # noqa: PLC0415 - as above

    return program.run(arguments)
