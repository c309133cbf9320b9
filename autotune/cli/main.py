"""The command `autotune`: Ctrl-C first, then the rest of the program.

Nothing is imported here that Python has not loaded by itself: a Ctrl-C during an import is a
traceback, and `signal` alone imports half a dozen modules.
"""

import _signal  # type: ignore[import-not-found] # typeshed has only `signal`
import os
import sys

INTERRUPTED = 130
"""As `autotune.errors.EXIT_INTERRUPTED`, which is not loaded yet."""


def main(arguments: list[str] | None = None) -> None:
    """Run the program and exit; an error that is ours is one message, a hint and an exit code."""
    _signal.signal(_signal.SIGINT, lambda _number, _frame: os._exit(INTERRUPTED))
    from autotune.cli import interrupts  # noqa: PLC0415 - see above

    interrupts.leave_at_once()
    code = INTERRUPTED
    try:
        from autotune.cli import program  # noqa: PLC0415 - see above

        interrupts.end_cleanly()
        code = program.run(arguments)
    except KeyboardInterrupt:
        pass
    finally:
        interrupts.leave_at_once()
    sys.exit(code)


def run(arguments: list[str] | None = None) -> int:
    """Run a command within this process; its exit code, as `autotune.cli.program.run` has it."""
    from autotune.cli import program  # noqa: PLC0415 - see above

    return program.run(arguments)
