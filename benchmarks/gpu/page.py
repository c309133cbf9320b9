"""Pages of results: each table stands between two marks and is made of the records."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from autotune.records import TrialRecord
from benchmarks.gpu.markdown import DASH

Tables = Mapping[str, Callable[[], str]]
"""The name in a table's marks, and what makes it."""


def filled(page: str, tables: Tables) -> str:
    """The page with every table between its marks made anew.

    Raises:
        ValueError: If a mark is missing.
    """
    for name, make in tables.items():
        begin, end = f"<!-- table: {name} -->", f"<!-- end: {name} -->"
        if begin not in page or end not in page:
            message = f"the page lacks the marks of table {name}"
            raise ValueError(message)
        before, rest = page.split(begin)
        page = f"{before}{begin}\n{make()}\n{end}{rest.split(end)[1]}"
    return page


def outcome(record: TrialRecord) -> str:
    """What became of a trial, with the failure's name."""
    failure = record.outcome.failure
    status = record.outcome.status.value
    return status if failure is None else f"{status}: {failure.kind.value}"


def seconds(value_ns: float | None) -> str:
    """Nanoseconds as seconds; a dash where nothing was measured."""
    return DASH if value_ns is None else f"{value_ns / 1e9:.1f}"


def write_or_check(path: Path, tables: Tables, description: str | None) -> None:
    """The command line of a page: write its tables, or only say whether they are right."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="write nothing")
    asked = parser.parse_args()
    page = path.read_text(encoding="utf-8")
    made = filled(page, tables)
    if asked.check and made != page:
        sys.exit(f"{path.name} is not what the records give; run this without --check")
    if not asked.check:
        path.write_text(made, encoding="utf-8")
