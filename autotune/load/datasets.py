"""Prompts from files: ShareGPT's JSON and own JSONL."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from autotune.errors import SpecError

_HINT: Final = (
    'Either ShareGPT\'s JSON ([{"conversations": [{"from": "human", "value": ...}, ...]}, ...]) '
    'or JSONL with {"prompt": ..., "output_tokens": ...} per line.'
)


@dataclass(frozen=True, kw_only=True)
class DatasetEntry:
    """One question of a data set.

    Attributes:
        output_tokens: Length of the answer to ask for; None leaves it to the workload.
        chat: Whether it is sent as a chat message.
    """

    prompt: str
    output_tokens: int | None = None
    chat: bool = True


def read_dataset(path: Path) -> tuple[DatasetEntry, ...]:
    """Read a data set; a name that ends in .jsonl is own JSONL, any other ShareGPT's JSON.

    Raises:
        SpecError: Naming the file and the line or the entry.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise SpecError(message, hint="Check workload.dataset.") from error
    entries = tuple(_own(path, raw) if path.suffix == ".jsonl" else _share_gpt(path, raw))
    if not entries:
        message = f"{path} holds no prompt"
        raise SpecError(message, hint=_HINT)
    return entries


def _own(path: Path, raw: bytes) -> Iterator[DatasetEntry]:
    for number, line in enumerate(raw.splitlines(), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        row = _parsed(line, where)
        prompt = row.get("prompt") if isinstance(row, dict) else None
        if not isinstance(prompt, str) or not prompt:
            message = f"{where}: no prompt"
            raise SpecError(message, hint=_HINT)
        yield DatasetEntry(
            prompt=prompt,
            output_tokens=_positive(row, "output_tokens", where),
            chat=bool(row.get("chat", True)),
        )


def _share_gpt(path: Path, raw: bytes) -> Iterator[DatasetEntry]:
    rows = _parsed(raw, str(path))
    if not isinstance(rows, list):
        message = f"{path}: no list of conversations"
        raise SpecError(message, hint=_HINT)
    for row in rows:
        turns = row.get("conversations") if isinstance(row, dict) else None
        if not isinstance(turns, list) or len(turns) < 2:
            continue  # as vLLM's sampler does: a question without an answer is left out
        first = turns[0]
        if isinstance(first, dict) and first.get("from") in {"human", "user"}:
            question = first.get("value")
            if isinstance(question, str) and question:
                yield DatasetEntry(prompt=question)


def _parsed(text: bytes, where: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        message = f"{where}: no JSON: {error}"
        raise SpecError(message, hint=_HINT) from error


def _positive(row: Mapping[str, Any], name: str, where: str) -> int | None:
    value = row.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        message = f"{where}: {name} must be a positive whole number, not {value!r}"
        raise SpecError(message, hint=_HINT)
    return value
