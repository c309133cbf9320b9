"""A trial record as text and back, exactly, with a checksum over its content.

```json
{"sha256": "...", "record": {"schema_version": 1, ...}}
```

The checksum is taken over the record as compact JSON in the order of its keys, so that the file
may be indented for people and a changed figure is still noticed.
"""

import hashlib
import json
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from autotune.errors import StoreError
from autotune.records import SCHEMA_VERSION, TrialRecord

_ADAPTER: Final = TypeAdapter(TrialRecord)


class DamagedRecordError(Exception):
    """The text is no whole record; the store turns it into a report, never lets it out."""


def encode(record: TrialRecord) -> str:
    """The text of a record."""
    raw = _ADAPTER.dump_python(record, mode="json")
    return json.dumps({"sha256": _checksum(raw), "record": raw}, indent=1) + "\n"


def decode(text: str, *, where: str) -> TrialRecord:
    """The record of a text.

    Raises:
        DamagedRecordError: If it is not what `encode` wrote.
        StoreError: If a newer autotune wrote it.
    """
    raw = _content(text)
    version = raw.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        message = f"{where} has schema version {version}; this autotune reads {SCHEMA_VERSION}"
        raise StoreError(message, hint="Use the newer autotune that wrote it, or another study.")
    try:
        return _ADAPTER.validate_json(json.dumps(raw), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = " -> ".join(str(part) for part in first["loc"])
        message = f"{field}: {first['msg']}"
        raise DamagedRecordError(message) from error


def _content(text: str) -> dict[str, Any]:
    """The record's raw content, its checksum verified."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        message = f"is not JSON: {error}"
        raise DamagedRecordError(message) from error
    if not isinstance(whole, dict) or not isinstance(whole.get("record"), dict):
        message = "is no trial record"
        raise DamagedRecordError(message)
    record: dict[str, Any] = whole["record"]
    if whole.get("sha256") != _checksum(record):
        message = "does not match its own checksum"
        raise DamagedRecordError(message)
    return record


def _checksum(raw: dict[str, Any]) -> str:
    compact = json.dumps(raw, separators=(",", ":"))
    return hashlib.sha256(compact.encode()).hexdigest()
