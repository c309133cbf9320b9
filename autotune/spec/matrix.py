"""The fixed matrix: named configurations, measured with every test."""

from pathlib import Path
from typing import Any, Final, Self

from pydantic import Field, field_validator, model_validator

from autotune.errors import UsageError
from autotune.spec.files import StrictModel, read_yaml, validate
from autotune.spec.parameters import DEFAULT
from autotune.spec.study import IMAGE_PATTERN, NAME_PATTERN, Setting
from autotune.spec.vocabulary import Vocabulary, nearest

LAST_TEST: Final = 6


class Cell(StrictModel):
    """One named configuration.

    Attributes:
        title: For the table's first column.
        reference: This is what the others are compared with; it runs whatever is left of it.
        image: Run this cell with an image of its own (an older release).
    """

    title: str
    configuration: dict[str, Setting] = Field(default_factory=dict)
    reference: bool = False
    image: str | None = Field(default=None, pattern=IMAGE_PATTERN)

    @field_validator("configuration")
    @classmethod
    def _default_is_absent(cls, values: dict[str, Setting]) -> dict[str, Setting]:
        """As in a space, `default` leaves a parameter to the engine."""
        return {name: value for name, value in values.items() if value != DEFAULT}


class MatrixSpec(StrictModel):
    """A matrix file."""

    name: str = Field(default="matrix", pattern=NAME_PATTERN)
    description: str = ""
    configurations: dict[str, Cell] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_and_reference(self) -> Self:
        if len({name.lower() for name in self.configurations}) < len(self.configurations):
            message = "configurations hold two names that differ in letter case only"
            raise ValueError(message)
        references = [name for name, cell in self.configurations.items() if cell.reference]
        if len(references) > 1:
            message = f"only one configuration can be the reference, not {' and '.join(references)}"
            raise ValueError(message)
        return self

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
                meant = nearest(name, by_name)
                message = f"the matrix {self.name!r} has no configuration {name!r}{meant}"
                raise UsageError(message, hint=f"It has: {', '.join(self.configurations)}.")
        wanted = {by_name[name.lower()] for name in names}
        return {name: cell for name, cell in self.configurations.items() if name in wanted}


def matrix_from(raw: Any, *, where: str) -> MatrixSpec:
    """Read a matrix from parsed YAML.

    Raises:
        SpecError: Naming the field.
    """
    return validate(MatrixSpec, raw, where=where)


def read_matrix(path: Path, vocabulary: Vocabulary | None = None) -> MatrixSpec:
    """Read a matrix file.

    Args:
        path: The file.
        vocabulary: Parameters and values that some engine has; any if None.

    Raises:
        SpecError: Naming the file and the field.
    """
    matrix = matrix_from(read_yaml(path), where=str(path))
    if vocabulary is not None:
        for name, cell in matrix.configurations.items():
            where = f"{path}: configurations -> {name} -> configuration"
            vocabulary.check(cell.configuration, where=where)
    return matrix


def tests_from(text: str) -> tuple[int, ...]:
    """Numbers of tests out of "1-6" or "1,3,5-6".

    Raises:
        UsageError: If that is no list of tests from 1 to 6.
    """
    chosen: set[int] = set()
    for part in text.split(","):
        first, dash, last = (end.strip() for end in part.partition("-"))
        last = last if dash else first
        if not first.isdecimal() or not last.isdecimal():
            message = f"--tests {text!r} is no list of tests"
            raise UsageError(message, hint="Write it like 1-6 or 1,3,5.")
        low, high = int(first[:9]), int(last[:9])  # a long number is too large anyway
        if not 1 <= low <= high <= LAST_TEST:
            message = f"--tests {text!r}: there are tests 1 to {LAST_TEST}, smaller ones first"
            raise UsageError(message, hint="Write it like 1-6 or 1,3,5.")
        chosen.update(range(low, high + 1))
    return tuple(sorted(chosen))
