"""Optuna's database: made whole or not at all, and what is wrong with it is told."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from optuna.storages import RDBStorage

from autotune.errors import StoreError
from autotune.paths import StudyPaths
from autotune.spec.space import space_from
from autotune.spec.study import study_from
from autotune.store import TrialStore
from autotune.study import storage as storages
from autotune.study.storage import open_ledger, open_storage, open_study, write_attributes

SPEC = study_from({"name": "s"}, where="test")


def test_a_kill_while_the_database_is_made_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a database would lack the index that keeps a study from being there twice."""
    database = tmp_path / "optuna.db"

    class Killed(RDBStorage):
        def __init__(self, url: str) -> None:
            with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as half:
                half.execute("CREATE TABLE studies (study_id INTEGER, study_name VARCHAR)")
                half.commit()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(storages, "RDBStorage", Killed)
        with pytest.raises(KeyboardInterrupt):
            open_storage(database)
    assert not database.exists()

    for _ in range(2):
        assert open_study(open_storage(database), SPEC).study_name == "s"
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_database_that_holds_the_study_twice_is_told(tmp_path: Path) -> None:
    """Releases that made it in steps could leave such a one: a message and the way out."""
    database = tmp_path / "optuna.db"
    open_study(open_storage(database), SPEC)
    with closing(sqlite3.connect(database)) as spoilt:
        spoilt.execute("DROP INDEX ix_studies_study_name")
        spoilt.execute("INSERT INTO studies (study_name) VALUES ('s')")
        spoilt.commit()
    with pytest.raises(StoreError, match=r"optuna\.db cannot be used") as raised:
        open_study(open_storage(database), SPEC)
    assert "made again" in raised.value.hint


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE trials SET state = 'NONSENSE'",
        "UPDATE trial_params SET distribution_json = '{'",
        "UPDATE trial_values SET value_type = 'x'",
        "UPDATE trials SET datetime_start = 'soon'",
    ],
)
def test_rows_that_optuna_never_wrote_are_told(tmp_path: Path, spoil: str) -> None:
    """A bit that flips in a row is no damage to SQLite, and no traceback here."""
    space = space_from({"parameters": {"max_num_seqs": {"choices": [1, 2]}}, "name": "x"}, where="")
    paths = StudyPaths(tmp_path / "s")
    store = TrialStore(paths, "s")
    study = open_ledger(paths, SPEC, space, store)
    trial = study.ask()
    trial.suggest_int("max_num_seqs", 1, 2)
    study.tell(trial, [1.0] * len(SPEC.objectives))
    study._storage.remove_session()
    with closing(sqlite3.connect(paths.database)) as spoilt:
        spoilt.execute(spoil)
        spoilt.commit()
    with pytest.raises(StoreError, match=r"optuna\.db cannot be used"):
        open_ledger(paths, SPEC, space, store)


def test_pages_that_sqlite_never_wrote_are_told(tmp_path: Path) -> None:
    """Blanked from the second page on, as a power cut may leave it."""
    database = tmp_path / "optuna.db"
    storage = open_storage(database)
    open_study(storage, SPEC)
    storage.remove_session()
    storage.engine.dispose()
    with closing(sqlite3.connect(database)) as whole:
        whole.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = database.read_bytes()
    database.write_bytes(data[:4096] + bytes(len(data) - 4096))
    with pytest.raises(StoreError, match=r"optuna\.db cannot be used"):
        open_storage(database)


def test_attributes_are_written_as_optuna_writes_them(tmp_path: Path) -> None:
    """Read back by Optuna itself: values, types, constraints; what was there is replaced."""
    study = open_study(open_storage(tmp_path / "optuna.db"), SPEC)
    ours, theirs = study.ask(), study.ask()
    attributes: dict[str, str | bool | float] = {
        "kind": "search",
        "simulated": True,
        "ns": 3,
        "gib": 0.25,
    }
    constraints = {"start": -1.0, "limit:ttft_8k_ns": 0.1}
    write_attributes(ours, constraints={"start": 1.0}, attributes={"kind": "seed", "ns": 1})
    write_attributes(ours, constraints=constraints, attributes=attributes)
    for name, value in attributes.items():
        theirs.set_user_attr(name, value)
    for key, constraint in constraints.items():
        theirs.set_constraint(key, constraint)

    fresh = open_study(open_storage(tmp_path / "optuna.db"), SPEC).get_trials()
    one, other = fresh[ours.number], fresh[theirs.number]
    assert one.user_attrs == other.user_attrs == attributes
    assert one.constraints == other.constraints == constraints
