"""Where a running vLLM says what it runs with, and which names mean the same (`applied.yaml`)."""

import re
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from autotune.engines.vllm.releases import Window, release_table
from autotune.records import Scalar
from autotune.spec.files import StrictModel, read_yaml, validate

PLACES_FILE: Final = Path(__file__).with_name("applied.yaml")
_WHOLE: Final = re.compile(r"-?\d+")


class Places(StrictModel):
    """Where one parameter's effective value is found; `applied.yaml` explains the fields."""

    paths: tuple[str, ...] = Field(default=(), alias="json")
    label: str | None = None
    text: str | None = None
    log: str | None = None
    scale: int = 1
    argument: str | None = None
    argument_with: str | None = None


class Named(Window):
    """A name that holds for some releases."""

    name: str


class PlacesTable(StrictModel):
    """The whole of `applied.yaml`."""

    parameters: dict[str, Places]
    same_names: dict[str, dict[str, str]]
    equal_values: dict[str, dict[str, str]]
    open_values: dict[str, tuple[Scalar, ...]]
    cpu_backends: tuple[Named, ...]


@cache
def places() -> PlacesTable:
    """The declared table, read once."""
    return validate(PlacesTable, read_yaml(PLACES_FILE), where=PLACES_FILE.name)


def as_scalar(name: str, raw: Any, scale: int = 1) -> Scalar | None:
    """A raw value as this program's own: number, truth value or canonical name."""
    if raw is None or raw in ("None", ""):
        return None
    if isinstance(raw, list | tuple):
        raw = str(list(raw))
    if isinstance(raw, str):
        text = canonical(name, raw.strip("'\""))
        if text.lower() in {"true", "false"}:
            return text.lower() == "true"
        number = _number(text)
        if number is None:
            return text
        raw = number
    if isinstance(raw, bool):
        return raw
    if not isinstance(raw, int | float):
        return canonical(name, str(raw))
    if scale != 1:
        return round(raw / scale, 4)
    facts = release_table().find(name)
    kind = "number" if facts is None else facts.kind
    if kind == "boolean":
        return bool(raw)
    return canonical(name, str(raw)) if kind == "choice" else raw


def canonical(name: str, value: str) -> str:
    """One name for what vLLM calls differently from place to place."""
    if name == "attention_backend":
        value = value.rpartition(".")[2].upper().replace(" ", "_").removesuffix("_VLLM_V1")
    return places().same_names.get(name, {}).get(value, value)


def agree(name: str, asked: Scalar, got: Scalar) -> bool:
    """Whether an effective value is what was asked: 1 is True, fp8 is fp8_e4m3, auto is open."""
    if asked in places().open_values.get(name, ()):
        return True
    wanted, have = _comparable(name, asked), _comparable(name, got)
    if isinstance(wanted, float) and isinstance(have, float):
        return abs(wanted - have) <= 1e-4 * max(1.0, abs(wanted))
    if name == "kv_cache_dtype" and have == "auto":
        return wanted in {"bfloat16", "float16"}  # the model's own type, under its own name
    return wanted == have


def _comparable(name: str, value: Scalar) -> str | float:
    """Numbers and truth values as a number, names in one spelling."""
    if isinstance(value, bool | int | float):
        return float(value)
    text = canonical(name, value)
    text = places().equal_values.get(name, {}).get(text, text)
    if text.lower() in {"true", "false"}:
        return float(text.lower() == "true")
    number = _number(text)
    return text if number is None else float(number)


def _number(text: str) -> int | float | None:
    if _WHOLE.fullmatch(text):
        return int(text)
    try:
        return float(text)
    except ValueError:
        return None
