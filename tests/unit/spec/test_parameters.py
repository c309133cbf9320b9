"""Choices, ranges and conditions."""

import pytest

from autotune.records import Scalar
from autotune.spec.parameters import MOST_VALUES, Choice, Condition, Range


def test_a_choice_keeps_one_and_true_apart() -> None:
    """Python holds them equal, an engine does not."""
    assert Choice(name="p", choices=(1, 2)).contains(1)
    assert not Choice(name="p", choices=(1, 2)).contains(True)
    assert not Choice(name="p", choices=(True, False)).contains(1)
    assert not Choice(name="p", choices=("a",)).contains("b")


@pytest.mark.parametrize(
    ("parameter", "grid"),
    [
        (Range(name="p", low=0, high=80, integer=True, step=16), (0, 16, 32, 48, 64, 80)),
        (Range(name="p", low=1, high=4, integer=True), (1, 2, 3, 4)),
        (Range(name="p", low=16, high=128, integer=True, log=True), (16, 32, 64, 128)),
        (Range(name="p", low=3, high=50, integer=True, log=True), (3, 6, 12, 24, 48, 50)),
        (Range(name="p", low=0.8, high=0.92, integer=False, step=0.04), (0.8, 0.84, 0.88, 0.92)),
        (Range(name="p", low=0, high=10, integer=True, step=4), (0, 4, 8)),
        (Range(name="p", low=5, high=5, integer=True), (5,)),
        (Range(name="p", low=0.5, high=0.5, integer=False), (0.5,)),
    ],
)
def test_the_grid_of_a_range(parameter: Range, grid: tuple[Scalar, ...]) -> None:
    """Steps from the low end, powers of two on a logarithmic scale, no floating-point dust."""
    assert parameter.grid() == grid
    assert [type(v) for v in parameter.grid()] == [type(v) for v in grid]


def test_a_real_range_without_a_step_has_sixteen_values() -> None:
    """From end to end, linear or logarithmic."""
    linear = Range(name="p", low=0.0, high=1.5, integer=False).grid()
    log = Range(name="p", low=0.001, high=1000.0, integer=False, log=True).grid()
    assert (len(linear), linear[0], linear[1], linear[-1]) == (16, 0.0, 0.1, 1.5)
    assert (len(log), log[0], log[-1]) == (16, 0.001, 1000.0)
    assert float(log[1]) / float(log[0]) == pytest.approx(10 ** (6 / 15))


def test_a_wide_integer_range_keeps_a_bounded_grid() -> None:
    """A range over a billion is legal and does not fill the memory."""
    grid = Range(name="p", low=0, high=10**9, integer=True).grid()
    assert len(grid) == MOST_VALUES + 1
    assert (grid[0], grid[-1]) == (0, 10**9)


@pytest.mark.parametrize(
    ("value", "inside"),
    [(16, True), (512, True), (17, True), (15, False), (513, False), (16.5, False), (16.0, True),
     ("16", False), (True, False), (float("nan"), False), (float("inf"), False)],
)  # fmt: skip
def test_what_an_integer_range_contains(value: Scalar, inside: bool) -> None:
    """Both ends; on or off its steps; no text, no truth value, no fraction."""
    assert Range(name="p", low=16, high=512, integer=True).contains(value) is inside


@pytest.mark.parametrize(
    ("values", "holds"),
    [({"a": "x"}, True), ({"a": "z"}, False), ({}, True), ({"b": "x"}, True)],
)
def test_a_condition_takes_an_absent_parameter_as_default(
    values: dict[str, Scalar], holds: bool
) -> None:
    """`default` among its values means: also where the engine decides."""
    assert Condition(parameter="a", values=("x", "default")).holds(values) is holds


def test_a_condition_without_default_fails_where_the_parameter_is_absent() -> None:
    """The engine's own choice is unknown, so it is not taken for a match."""
    assert not Condition(parameter="a", values=("x",)).holds({})
