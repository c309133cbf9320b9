"""The declared table of failure texts (`failures.yaml`), read and compiled."""

import re
from functools import cache
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from autotune.records import FailureKind
from autotune.spec.files import StrictModel, read_yaml, validate

TABLE_FILE: Final = Path(__file__).with_name("failures.yaml")
REPAIR_RULES: Final = ("int", "floor", "share", "text", "false", "one")


class Phase(StrictModel):
    """A stretch of the start-up: frames of its code and the log lines that open it."""

    phase: str
    frames: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


class Signature(StrictModel):
    """One text and what it means; `failures.yaml` explains the fields."""

    kind: FailureKind
    pattern: str
    context: str | None = None
    family: Literal["gpu_oom"] | None = None
    stage: Literal["start", "load", "any"] = "start"
    rank: int = Field(default=0, ge=0, le=2)
    message: str
    repair: dict[str, str] = Field(default_factory=dict)

    @field_validator("pattern", "context")
    @classmethod
    def _compiles(cls, text: str | None) -> str | None:
        if text is not None:
            try:
                re.compile(text)
            except re.error as error:
                message = f"is no regular expression: {error}"
                raise ValueError(message) from error
        return text

    @model_validator(mode="after")
    def _names_are_groups(self) -> Self:
        groups = set(self.compiled.groupindex)
        rules = [rule.split() for rule in self.repair.values()]
        named = {name for rule in rules for name in rule[1:]}
        named |= set(re.findall(r"{(\w+)}", self.message))
        if named - groups:
            message = f"names groups that the pattern lacks: {sorted(named - groups)}"
            raise ValueError(message)
        if any(rule[0] not in REPAIR_RULES for rule in rules):
            message = f"has a repair rule that is none of {', '.join(REPAIR_RULES)}"
            raise ValueError(message)
        return self

    @property
    def compiled(self) -> re.Pattern[str]:
        """The pattern; `$` ends a line."""
        return re.compile(self.pattern, re.MULTILINE)


class Table(StrictModel):
    """The whole file."""

    phases: tuple[Phase, ...]
    gpu_oom_by_phase: dict[str, FailureKind]
    signatures: tuple[Signature, ...]

    @model_validator(mode="after")
    def _phases_are_named(self) -> Self:
        if {p.phase for p in self.phases} != set(self.gpu_oom_by_phase):
            message = "gpu_oom_by_phase must name every phase and no other"
            raise ValueError(message)
        return self


@cache
def table() -> Table:
    """The declared table, read once.

    Raises:
        SpecError: If the file is wrong.
    """
    return validate(Table, read_yaml(TABLE_FILE), where=TABLE_FILE.name)
