"""The fixed matrix: named configurations, measured with every test."""

from pathlib import Path
from typing import Any

from pydantic import Field

from autotune.errors import UsageError
from autotune.spec.files import StrictModel, read_yaml, validate
from autotune.spec.study import IMAGE_PATTERN, NAME_PATTERN

Value = str | int | float | bool


class Cell(StrictModel):
    """One named configuration.

    Attributes:
        title: For the table's first column.
        reference: This is what the others are compared with; it runs whatever is left of it.
        image: Run this cell with an image of its own (an older release).
    """

    title: str
    configuration: dict[str, Value] = Field(default_factory=dict)
    reference: bool = False
    image: str | None = Field(default=None, pattern=IMAGE_PATTERN)


class MatrixSpec(StrictModel):
    """A matrix file."""

    name: str = Field(default="matrix", pattern=NAME_PATTERN)
    description: str = ""
    configurations: dict[str, Cell] = Field(min_length=1)

    def select(self, names: list[str] | None) -> dict[str, Cell]:
        """Cells by name, letter case aside, in the matrix's order; all for None.

        Raises:
            UsageError: If there is no such configuration.
        """
        if names is None:
            return dict(self.configurations)
        by_name = {name.lower(): name for name in self.configurations}
        for name in names:
            if name.lower() not in by_name:
                message = f"the matrix {self.name!r} has no configuration {name!r}"
                raise UsageError(message, hint=f"It has: {', '.join(self.configurations)}.")
        wanted = {by_name[name.lower()] for name in names}
        return {name: cell for name, cell in self.configurations.items() if name in wanted}


def matrix_from(raw: Any, *, where: str) -> MatrixSpec:
    """Read a matrix from parsed YAML.

    Raises:
        SpecError: Naming the field.
    """
    return validate(MatrixSpec, raw, where=where)


def read_matrix(path: Path) -> MatrixSpec:
    """Read a matrix file.

    Raises:
        SpecError: Naming the file and the field.
    """
    return matrix_from(read_yaml(path), where=str(path))


def tests_from(text: str) -> tuple[int, ...]:
    """Numbers of tests out of "1-6" or "1,3,5-6".

    Raises:
        UsageError: If that is no list of tests from 1 to 6.
    """
    chosen: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            message = f"--tests {text!r} is no list of tests"
            raise UsageError(message, hint="Write it like 1-6 or 1,3,5.")
        chosen.update(range(int(first), int(last or first) + 1))
    if not chosen or not chosen <= set(range(1, 7)):
        message = f"--tests {text!r}: there are tests 1 to 6"
        raise UsageError(message, hint="Write it like 1-6 or 1,3,5.")
    return tuple(sorted(chosen))
