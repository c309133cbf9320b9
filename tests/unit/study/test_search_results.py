"""What docs/search.md says of the search is what the kept traces give."""

import pytest

from benchmarks.search.results import OURS, PAGE, published, tables, with_tables
from benchmarks.search.traces import Trace


@pytest.mark.parametrize("name", ["simulated", "synthetic", "unused"])
def test_the_tables_are_made_of_the_traces_beside_them(name: str) -> None:
    """Anybody can make them again."""
    traces = published(name)
    assert len({trace.seed for trace in traces if trace.strategy == OURS}) >= 20
    page = PAGE.read_text()
    assert with_tables(page, name, tables(traces)) == page


def test_who_never_got_there_counts_with_the_time_that_it_spent() -> None:
    """Ours takes an hour; of theirs one takes four, two end without it, after two and eight."""

    def trace(strategy: str, seed: int, hours: float, end: float) -> Trace:
        shares = [0.5] * 39 + [end]
        spent = [hours * 3600 * (i + 1) / 40 for i in range(40)]
        return Trace(strategy, seed, shares, spent, [""] * 40, [])

    theirs = zip((4, 2, 8), (0.96, 0.5, 0.5), strict=True)
    traces = [trace(OURS, seed, 1, 0.97) for seed in range(3)]
    traces += [trace("random", seed, h, end) for seed, (h, end) in enumerate(theirs)]
    assert "at most 0.25: 2 of 3 never got there in 40 trials" in tables(traces)
