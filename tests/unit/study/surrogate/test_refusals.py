"""Which settings are blamed for refusals."""

import pytest

from autotune.records import Configuration
from autotune.study.surrogate.refusals import RefusalModel

NAMES = ("backend", "dtype", "block", "sync")


def of(**values: str | int) -> Configuration:
    """A configuration."""
    return Configuration.of(values)


def chance(model: RefusalModel, configuration: Configuration) -> float:
    """Probability of a refusal of one configuration."""
    return float(model.refused([configuration])[0])


def test_nothing_is_suspected_at_first() -> None:
    """Without a refusal every configuration is free."""
    model = RefusalModel(NAMES)
    model.fit([of(backend="A")], [])
    assert chance(model, of(backend="B", dtype="fp8")) == 0.0


def test_the_refused_configuration_itself_is_sure() -> None:
    """What was refused once contains its cause, whatever it is."""
    model = RefusalModel(NAMES)
    model.fit([], [of(backend="A", dtype="fp8")])
    assert chance(model, of(backend="A", dtype="fp8")) > 0.5


def test_what_has_started_is_cleared() -> None:
    """A backend and a dtype that both started apart leave only their pair under suspicion."""
    model = RefusalModel(NAMES)
    started = [
        of(backend="A"),
        of(dtype="fp8"),
        of(backend="A", block=16),
        of(dtype="fp8", block=16),
    ]
    model.fit(started, [of(backend="A", dtype="fp8", block=16)])
    assert chance(model, of(backend="A", dtype="fp8")) == pytest.approx(1.0)
    assert chance(model, of(backend="A", block=16, sync=1)) == 0.0


def test_an_unlucky_value_is_tried_again() -> None:
    """Refused three times with others that may be the cause, a value keeps a fair chance."""
    model = RefusalModel(NAMES)
    refused = [
        of(dtype="fp8", backend="T", block=32),
        of(dtype="fp8", block=32, sync=1),
        of(dtype="fp8", backend="T", sync=1),
    ]
    model.fit([of(), of(sync=1)], refused)
    assert 0.2 < chance(model, of(dtype="fp8")) < 0.9


def test_more_refusals_raise_the_suspicion() -> None:
    """Each further refusal with a value in it makes that value more suspect."""
    first, second = of(backend="A", dtype="x"), of(backend="A", dtype="y")
    model = RefusalModel(NAMES)
    model.fit([of()], [first])
    once = chance(model, of(backend="A", dtype="z"))
    model.fit([of()], [first, second])
    assert chance(model, of(backend="A", dtype="z")) > once
