"""Random weights are known by the study's arguments."""

import pytest

from autotune.trial.random_weights import weights_are_random


@pytest.mark.parametrize(
    ("arguments", "random"),
    [
        (["--load-format", "dummy"], True),
        (["--load-format=dummy"], True),
        (["--load_format=dummy", "--seed", "1"], True),
        (["--seed", "1", "--load_format", "dummy"], True),
        (["--load-format=dummy", "--load-format", "auto"], False),
        (["--load-format", "auto"], False),
        (["--served-model-name", "dummy"], False),
        (["--load-format"], False),
        ([], False),
    ],
)
def test_the_last_load_format_tells(arguments: list[str], random: bool) -> None:
    """In one word or two, with dashes or underscores; another flag's `dummy` is none."""
    assert weights_are_random(arguments) is random
