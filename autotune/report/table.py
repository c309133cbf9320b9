"""A table as a value, and the three ways to show it: terminal, Markdown, CSV.

Every table of the program is built once (`report/tables.py`, `report/matrix_table.py`) and drawn
from the same value, so the terminal and the report cannot disagree.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from rich import box
from rich.table import Table as RichTable
from rich.text import Text

from autotune.report.untrusted import one_line

SIMULATED: Final = "SIMULATED"
"""What every table, plot, file name and export of a simulated study carries."""


class Tone(StrEnum):
    """What a cell wants to say beside its text."""

    PLAIN = "plain"
    GOOD = "good"
    BAD = "bad"
    MUTED = "muted"
    STRONG = "strong"


_EDGE_UNDERSCORE: Final = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")

_STYLES: Final = {
    Tone.PLAIN: "",
    Tone.GOOD: "green",
    Tone.BAD: "red",
    Tone.MUTED: "bright_black",
    Tone.STRONG: "bold",
}


@dataclass(frozen=True)
class Cell:
    """Text of one cell, control characters already gone."""

    text: str
    tone: Tone = Tone.PLAIN

    @classmethod
    def of(cls, text: object, tone: Tone = Tone.PLAIN) -> "Cell":
        """From anything printable; what may come from a log or a model's name is cleaned."""
        return cls(one_line(str(text)), tone)


@dataclass(frozen=True, kw_only=True)
class Column:
    """Head of one column.

    Attributes:
        fold: Long text wraps here; other columns keep to one line.
        least: Width below which a column that wraps is not squeezed, in characters.
        most: Width that it never exceeds on a terminal; its head wraps.
    """

    head: str
    align: Literal["left", "right"] = "left"
    fold: bool = False
    least: int = 20
    most: int | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under heads, with what must be said above and below.

    Attributes:
        trials: Number of the trial of each row, where rows are trials: the page opens it.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    simulated: bool = False
    trials: tuple[int, ...] = ()

    @property
    def full_title(self) -> str:
        """The title, marked if the figures are simulated."""
        return f"{self.title} ({SIMULATED})" if self.simulated else self.title


def to_rich(table: Table) -> RichTable:
    """For the terminal."""
    drawn = RichTable(
        title=Text(table.full_title, style="bold yellow" if table.simulated else "bold"),
        title_justify="left",
        caption=Text("\n".join(table.notes), style="bright_black") if table.notes else None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        show_edge=False,
    )
    for column in table.columns:
        drawn.add_column(
            Text(column.head),
            justify=column.align,
            overflow="fold",
            no_wrap=False,
            min_width=column.least if column.fold else None,
            max_width=column.most,
        )
    for row in table.rows:
        drawn.add_row(*(Text(cell.text, style=_STYLES[cell.tone]) for cell in row))
    return drawn


def to_markdown(table: Table, *, level: int = 3) -> str:
    """A heading and a pipe table, as GitHub reads it.

    Args:
        table: What to write.
        level: Of the heading; 0 leaves the heading out.
    """
    lines = [f"{'#' * level} {escape_markdown(table.full_title)}", ""] if level else []
    lines.append(_row(column.head for column in table.columns))
    lines.append(_rule(table.columns))
    lines += [_row(_marked(cell) for cell in row) for row in table.rows]
    lines += ["", *(escape_markdown(note) + "  " for note in table.notes)] if table.notes else []
    return "\n".join(lines) + "\n"


def to_csv(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Comma-separated values by RFC 4180, raw, a line each; None is an empty field.

    Text that a spreadsheet would run as a formula gets a leading apostrophe (OWASP, CSV
    injection); numbers, signs included, stay as they are.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([_field(head) for head in heads])
    writer.writerows([[_field(value) for value in row] for row in rows])
    return buffer.getvalue()


def escape_markdown(text: str) -> str:
    """Text that Markdown and the HTML inside it leave alone."""
    text = one_line(text)
    for char in "\\`*[]|~":
        text = text.replace(char, f"\\{char}")
    text = _EDGE_UNDERSCORE.sub(r"\\_", text)  # inside a word it is no emphasis (GFM, 6.2)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _marked(cell: Cell) -> str:
    text = escape_markdown(cell.text)
    return f"**{text}**" if cell.tone is Tone.STRONG and text.strip() else text


def _row(texts: Iterable[str]) -> str:
    return "| " + " | ".join(texts) + " |"


def _rule(columns: Sequence[Column]) -> str:
    return "|" + "|".join("---:" if c.align == "right" else "---" for c in columns) + "|"


def _field(value: object) -> object:
    if isinstance(value, str):
        value = one_line(value)
        return f"'{value}" if value.startswith(("=", "+", "-", "@")) else value
    return value
