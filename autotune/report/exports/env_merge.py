"""`.env` written again: the values that the user put in are carried over."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from autotune.report.exports.env import variables
from autotune.report.exports.service import Service

_LINE: Final = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)$")
_OFFERED: Final = re.compile(r"^#\s*([A-Za-z_][A-Za-z0-9_]*)=$")
"""A variable that the file names without setting it, such as a token."""


@dataclass(frozen=True, kw_only=True)
class MergedEnv:
    """`.env` of a trial with the user's own values.

    Attributes:
        text: The settings are the trial's; port, address, folders and whatever autotune does
            not know are the user's.
        kept: Names of the user's values in it.
        edited: Names of measured settings that the user had changed; they are not in it.
    """

    text: str
    kept: tuple[str, ...] = ()
    edited: tuple[str, ...] = ()


def merged_env(
    made: str, *, current: str | None, before: Mapping[str, str], service: Service
) -> MergedEnv:
    """Lay the user's values over a file that was just made.

    Args:
        made: The new file.
        current: The file as it lies there; None if it does not.
        before: Variables with the values that autotune wrote last; empty if that is not known.
        service: What the new file is for.
    """
    yours = {name: value for name, value in values_of(current or "").items()
             if before.get(name) != value}  # fmt: skip
    offered = variables(service)
    settings = settings_of(service)
    edited = [name for name, value in yours.items()
              if (name in settings and value != offered[name][0])
              or (name in before and name not in offered)]  # fmt: skip
    keep = {name: value for name, value in yours.items()
            if name not in settings and name not in edited
            and (name not in offered or value != offered[name][0])}  # fmt: skip
    return MergedEnv(text=_laid_over(made, keep), kept=tuple(keep), edited=tuple(edited))


def values_of(text: str) -> dict[str, str]:
    """Variable to its value, as it is written, quotes included; the last one counts."""
    lines = (_LINE.match(line) for line in text.splitlines())
    return {line[1]: line[2] for line in lines if line is not None}


def settings_of(service: Service) -> frozenset[str]:
    """Variables that hold what was measured; port, address and folders are not among them."""
    names = {option.variable for option in service.options} | {service.model_variable}
    return frozenset(names - {""})


def _laid_over(made: str, keep: Mapping[str, str]) -> str:
    left = dict(keep)
    lines = []
    for line in made.splitlines():
        named = _LINE.match(line) or _OFFERED.match(line)
        if named is not None and named[1] in left:
            lines.append(f"{named[1]}={left.pop(named[1])}")
        else:
            lines.append(line)
    if left:
        lines += ["", "# yours", *(f"{name}={value}" for name, value in left.items())]
    return "\n".join(lines) + "\n"
