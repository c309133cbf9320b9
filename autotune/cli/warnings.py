"""Warnings on a terminal, so that nobody overlooks them."""

from collections.abc import Sequence

from rich.console import Console

from autotune.report.untrusted import one_line


def warn(console: Console, warnings: Sequence[str]) -> None:
    """A line each; a long one is broken by the terminal only, so that it can be copied whole."""
    for warning in warnings:
        console.print(
            f"warning: {one_line(warning)}", markup=False, style="bold yellow", soft_wrap=True
        )
