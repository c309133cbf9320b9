"""YAML with comments: PyYAML writes none, and every flag of an export carries its reason."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from autotune.report.untrusted import clean, one_line

_WIDTH: Final = 96
_PLAIN: Final = re.compile(r"^[A-Za-z0-9_./$-][A-Za-z0-9_./@:+=,${}-]*$")
# YAML 1.1 readers (PyYAML, older compose) take these bare words for booleans.
_WORDS: Final = frozenset({"y", "n"})


@dataclass(frozen=True)
class Commented:
    """A node with a comment on the lines above it."""

    value: Any
    comment: str


def to_yaml(document: Mapping[str, Any]) -> str:
    """A mapping of mappings, sequences, scalars and `Commented` nodes as block-style YAML."""
    return "\n".join(_mapping(document, 0)) + "\n"


def comment_lines(text: str, indent: int = 0) -> list[str]:
    """A comment, wrapped; the text may come from elsewhere and cannot end it early."""
    pad = " " * indent
    paragraphs = [one_line(part) for part in text.splitlines()] or [""]
    width = max(30, _WIDTH - indent)
    return [
        f"{pad}# {line}".rstrip()
        for paragraph in paragraphs
        for line in textwrap.wrap(paragraph, width, break_on_hyphens=False) or [""]
    ]


def scalar(value: object) -> str:
    """A scalar so that every YAML reader gets the same value back.

    Raises:
        TypeError: If it is not a string, number, boolean or None.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if not isinstance(value, str):
        message = f"{type(value).__name__} is no YAML scalar"
        raise TypeError(message)
    text = clean(value)
    if _PLAIN.match(text) and text.lower() not in _WORDS and _reads_back(text):
        return text
    quoted = yaml.safe_dump(text, default_style='"', width=10**9, allow_unicode=True)
    return str(quoted).rstrip("\n")


def _reads_back(text: str) -> bool:
    try:
        return bool(yaml.safe_load(text) == text)
    except (yaml.YAMLError, ValueError):  # ValueError: looks like a date and is none
        return False


def _mapping(node: Mapping[str, Any], indent: int) -> list[str]:
    lines = []
    for key, raw in node.items():
        value = raw
        if isinstance(raw, Commented):
            lines += comment_lines(raw.comment, indent)
            value = raw.value
        lines += _entry(f"{' ' * indent}{scalar(key)}:", value, indent + 2)
    return lines


def _sequence(node: Sequence[Any], indent: int) -> list[str]:
    lines = []
    for raw in node:
        value = raw
        if isinstance(raw, Commented):
            lines += comment_lines(raw.comment, indent)
            value = raw.value
        if isinstance(value, Mapping) and value:
            inner = _mapping(value, indent + 2)
            lines += [f"{' ' * indent}- {inner[0].lstrip()}", *inner[1:]]
        else:
            lines += _entry(f"{' ' * indent}-", value, indent + 2)
    return lines


def _entry(head: str, value: Any, indent: int) -> list[str]:
    """`head` with its value on the same line or on the lines below."""
    if isinstance(value, Mapping):
        return [head, *_mapping(value, indent)] if value else [f"{head} {{}}"]
    if isinstance(value, list | tuple):
        return [head, *_sequence(value, indent)] if value else [f"{head} []"]
    return [f"{head} {scalar(value)}"]
