"""A trial record as text and back, exactly, with a checksum over its content.

```json
{"sha256": "...", "record": {"schema_version": 1, ...}}
```

The checksum is taken over the record as compact JSON in the order of its keys, so that the file
may be indented for people and a changed figure is still noticed.

A record of an older schema is brought to this one step by step when it is read; its file stays.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from autotune.errors import StoreError
from autotune.records import SCHEMA_VERSION, TrialRecord

_ADAPTER: Final = TypeAdapter(TrialRecord)

Step = Callable[[dict[str, Any]], dict[str, Any]]

STEPS: Final[Mapping[int, Step]] = {}
"""Schema version to what makes the next one of a record's raw content. So far there is only the
first; a new field with a default needs no step."""


class DamagedRecordError(Exception):
    """The text is no whole record; the store turns it into a report, never lets it out."""


def encode(record: TrialRecord) -> str:
    """The text of a record."""
    raw = _ADAPTER.dump_python(record, mode="json")
    return json.dumps({"sha256": _checksum(_compact(raw)), "record": raw}, indent=1) + "\n"


def decode(
    text: str, *, where: str, steps: Mapping[int, Step] = STEPS, newest: int = SCHEMA_VERSION
) -> TrialRecord:
    """The record of a text.

    Args:
        text: Of a record's file.
        where: Its name, for messages.
        steps: From each older schema version to the next.
        newest: The version that they lead to.

    Raises:
        DamagedRecordError: If it is not what `encode` wrote.
        StoreError: If a newer autotune wrote it.
    """
    raw, compact = _content(text)
    made = _migrated(raw, where, steps, newest)
    try:
        return _ADAPTER.validate_json(compact if made is raw else _compact(made), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = " -> ".join(str(part) for part in first["loc"])
        message = f"{field}: {first['msg']}"
        raise DamagedRecordError(message) from error


def _migrated(
    raw: dict[str, Any], where: str, steps: Mapping[int, Step], newest: int
) -> dict[str, Any]:
    version = raw.get("schema_version")
    if not isinstance(version, int):
        return raw  # whoever validates says so
    if version > newest:
        message = f"{where} has schema version {version}; this autotune reads {newest}"
        raise StoreError(message, hint="Use the newer autotune that wrote it, or another study.")
    while version < newest:
        step = steps.get(version)
        if step is None:
            message = f"there was never a schema version {version}"
            raise DamagedRecordError(message)
        version += 1
        raw = {**step(raw), "schema_version": version}
    return raw


def _content(text: str) -> tuple[dict[str, Any], str]:
    """The record's raw content and its compact text, its checksum verified."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        message = f"is not JSON: {error}"
        raise DamagedRecordError(message) from error
    if not isinstance(whole, dict) or not isinstance(whole.get("record"), dict):
        message = "is no trial record"
        raise DamagedRecordError(message)
    record: dict[str, Any] = whole["record"]
    compact = _compact(record)
    if whole.get("sha256") != _checksum(compact):
        message = "does not match its own checksum"
        raise DamagedRecordError(message)
    return record, compact


def _compact(raw: dict[str, Any]) -> str:
    return json.dumps(raw, separators=(",", ":"))


def _checksum(compact: str) -> str:
    return hashlib.sha256(compact.encode()).hexdigest()
