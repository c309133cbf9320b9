"""What docs/search.md says of the search is what the kept traces give."""

from benchmarks.search.results import RESULTS, published, tables


def test_the_table_is_made_of_the_traces_beside_it() -> None:
    """Anybody can make it again."""
    traces = published("synthetic")
    assert len({trace.seed for trace in traces}) >= 20
    assert tables(traces) == (RESULTS / "synthetic.md").read_text()
