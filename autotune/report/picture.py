"""The Pareto front as a picture that stands alone: for a README, a chat, a dashboard."""

from importlib.resources import files
from typing import Final

from autotune.report.findings import Findings
from autotune.report.page import view_of
from autotune.report.svg.canvas import Size
from autotune.report.svg.pareto import pareto_plot

_BACKGROUND: Final = ".plot{background:var(--paper)}"


def pareto_picture(
    findings: Findings, *, width: float = 880, height: float = 420, pair: tuple[int, int] = (0, 1)
) -> str:
    """SVG with its own style sheet, light or dark as its viewer is; empty without points.

    Args:
        findings: A study of at least two objectives.
        width: In pixels.
        height: In pixels.
        pair: Positions of the objectives on the two axes.
    """
    objectives = findings.spec.objectives
    if len(objectives) < 2:
        return ""
    size = Size(width=width, height=height, style=plot_style())
    x, y = (objectives[i] for i in pair)
    return pareto_plot(findings.plotted, x, y, view_of(findings), size)


def plot_style() -> str:
    """The style sheet that a plot needs outside of the page."""
    sheet = files("autotune.report").joinpath("templates", "plot.css").read_text(encoding="utf-8")
    return sheet + _BACKGROUND
