"""Shapes, scales and ticks."""

import xml.etree.ElementTree as ET

import pytest

from autotune.report.quantities import Scale
from autotune.report.svg.canvas import Canvas, Linear, Size, number, padded, ticks


def test_text_from_elsewhere_cannot_leave_its_element() -> None:
    """Markup and escape sequences in a label stay text."""
    canvas = Canvas(Size(width=100, height=50), 'a "label" <b>')
    canvas.text(1, 2, "<script>alert(1)</script>\x1b[2J&", "tick")
    canvas.add("circle", cx=1.0, data_hint='" onclick="x')
    root = ET.fromstring(canvas.svg())  # noqa: S314 - our own text
    assert root.attrib["aria-label"] == 'a "label" <b>'
    assert root[0].text == "<script>alert(1)</script>&"
    assert root[1].attrib["data-hint"] == '" onclick="x'
    assert "onclick" not in root[1].attrib


def test_a_plot_for_a_file_has_its_own_style_and_size() -> None:
    """Inside the page it has neither."""
    assert "<style>" not in Canvas(Size(width=10, height=5), "x").svg()
    alone = Canvas(Size(width=10, height=5, style=".a{}"), "x").svg()
    assert "<style>.a{}</style>" in alone
    assert 'width="10" height="5"' in alone


def test_a_scale_runs_from_end_to_end() -> None:
    """Also downwards, as y axes do."""
    up = Linear(0, 10, 100, 0)
    assert [up(v) for v in (0, 5, 10)] == [100, 50, 0]


def test_coordinates_are_short() -> None:
    """A tenth of a pixel is enough."""
    assert [number(v) for v in (1.0, 1.25, 100.04)] == ["1", "1.2", "100"]


@pytest.mark.parametrize(
    ("low", "high", "divisor", "labels"),
    [
        (0.0, 10.0, 1.0, ["0", "2", "4", "6", "8", "10"]),
        (1.2e9, 1.9e9, 1e9, ["1.2", "1.4", "1.6", "1.8"]),
        (0.0, 1.0, 1.0, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (900.0, 2100.0, 1.0, ["1,000", "1,250", "1,500", "1,750", "2,000"]),
    ],
)
def test_ticks_are_round_in_display_units(
    low: float, high: float, divisor: float, labels: list[str]
) -> None:
    """Steps of 1, 2, 2.5 or 5, labelled with as many decimals as they need."""
    assert [label for _, label in ticks(low, high, Scale(unit="", divisor=divisor))] == labels


def test_no_range_has_no_ticks() -> None:
    """A single value is no range."""
    assert ticks(1.0, 1.0, Scale(unit="")) == []


def test_an_axis_has_room_and_does_not_go_below_zero() -> None:
    """Sizes and times are never negative, so neither are their axes."""
    low, high = padded([0.1, 10.0])
    assert low == 0.0
    assert high > 10.0
    assert padded([5.0]) == (4.7, 5.3)
    assert padded([0.0]) == (0.0, 1.0)
