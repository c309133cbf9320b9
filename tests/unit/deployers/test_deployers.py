"""The deployers by name."""

import pytest

from autotune.clock import MonotonicClock
from autotune.deployers import DEPLOYERS


@pytest.mark.parametrize("name", DEPLOYERS)
def test_a_deployer_has_the_name_it_is_found_by(name: str) -> None:
    """The name in a study file is the deployer's own; making one touches nothing."""
    assert DEPLOYERS[name](MonotonicClock()).name == name


def test_both_are_there() -> None:
    """Servers run as processes or as containers."""
    assert set(DEPLOYERS) == {"docker", "process"}
