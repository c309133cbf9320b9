"""The scatter plot in characters."""

from autotune.report.quantities import Scale
from autotune.report.text_plot import BASELINE, MEASURED, ON_FRONT, Axis, Point, scatter

X = Axis(title="Throughput", scale=Scale(unit="tok/s"), higher_is_better=True)
Y = Axis(title="TTFT", scale=Scale(unit="s"), higher_is_better=False)


def test_points_lie_where_they_belong() -> None:
    """The largest is at the top right, the smallest at the bottom left."""
    lines = scatter([Point(0, 0, MEASURED), Point(10, 10, ON_FRONT)], x=X, y=Y, width=40, height=8)
    body = [line.partition("\N{BOX DRAWINGS LIGHT VERTICAL AND LEFT}")[2] for line in lines[1:6]]
    assert body[0].endswith(ON_FRONT)
    assert body[-1].startswith(MEASURED)


def test_the_plot_keeps_to_its_size() -> None:
    """Neither wider nor higher than asked, whatever the values."""
    points = [Point(1e9 * n, -3.0 * n) for n in range(50)]
    lines = scatter(points, x=X, y=Y, width=60, height=12)
    assert len(lines) == 12
    assert max(map(len, lines)) <= 60


def test_the_more_telling_mark_is_drawn_on_top() -> None:
    """Where two points share a place the baseline wins over a plain one."""
    same = [Point(1, 1, BASELINE), Point(1, 1, MEASURED), Point(5, 5, MEASURED)]
    text = "\n".join(scatter(same, x=X, y=Y, width=40, height=8))
    assert BASELINE in text


def test_axes_say_which_way_is_better() -> None:
    """Each axis carries its title, unit and an arrow."""
    lines = scatter([Point(1, 2)], x=X, y=Y, width=60, height=8)
    assert lines[0] == "TTFT [s] ↓ better"
    assert "Throughput [tok/s] → better" in lines[-1]


def test_no_points_give_an_empty_frame() -> None:
    """Before the first result there is a frame and no figure."""
    lines = scatter([], x=X, y=Y, width=40, height=8)
    assert len(lines) == 8
    assert MEASURED not in "".join(lines[1:])
