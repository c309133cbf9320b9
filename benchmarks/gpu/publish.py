"""Copy a study's raw records into docs/results, free of the paths of the machine that ran it.

    python benchmarks/gpu/publish.py STUDY_FOLDER TARGET_FOLDER --replace /somewhere/models=models

Records are decoded (their checksums verified), the texts replaced, and encoded again, so that
their checksums hold. Logs and telemetry are compressed. A path that `--replace` leaves over is an
error: nothing is published that names a folder of a machine.
"""

import argparse
import gzip
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from autotune.paths import StudyPaths
from autotune.records import TrialRecord
from autotune.store import TrialStore

_RECORD: Final = TypeAdapter(TrialRecord)
MACHINE_PATH: Final = re.compile(r"(?<![\w.>])/(?:tmp|root|work|opt|home|mnt)/[\w.-]+")
_COMPRESSED: Final = ("engine.log", "telemetry.jsonl")
_PLAIN: Final = ("launch.json",)

Replacements = Sequence[tuple[str, str]]


def publish(source: Path, target: Path, replacements: Replacements) -> int:
    """Copy one study; returns how many records it has.

    Raises:
        SystemExit: If a path of the machine would be left over.
        StoreError: If a record cannot be read, or the target holds one of that number.
    """
    records = TrialStore(StudyPaths(source)).records()
    store = TrialStore(StudyPaths(target), source.name)
    for record in records:
        text = _without(_as_json(record), replacements, f"trial {record.number}")
        folder = store.paths.trial(record.number).root
        folder.mkdir(parents=True, exist_ok=True)
        store.append(_RECORD.validate_json(text, strict=True))
        _copy_files(StudyPaths(source).trial(record.number).root, folder, replacements)
    for path in sorted(p for p in source.iterdir() if p.suffix in {".yaml", ".md", ".csv"}):
        text = _without(path.read_text(encoding="utf-8"), replacements, path.name)
        (target / path.name).write_text(text, encoding="utf-8")
    return len(records)


def _as_json(record: TrialRecord) -> str:
    """As the codec writes it: infinite figures stay."""
    return json.dumps(_RECORD.dump_python(record, mode="json"))


def _copy_files(source: Path, target: Path, replacements: Replacements) -> None:
    for name in (*_COMPRESSED, *_PLAIN):
        if not (source / name).is_file():
            continue
        text = _without((source / name).read_text(errors="replace"), replacements, name)
        if name in _PLAIN:
            (target / name).write_text(text, encoding="utf-8")
        else:
            packed = gzip.compress(text.encode(), compresslevel=9, mtime=0)
            (target / f"{name}.gz").write_bytes(packed)


def _without(text: str, replacements: Replacements, where: str) -> str:
    for old, new in replacements:
        text = text.replace(old, new)
    left = sorted(set(MACHINE_PATH.findall(text)))
    if left:
        sys.exit(f"{where} names paths of a machine: {', '.join(left[:5])}; give --replace OLD=NEW")
    return text


def main() -> None:
    """Publish one study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--replace", action="append", default=[], metavar="OLD=NEW")
    chosen = parser.parse_args()
    pairs = [tuple(text.split("=", 1)) for text in chosen.replace]
    count = publish(chosen.source, chosen.target, [(old, new) for old, new in pairs])
    sys.stdout.write(f"{count} records: {chosen.target}\n")


if __name__ == "__main__":
    main()
