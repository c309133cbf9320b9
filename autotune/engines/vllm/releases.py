"""vLLM's settings by release: reads `releases.yaml`, the declared table.

Everything that is asked here is asked with a release and a platform, and answered from the
table alone; `compatibility.py` knows what goes with which GPU, `capabilities.py` what is
installed.
"""

import functools
import math
import re
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Self

from pydantic import Field, field_validator, model_validator

from autotune.errors import EngineError
from autotune.records import Scalar
from autotune.spec.files import StrictModel, read_yaml, validate
from autotune.spec.vocabulary import nearest

TABLE_FILE: Final = Path(__file__).with_name("releases.yaml")
LARGEST: Final = 1_000_000_000
"""Bound of numbers that have no other: more tokens, sequences or GiB than any machine has."""

PLATFORMS: Final = ("cuda", "cpu", "rocm", "unknown")


class Release(NamedTuple):
    """The first three numbers of a version; `0.10.1.1`, `0.10.1rc2` and `v0.10.1` are 0.10.1."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


@functools.lru_cache(maxsize=256)
def parse_release(text: str) -> Release:
    """Read a version string such as "0.32.0+cpu" or "v0.33".

    Raises:
        EngineError: If it does not begin with two numbers.
    """
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", text)
    if found is None:
        message = f"vLLM calls itself version {text!r}, which is no release"
        raise EngineError(message, hint="Install a released vLLM, or use its official image.")
    return Release(int(found[1]), int(found[2]), int(found[3] or 0))


def same(a: Scalar, b: Scalar) -> bool:
    """Whether two values are one: 0.90 and 0.9 are, 1 and True are not."""
    return a == b and isinstance(a, bool) == isinstance(b, bool)


class Window(StrictModel):
    """Releases from `first` to `last`, both included, on some platforms."""

    first: str | None = None
    last: str | None = None
    platforms: tuple[Literal["cuda", "cpu", "rocm", "unknown"], ...] = PLATFORMS

    @field_validator("first", "last")
    @classmethod
    def _is_release(cls, text: str | None) -> str | None:
        if text is not None and str(parse_release(text)) != text:
            message = f"{text!r} is not a release like 0.14.1"
            raise ValueError(message)
        return text

    def covers(self, release: Release, platform: str) -> bool:
        """Whether a release on a platform lies in this window."""
        return (
            platform in self.platforms
            and (self.first is None or parse_release(self.first) <= release)
            and (self.last is None or release <= parse_release(self.last))
        )


class Spelling(Window):
    """How a value becomes part of the command line or the environment.

    Exactly one of `flag`, `pair`, `switch`, `env` and `json` is set. Names carry no dashes.
    """

    flag: str | None = None
    pair: str | None = None
    switch: str | None = None
    env: str | None = None
    json_flag: str | None = Field(default=None, alias="json")
    key: str | None = None
    scale: int = 1
    also: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [w for w in (self.flag, self.pair, self.switch, self.env, self.json_flag) if w]
        if len(ways) != 1 or (self.json_flag is None) != (self.key is None):
            message = "give one of flag, pair, switch, env, or json with its key"
            raise ValueError(message)
        return self

    @property
    def flags(self) -> tuple[str, ...]:
        """Options that must exist for this to work, without dashes."""
        own = self.flag or self.pair or self.switch or self.json_flag
        more = tuple(a.removeprefix("--") for a in self.also if a.startswith("--"))
        return more if own is None else (own, *more)

    @property
    def label(self) -> str:
        """What a person would call it: `--kv-cache-dtype` or `VLLM_USE_V1`."""
        return self.env if self.env is not None else f"--{self.flags[0]}"


class Values(Window):
    """Values that may be asked for in a window."""

    values: tuple[Scalar, ...] = Field(min_length=1)


class Default(Window):
    """What the engine does by itself in a window."""

    value: Scalar
    note: str = ""
    say: bool = False


class Renamed(Window):
    """A value that goes by another name in a window."""

    old: str = Field(alias="from")
    new: str = Field(alias="to")


class Defect(Window):
    """A window in which a setting is there and of no use."""

    values: tuple[Scalar, ...] | None = None
    above: float | None = None
    effect: Literal["fails", "ignored", "wrong", "switches"]
    reason: str
    source: str

    def hits(self, value: Scalar) -> bool:
        """Whether a value is meant: all of them where neither values nor a bound is given."""
        if self.values is not None:
            return any(same(value, v) for v in self.values)
        if self.above is not None:
            return isinstance(value, int | float) and value > self.above
        return True


class ParameterFacts(StrictModel):
    """Everything the table knows of one parameter."""

    title: str
    kind: Literal["choice", "number", "integer", "boolean"]
    low: float | None = None
    high: float | None = None
    spellings: tuple[Spelling, ...] = Field(min_length=1)
    values: tuple[Values, ...] = ()
    renamed: tuple[Renamed, ...] = ()
    defaults: tuple[Default, ...] = ()
    defects: tuple[Defect, ...] = ()
    source: str
    gone: str = ""
    elsewhere: str = ""

    def spelling(self, release: Release, platform: str) -> Spelling | None:
        """How it is said to a release; None if it cannot be said."""
        return next((s for s in self.spellings if s.covers(release, platform)), None)

    def legal_values(self, release: Release, platform: str) -> tuple[Scalar, ...] | None:
        """Values of a release; None where any value of its kind will do."""
        return next((v.values for v in self.values if v.covers(release, platform)), None)

    def default(self, release: Release, platform: str) -> Default | None:
        """What holds when nothing is asked; None if that depends on model and machine."""
        return next((d for d in self.defaults if d.covers(release, platform)), None)

    def defect(self, value: Scalar, release: Release, platform: str) -> Defect | None:
        """Why asking for a value would be in vain, if the table knows."""
        hits = (d for d in self.defects if d.covers(release, platform) and d.hits(value))
        return next(hits, None)

    def own_name(self, value: Scalar, release: Release, platform: str) -> Scalar:
        """What this release calls a value that others call differently."""
        names = (r.new for r in self.renamed if r.covers(release, platform) and r.old == value)
        return next(names, value)

    def is_default(self, value: Scalar, release: Release, platform: str) -> bool:
        """Whether a value is what the engine does anyway."""
        default = self.default(release, platform)
        return default is not None and same(value, default.value)

    def out_of_kind(self, value: Scalar) -> str | None:
        """Why a value cannot be one of this parameter in any release; None if it can."""
        if self.kind == "boolean":
            return None if isinstance(value, bool) else f"{value!r} is neither true nor false"
        if self.kind == "choice":
            return None if isinstance(value, str) else f"{value!r} is no name"
        if isinstance(value, bool | str):
            return f"{value!r} is no number"
        if not math.isfinite(value):
            return f"{value!r} is no number that can be set"
        if self.kind == "integer" and value != int(value):
            return f"{value!r} is no whole number"
        if self.low is not None and value < self.low:
            return f"it cannot be under {self.low:g}"
        high = LARGEST if self.high is None else self.high
        if value > high:
            return f"it cannot be over {high:g}"
        return None

    def never(self, value: Scalar) -> str | None:
        """Why a value is none of this parameter in any release; None if it can be one."""
        wrong = self.out_of_kind(value)
        if wrong is not None or self.kind != "choice":
            return wrong
        known = {v: None for window in self.values for v in window.values}
        known |= {name: None for r in self.renamed for name in (r.old, r.new)}
        if not known or value in known:
            return None
        listed = ", ".join(map(str, known))
        meant = nearest(str(value), map(str, known))
        return f"{value!r} is none of its values in any release{meant} (there are: {listed})"

    def absence(self, release: Release, platform: str) -> str:
        """Why a release has no spelling for it, for people."""
        here = [s for s in self.spellings if platform in s.platforms]
        if not here:
            return self.elsewhere or f"it is no setting of vLLM on {platform}"
        firsts = [parse_release(s.first) for s in here if s.first is not None]
        lasts = [parse_release(s.last) for s in here if s.last is not None]
        if len(firsts) == len(here) and release < min(firsts):
            return f"vLLM {release} does not have {here[0].label} yet: it came with {min(firsts)}"
        if len(lasts) == len(here) and release > max(lasts):
            gone = f" ({self.gone})" if self.gone else ""
            return (
                f"vLLM {release} no longer has {here[-1].label}: it was last in {max(lasts)}{gone}"
            )
        return f"vLLM {release} does not have {here[0].label}"


class Supported(StrictModel):
    """The releases that the table was read from."""

    first: str
    last: str


class ReleaseTable(StrictModel):
    """The whole of `releases.yaml`."""

    supported: Supported
    parameters: dict[str, ParameterFacts]

    def find(self, name: str) -> ParameterFacts | None:
        """Facts of a parameter; None if vLLM has no such parameter."""
        return self.parameters.get(name)

    def check_supported(self, release: Release) -> tuple[str, ...]:
        """Warnings for a release; empty if the table was read from its kind.

        Raises:
            EngineError: If it is older than the first supported release.
        """
        first, last = parse_release(self.supported.first), parse_release(self.supported.last)
        if release < first:
            message = f"vLLM {release} is older than {first}, the first supported release"
            raise EngineError(message, hint=f"Use an image or an installation from {first} on.")
        if release > last:
            newer = f"vLLM {release} is newer than {last}, the last release that was read"
            return (f"{newer}; what changed since is not known",)
        return ()


def table_from(raw: Any, *, where: str) -> ReleaseTable:
    """Read a table from parsed YAML.

    Raises:
        SpecError: Naming the field.
    """
    return validate(ReleaseTable, raw, where=where)


@cache
def release_table() -> ReleaseTable:
    """The declared table, read once."""
    return table_from(read_yaml(TABLE_FILE), where=TABLE_FILE.name)


def parameter_names() -> tuple[str, ...]:
    """Every parameter of vLLM that autotune knows."""
    return tuple(release_table().parameters)
