"""Mappings that share their names."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.store.compact import compact

FIGURES = {"ttft_ns": 12, "tokens_per_s": 31.5, "refused": None}


@given(st.dictionaries(st.text(), st.none() | st.integers() | st.floats(allow_nan=False)))
def test_it_equals_the_dictionary_that_it_was_made_of(values: dict[str, float | None]) -> None:
    """Values, their types and their order, whichever side is asked."""
    small = compact(values)
    assert small == values
    assert values == small
    assert list(small.items()) == list(values.items())
    assert [type(v) for v in small.values()] == [type(v) for v in values.values()]


def test_a_name_that_is_not_there_is_missed_as_in_a_dictionary() -> None:
    """`get` gives None for it, and its place raises."""
    small = compact(FIGURES)
    assert small.get("energy") is None
    assert "energy" not in small
    with pytest.raises(KeyError):
        small["energy"]


def test_mappings_with_other_names_do_not_disturb_it() -> None:
    """Nor does the same set of names in another order."""
    small = compact(FIGURES)
    turned = compact(dict(reversed(FIGURES.items())))
    assert list(turned) == list(reversed(FIGURES))
    assert turned == small == FIGURES


def test_a_second_mapping_costs_its_values_and_no_names() -> None:
    """A pointer for each value, 8 bytes on 64-bit machines; the dictionary takes 40."""
    names = [f"figure_{i}" for i in range(60)]
    first = compact(dict.fromkeys(names, 1.0))
    tracemalloc.start()
    second = compact(dict.fromkeys(names, 1.0))
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert first == second
    assert used < 60 * 8 + 300


def test_what_is_small_already_is_itself() -> None:
    """A study that goes on takes up records that were small already."""
    small = compact(FIGURES)
    assert compact(small) is small
