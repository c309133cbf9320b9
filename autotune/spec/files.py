"""Reading YAML files strictly: an unknown key is an error, and an error names its field."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from autotune.errors import SpecError
from autotune.spec.loader import StrictLoader
from autotune.spec.vocabulary import nearest


class StrictModel(BaseModel):
    """Base of everything that is read from a file: a misspelt key is never dropped in silence."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_yes_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads `yes` and `on` as true, and Python counts true as 1."""
        field = cls.model_fields.get(info.field_name or "")
        if isinstance(value, bool) and field is not None:
            kinds = set(_alternatives(field.annotation))
            if bool not in kinds and kinds & {int, float}:
                message = f"it must be a number; found {str(value).lower()}"
                raise ValueError(message)
        return value


M = TypeVar("M", bound=BaseModel)


def _alternatives(annotation: Any) -> Iterator[Any]:
    """Kinds that a field takes, out of unions and annotations."""
    inner = get_args(annotation)
    if get_origin(annotation) is Annotated:
        yield from _alternatives(inner[0])
    elif get_origin(annotation) in {Union, UnionType}:
        for one in inner:
            yield from _alternatives(one)
    else:
        yield annotation


def read_yaml(path: Path) -> Any:
    """Parse a file safely.

    Raises:
        SpecError: If it cannot be read or is no YAML.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            message = f"{path} is no file"  # a pipe, say, whose reader may wait forever
            raise SpecError(message, hint="Put the file there, or name another.")
        # A loader of SafeLoader's own kind: it makes plain values and nothing else.
        return yaml.load(path.read_text(encoding="utf-8"), Loader=StrictLoader)  # noqa: S506
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise SpecError(message, hint="Check the path and its rights.") from error
    except (
        yaml.YAMLError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
        ValueError,
        OverflowError,
    ) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where is not None else ""
        problem = getattr(error, "problem", None) or type(error).__name__
        message = f"{path}{line} is not YAML: {problem}"
        raise SpecError(message, hint="Mend the file; indentation counts.") from error


def validate(
    model: type[M], raw: Any, *, where: str, options: Mapping[str, str] | None = None
) -> M:
    """Check raw data against a model.

    Args:
        model: What it should be.
        raw: As parsed.
        where: Name of the file, for the message.
        options: Dotted keys whose values came from the command line, to the option's name.

    Raises:
        SpecError: Naming the field, its path joined by arrows, or the option.
    """
    if not isinstance(raw, dict):
        message = f"{where}: expected a mapping of keys to values, found {_kind(raw)}"
        raise SpecError(message, hint="See docs/studies.md for an example.")
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        found = error.errors(include_url=False)
        # A misspelt key is missing under its right name as well: the key is what is to be mended.
        wrong = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
        place = tuple(part for part in wrong["loc"] if part not in _KINDS)
        option = (options or {}).get(".".join(map(str, place)))
        field = " -> ".join(str(part) for part in place) or "(whole file)"
        kinds = _kinds_wanted(found, wrong["loc"])
        text, hint = _in_words(model, wrong, kinds, "that option" if option else "that field")
        at = f"{option} {wrong['input']!r}" if option else f"{where}: {field}"
        message = f"{at}: {text}"
        raise SpecError(message, hint=hint) from error


_KINDS: Final = frozenset({"str", "int", "float", "bool"})
"""What pydantic adds to a place where one of several kinds would do."""

_IN_YAML: Final = {
    "str": "a text", "int": "a number", "float": "a number", "bool": "true or false",
    "dict": "a mapping", "list": "a list",
}  # fmt: skip

_PATTERNS: Final[dict[str, str]] = {}


def pattern(expression: str, words: str) -> str:
    """A regular expression of a field, and what it asks for in words."""
    _PATTERNS[expression] = words
    return expression


def _in_words(model: type[BaseModel], wrong: Any, kinds: str, what: str) -> tuple[str, str]:
    """What is wrong and the next step, out of pydantic's description."""
    place, kind = wrong["loc"], wrong["type"]
    if kind == "extra_forbidden":
        known = _known_keys(model, place)
        hint = f"Known keys here: {', '.join(known) or 'none'}."
        return f"unknown key{nearest(str(place[-1]), known)}", hint
    text = wrong["msg"].removeprefix("Value error, ")
    if kind == "string_pattern_mismatch":
        text = f"it must be {_PATTERNS.get(wrong['ctx']['pattern'], 'written otherwise')}"
    elif place and place[-1] in _KINDS:
        text = f"it must be {kinds}; found {_kind(wrong['input'])}"
    return text, f"Mend {what} and run again."


def _kinds_wanted(found: Sequence[Any], place: tuple[int | str, ...]) -> str:
    """What a field of several kinds takes, in words: pydantic has an error for each of them."""
    tried = [str(e["loc"][-1]) for e in found if e["loc"][:-1] == place[:-1] and e["loc"]]
    known = (w for name in tried for prefix, w in _IN_YAML.items() if name.startswith(prefix))
    words = dict.fromkeys(known)
    *first, last = words or ("something else",)
    if not first or last == "true or false":
        return ", ".join([*first, last])
    return f"{', '.join(first)} or {last}"


def _kind(raw: Any) -> str:
    """What a parsed value is, in YAML's words."""
    if raw is None:
        return "nothing"
    if isinstance(raw, int | float):
        return str(raw)
    words: dict[type, str] = {dict: "a mapping", list: "a list", str: "a text"}
    return words.get(type(raw), type(raw).__name__)


def _known_keys(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Keys of the innermost model on the way to a misplaced key."""
    current: type[BaseModel] = model
    for part in location[:-1]:
        field = current.model_fields.get(str(part))
        annotation = None if field is None else field.annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        nested = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if nested:
            current = nested[0]
    return sorted(info.alias or name for name, info in current.model_fields.items())
