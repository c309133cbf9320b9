"""Any search space: what is written reads back, and no inactive parameter gets out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.records import Configuration, Scalar
from autotune.spec.forbidden import Forbidden
from autotune.spec.parameters import DEFAULT, Choice, Condition, Parameter, Range
from autotune.spec.space import AtLeast, SearchSpace, space_from, space_to_raw

NAMES = ("a", "b", "c", "d", "e")

words = st.sampled_from(["auto", "fp8", "FLASHINFER", "x y", "ü", "1", "true", "null", "~"])
scalars = st.one_of(
    words,
    st.just(DEFAULT),
    st.integers(-5, 2**40),
    st.booleans(),
    st.floats(-1e6, 1e6, allow_nan=False).filter(lambda v: not v.is_integer()),
)


@st.composite
def ranges(draw: st.DrawFn, name: str) -> Range:
    """A range as a file could declare it."""
    integer, log = draw(st.booleans()), draw(st.booleans())
    if integer:
        low = draw(st.integers(1 if log else -100, 1000))
        high = low + draw(st.integers(0, 100_000))
        step = None if log else draw(st.none() | st.integers(11, 100))
    else:
        low = draw(st.floats(1e-9 if log else -1e6, 1e6, allow_nan=False))
        high = low + draw(st.floats(0, 1e6, allow_nan=False))
        step = None if log or low == high else draw(
            st.none() | st.floats((high - low) / 9000, high - low, exclude_min=True)
            .filter(lambda s: s > 0))  # fmt: skip
    return Range(
        name=name,
        low=float(low),
        high=float(high),
        integer=integer,
        step=None if step is None else float(step),
        log=log,
    )


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    """A space with conditions on earlier parameters, in any order of declaration."""
    made: list[Parameter] = []
    for name in NAMES[: draw(st.integers(1, len(NAMES)))]:
        parameter: Parameter
        if draw(st.booleans()):
            parameter = draw(ranges(name))
        else:
            # Choices equal to each other in Python's eyes (1 and True) are refused in files.
            choices = draw(st.lists(scalars, min_size=1, max_size=4, unique=True))
            parameter = Choice(name=name, choices=tuple(choices))
        looked_at = draw(st.lists(st.sampled_from(made), max_size=2, unique=True)) if made else []
        when = tuple(draw(conditions(p)) for p in looked_at)
        made.append(
            Choice(name=name, choices=parameter.choices, when=when)
            if isinstance(parameter, Choice)
            else Range(**{**vars(parameter), "when": when})
        )
    groups = st.lists(st.sampled_from(made), min_size=1, max_size=2, unique=True)
    pairs = st.tuples(st.sampled_from(made), st.sampled_from(made))
    return SearchSpace(
        name="space",
        parameters=tuple(draw(st.permutations(made))),
        relations=tuple(
            AtLeast(larger=x.name, smaller=y.name) for x, y in draw(st.lists(pairs, max_size=2))
        ),
        forbidden=tuple(
            Forbidden(
                conditions=tuple(draw(conditions(p)) for p in pattern),
                reason=draw(st.sampled_from(["", "it goes wrong"])),
            )
            for pattern in draw(st.lists(groups, max_size=2))
        ),
    )


@st.composite
def conditions(draw: st.DrawFn, parameter: Parameter) -> Condition:
    """A condition on values that the parameter can have, the engine's default among them."""
    values = st.sampled_from([*parameter.grid()[:20], DEFAULT])
    chosen = draw(st.lists(values, min_size=1, max_size=3))
    return Condition(parameter=parameter.name, values=tuple(chosen))


@st.composite
def spaces_with_values(draw: st.DrawFn) -> tuple[SearchSpace, dict[str, Scalar]]:
    """A space and a value for some of its parameters, active or not."""
    space = draw(spaces())
    names = draw(st.sets(st.sampled_from([p.name for p in space.parameters])))
    raw = {p.name: draw(st.sampled_from(p.grid())) for p in space.parameters if p.name in names}
    return space, raw


@given(spaces())
def test_a_space_reads_back_from_its_file_form(space: SearchSpace) -> None:
    """`space_from(space_to_raw(x)) == x`, conditions, relations and types included."""
    assert space_from(space_to_raw(space), where="space") == space


@given(spaces())
def test_values_of_a_grid_lie_in_their_parameter(space: SearchSpace) -> None:
    """Each is contained, none is there twice, and numbers ascend from the low end."""
    for parameter in space.parameters:
        grid = parameter.grid()
        assert grid
        assert all(parameter.contains(value) for value in grid)
        assert len(set(grid)) == len(grid)
        if isinstance(parameter, Range):
            assert list(grid) == sorted(grid)
            assert grid[0] == pytest.approx(parameter.low, rel=1e-11, abs=0)


@given(spaces_with_values())
def test_nothing_inactive_and_no_default_gets_out(
    drawn: tuple[SearchSpace, dict[str, Scalar]],
) -> None:
    """Every value of a configuration was given, is no `default`, and its conditions hold."""
    space, raw = drawn
    values = space.active(raw).values
    for name, value in values.items():
        parameter = space.parameter(name)
        assert parameter is not None
        assert raw[name] == value != DEFAULT
        assert all(condition.holds(values) for condition in parameter.when)


@given(spaces_with_values())
def test_everything_active_gets_out(drawn: tuple[SearchSpace, dict[str, Scalar]]) -> None:
    """What was given and is missing was `default` or has a condition that fails."""
    space, raw = drawn
    values = space.active(raw).values
    for name in raw.keys() - values.keys():
        parameter = space.parameter(name)
        assert parameter is not None
        assert raw[name] == DEFAULT or not all(c.holds(values) for c in parameter.when)


@given(spaces_with_values())
def test_asking_again_changes_nothing(drawn: tuple[SearchSpace, dict[str, Scalar]]) -> None:
    """A configuration's own values mean that configuration."""
    space, raw = drawn
    once = space.active(raw)
    assert space.active(once.values) == once


@given(spaces_with_values(), st.data())
def test_a_space_without_a_parameter_knows_nothing_of_it(
    drawn: tuple[SearchSpace, dict[str, Scalar]], data: st.DataObject
) -> None:
    """It is valid, and means of the other values what they meant with that one left alone."""
    space, raw = drawn
    name = data.draw(st.sampled_from([p.name for p in space.parameters]))
    smaller = space.without(name)
    left = {key: value for key, value in raw.items() if key != name}
    if smaller.parameters:
        assert space_from(space_to_raw(smaller), where="space") == smaller
    assert smaller.active(left) == space.active(left)
    assert name not in smaller.active(raw).values


@given(spaces_with_values(), st.data())
def test_a_narrower_parameter_leaves_a_valid_space(
    drawn: tuple[SearchSpace, dict[str, Scalar]], data: st.DataObject
) -> None:
    """Whatever values an engine lacks, and what is left means the same."""
    space, raw = drawn
    choices = [p for p in space.parameters if isinstance(p, Choice) and len(p.choices) > 1]
    if not choices:
        return
    parameter = data.draw(st.sampled_from(choices))
    kept = data.draw(
        st.lists(st.sampled_from(parameter.choices), min_size=1, unique=True).map(tuple)
    )
    narrow = space.with_parameter(Choice(name=parameter.name, choices=kept, when=parameter.when))
    assert space_from(space_to_raw(narrow), where="space") == narrow
    if raw.get(parameter.name, DEFAULT) in (*kept, DEFAULT):
        assert narrow.active(raw) == space.active(raw)
        configuration = space.active(raw)
        assert (narrow.refusal(configuration) is None) == (space.refusal(configuration) is None)


@given(spaces(), st.dictionaries(st.sampled_from(NAMES), scalars))
def test_a_refusal_is_a_reason_or_nothing(space: SearchSpace, values: dict[str, Scalar]) -> None:
    """Any configuration can be asked about, and a reason names a parameter."""
    reason = space.refusal(Configuration.of(values))
    assert reason is None or any(f"{p.name}=" in reason for p in space.parameters)
