"""Reading YAML files strictly: an unknown key is an error, and an error names its field."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from autotune.errors import SpecError


class StrictModel(BaseModel):
    """Base of everything that is read from a file: a misspelt key is never dropped in silence."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


M = TypeVar("M", bound=BaseModel)


class _UniqueKeys(yaml.SafeLoader):
    """PyYAML lets the last of two equal keys win without a word; here that is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    problem = f"the key {key.value!r} is there twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: Path) -> Any:
    """Parse a file safely.

    Raises:
        SpecError: If it cannot be read or is no YAML.
    """
    try:
        # A loader of SafeLoader's own kind: it makes plain values and nothing else.
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)  # noqa: S506
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise SpecError(message, hint="Check the path and its rights.") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where is not None else ""
        problem = getattr(error, "problem", None) or type(error).__name__
        message = f"{path}{line} is not YAML: {problem}"
        raise SpecError(message, hint="Mend the file; indentation counts.") from error


def validate(model: type[M], raw: Any, *, where: str) -> M:
    """Check raw data against a model.

    Args:
        model: What it should be.
        raw: As parsed.
        where: Name of the file or option, for the message.

    Raises:
        SpecError: Naming the field, its path joined by arrows.
    """
    if not isinstance(raw, dict):
        message = f"{where}: expected a mapping of keys to values, found {type(raw).__name__}"
        raise SpecError(message, hint="See docs/studies.md for an example.")
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = " -> ".join(str(part) for part in first["loc"]) or "(whole file)"
        text = first["msg"].removeprefix("Value error, ")
        hint = ""
        if first["type"] == "extra_forbidden":
            text = "unknown key"
            hint = f"Known keys here: {', '.join(_known_keys(model, first['loc'])) or 'none'}."
        message = f"{where}: {field}: {text}"
        raise SpecError(message, hint=hint or "Mend that field and run again.") from error


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
