"""Records of an older schema are read as of this one."""

from dataclasses import replace
from typing import Any

import pytest

from autotune.records import SCHEMA_VERSION
from autotune.store.codec import DamagedRecordError, decode, encode
from tests.support.records import record


def renamed(raw: dict[str, Any]) -> dict[str, Any]:
    """From a schema in which the label was called `title`."""
    return {**{k: v for k, v in raw.items() if k != "title"}, "label": raw["title"]}


def from_one_more_to_two_more(raw: dict[str, Any]) -> dict[str, Any]:
    """The next schema marks its labels."""
    return {**raw, "label": f"<{raw['label']}>"}


def test_an_old_record_takes_every_step_in_order_and_keeps_the_rest() -> None:
    """From two versions before the newest, by one step each."""
    old, new = SCHEMA_VERSION, SCHEMA_VERSION + 2
    written = replace(record(3), label="baseline")
    steps = {old: lambda raw: renamed({**raw, "title": raw["label"]}),
             old + 1: from_one_more_to_two_more}  # fmt: skip
    found = decode(encode(written), where="x", steps=steps, newest=new)
    assert found == replace(written, label="<baseline>", schema_version=new)


def test_a_record_of_this_version_takes_no_step() -> None:
    """Steps are for what is older."""
    written = record(3)
    steps = {SCHEMA_VERSION: from_one_more_to_two_more}
    assert decode(encode(written), where="x", steps=steps) == written


def test_a_version_that_never_was_is_damage() -> None:
    """Nobody knows what its fields mean."""
    with pytest.raises(DamagedRecordError, match="never a schema version 0"):
        decode(encode(replace(record(3), schema_version=0)), where="x")
