"""How tests are shared out where several run at once (`pytest -n`)."""

from typing import Final

from xdist.scheduler import LoadScopeScheduling

ON_THE_MACHINE: Final = ("tests/contract/", "tests/integration/", "tests/e2e/")
"""Folders of tests that start processes and look at what is left of them on the machine."""


class OneMachine(LoadScopeScheduling):  # type: ignore[misc] # untyped
    """What starts processes runs one after the other; of the rest each file goes to a free worker.

    xdist's own groups need an attribute that pytest 9 has no longer.
    """

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(ON_THE_MACHINE):
            return "on the machine"
        return nodeid.split("::", 1)[0]
