"""The record store on disk."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.errors import StoreError
from autotune.paths import StudyPaths
from autotune.records import Configuration, ProbeResult, ProbeStatus
from autotune.store import TrialStore
from autotune.store.codec import encode
from tests.support.records import record, study_records


@pytest.fixture
def store(tmp_path: Path) -> TrialStore:
    """An empty store of the study `sample`."""
    return TrialStore(StudyPaths(tmp_path / "sample"))


def test_records_come_back_equal(store: TrialStore) -> None:
    """A whole study written and read again is equal to what was written."""
    written = study_records(20)
    for item in written:
        store.append(item)
    assert store.records() == written


def test_kinds_of_values_stay_apart(store: TrialStore) -> None:
    """True, 1, 1.0 and "1" are four values before and after the disk."""
    asked = Configuration.of({"a": True, "b": 1, "c": 1.0, "d": "1", "e": 0.1 + 0.2})
    store.append(record(0, config=asked))
    back = store.records()[0].configuration
    assert [(n, type(v), v) for n, v in back.items] == [(n, type(v), v) for n, v in asked.items]


def test_order_of_constraints_survives(store: TrialStore) -> None:
    """Samplers pair constraints by position, so their order is part of the record."""
    store.append(replace(record(0), constraints={"z": 1.0, "a": -1.0, "m": 0.0}))
    assert list(store.records()[0].constraints) == ["z", "a", "m"]


def test_infinite_and_missing_figures_survive(store: TrialStore) -> None:
    """None stays "not measured", and an infinite figure stays infinite."""
    store.append(record(0, metrics={"ttft_8k_ns": None, "preemptions_count": float("inf")}))
    metrics = store.records()[0].metrics
    assert metrics["ttft_8k_ns"] is None
    assert metrics["preemptions_count"] == float("inf")


def test_samples_come_back_as_tuples(store: TrialStore) -> None:
    """Raw repeats keep their type, so that records stay comparable."""
    probe = ProbeResult(probe="ttft", status=ProbeStatus.MEASURED, samples={"t": (1.0, 2.5)})
    store.append(replace(record(0), probes=(probe,)))
    assert store.records()[0].probes[0].samples == {"t": (1.0, 2.5)}


def test_a_record_is_never_overwritten(store: TrialStore) -> None:
    """Appending a number twice is an error, and the first record stays."""
    first = record(3)
    store.append(first)
    with pytest.raises(StoreError, match="never overwritten"):
        store.append(replace(first, label="other"))
    assert store.records() == (first,)


def test_a_foreign_record_is_refused(store: TrialStore) -> None:
    """A record of another study does not get in."""
    with pytest.raises(StoreError, match="does not belong"):
        store.append(record(0, study="other"))


def test_next_number_is_above_every_folder(store: TrialStore) -> None:
    """A folder left by a dead trial keeps its number, for its log is evidence."""
    assert store.next_number() == 0
    store.append(record(4))
    store.paths.trial(9).root.mkdir(parents=True)
    assert store.next_number() == 10


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda text: text[: len(text) // 2], "is not JSON"),
        (lambda _text: "", "is not JSON"),
        (lambda _text: "[1, 2]", "is no trial record"),
        (lambda text: text.replace('"search"', '"seed"'), "checksum"),
        (lambda text: text.replace('"number": 1', '"number": 2'), "checksum"),
    ],
)
def test_a_damaged_record_is_set_aside(store: TrialStore, spoil: object, reason: str) -> None:
    """A record that was cut off or changed is reported and kept under another name."""
    store.append(record(0))
    store.append(record(1))
    path = store.paths.trial(1).record
    assert callable(spoil)
    spoilt = spoil(path.read_text())
    assert spoilt != path.read_text()
    path.write_text(spoilt)
    stored = store.read_all(mend=True)
    assert [r.number for r in stored.records] == [0]
    (damaged,) = stored.damaged
    assert damaged.number == 1
    assert reason in damaged.reason
    assert damaged.path.read_text() == spoilt
    assert not path.exists()


def test_bytes_that_are_no_text_are_set_aside(store: TrialStore) -> None:
    """A file of zeros, as a power cut may leave, is damage and no crash."""
    store.append(record(0))
    store.paths.trial(0).record.write_bytes(b"\xff\xfe\x00" * 10)
    assert [d.reason for d in store.read_all(mend=True).damaged] == ["is not UTF-8 text"]


@pytest.mark.parametrize("what", ["folder", "nowhere", "itself", "device"])
def test_what_is_no_file_is_reported_and_set_aside(store: TrialStore, what: str) -> None:
    """A record in whose place something else lies is lost, and says so."""
    store.append(record(0))
    path = store.paths.trial(0).record
    path.unlink()
    if what == "folder":
        path.mkdir()
    else:
        path.symlink_to({"nowhere": "/nowhere", "itself": path.name, "device": "/dev/null"}[what])
    (damaged,) = store.read_all(mend=True).damaged
    assert "no file" in damaged.reason
    assert damaged.path.name == "trial.json.damaged"
    assert store.read_all(mend=True).damaged == ()


def test_damage_is_reported_once_and_never_overwritten(store: TrialStore) -> None:
    """A second damaged record of the same trial gets a name of its own."""
    for text in ("one", "two"):
        store.append(record(0))
        store.paths.trial(0).record.write_text(text)
        assert len(store.read_all(mend=True).damaged) == 1
    assert store.read_all(mend=True).damaged == ()
    kept = sorted(p.read_text() for p in store.paths.trial(0).root.glob("*.damaged*"))
    assert kept == ["one", "two"]


def test_a_moved_record_is_foreign(store: TrialStore) -> None:
    """A record that lies in another trial's folder is set aside: numbers are names."""
    store.append(record(0))
    other = store.paths.trial(5).record
    other.parent.mkdir(parents=True)
    store.paths.trial(0).record.rename(other)
    (damaged,) = store.read_all(mend=True).damaged
    assert "belongs to trial 0" in damaged.reason


@pytest.mark.parametrize("name", ["1", "\u0661", "001", "00001", "1" * 200])
def test_a_folder_that_only_resembles_a_trials_is_told_and_not_counted(
    store: TrialStore, name: str
) -> None:
    """A copy of a trial's folder is no second trial, and moves no number."""
    for number in range(3):
        store.append(record(number))
    shutil.copytree(store.paths.trial(1).root, store.paths.trials / name)
    stored = store.read_all(mend=True)
    assert [r.number for r in stored.records] == [0, 1, 2]
    (damaged,) = stored.damaged
    assert "no trial's" in damaged.reason
    assert store.set_aside() == (store.paths.trials / name / "trial.json.damaged",)
    assert store.next_number() == 3


@pytest.mark.parametrize("name", ["20261127", "9" * 200])
def test_a_folder_that_is_named_by_a_date_is_no_trial(store: TrialStore, name: str) -> None:
    """Else the database would be filled up to that number."""
    store.append(record(0))
    (store.paths.trials / name).mkdir()
    assert store.next_number() == 1
    assert store.read_all().damaged == ()


def test_what_is_set_aside_takes_no_links_place(store: TrialStore) -> None:
    """A link to nowhere has a name, too."""
    store.append(record(0))
    path = store.paths.trial(0).record
    path.write_text("spoilt")
    path.with_name("trial.json.damaged").symlink_to("/nowhere")
    (damaged,) = store.read_all(mend=True).damaged
    assert damaged.path.name == "trial.json.damaged-2"
    assert path.with_name("trial.json.damaged").is_symlink()


def test_a_newer_schema_stops_the_command(store: TrialStore) -> None:
    """A record of a newer autotune is no damage: it is left where it is and named."""
    newer = replace(record(0), schema_version=99)
    store.append(newer)
    with pytest.raises(StoreError, match="schema version 99"):
        store.read_all()
    assert store.paths.trial(0).record.exists()


def test_a_full_disk_leaves_nothing_behind(
    store: TrialStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the disk refuses there is neither a record nor half of one."""

    def refuse(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("autotune.store.files.os.fsync", refuse)
    with pytest.raises(StoreError, match="No space left"):
        store.append(record(0))
    assert list(store.paths.trial(0).root.iterdir()) == []


def test_a_power_cut_finds_a_record_whole_or_not_at_all(
    store: TrialStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On disk before its name is, and its name before anybody is told (fsync(2), rename(2))."""
    path = store.paths.trial(0).record
    steps: list[tuple[str, bool]] = []

    def noted(descriptor: int) -> None:
        synced = Path(f"/proc/self/fd/{descriptor}").readlink()
        name = synced.name if synced.is_dir() else synced.read_text()
        steps.append((name, path.exists()))

    monkeypatch.setattr("autotune.store.files.os.fsync", noted)
    store.append(record(0))
    assert steps == [
        (encode(record(0)), False),
        ("0000", True),
        ("trials", True),
        (store.paths.name, True),
    ]


def test_the_file_is_for_people_too(store: TrialStore) -> None:
    """A record is indented JSON with the figures under their declared tags."""
    store.append(record(0))
    text = store.paths.trial(0).record.read_text()
    assert "\n" in text.strip()
    assert json.loads(text)["record"]["metrics"]["context_capacity_tokens"] > 0


def test_who_only_looks_changes_nothing(store: TrialStore) -> None:
    """The damaged record is reported at every look, where it lies."""
    store.append(record(0))
    path = store.paths.trial(0).record
    path.write_text(path.read_text()[:-20])
    for _ in range(2):
        (damaged,) = store.read_all().damaged
        assert damaged.path == path
        assert store.records() == ()
    assert path.exists()
