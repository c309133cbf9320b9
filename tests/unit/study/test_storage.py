"""Optuna's database: made whole or not at all, and what is wrong with it is told."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from optuna.storages import RDBStorage

from autotune.errors import StoreError
from autotune.spec.study import study_from
from autotune.study import storage as storages
from autotune.study.storage import open_storage, open_study

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
