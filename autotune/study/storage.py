"""Optuna's database: a view of the store that can be made again at any time.

SQLite with write-ahead logging and a time-out of 60 s survives kills and lets the dashboard read
while the study writes (measured; `docs/search.md`). `synchronous=NORMAL` may lose the last
writes in a power cut, never the file's integrity; the store is the truth, so nothing is lost.
"""

import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import RandomSampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from autotune.errors import StoreError
from autotune.paths import StudyPaths
from autotune.records import Scalar, TrialRecord
from autotune.spec.space import SearchSpace
from autotune.spec.study import StudySpec
from autotune.store.records import TrialStore
from autotune.study.attributes import attributes_of, displayed, objective_titles
from autotune.study.distributions import distributions_of, raw_values
from autotune.study.outcomes import Told, told_as

TIMEOUT_S: Final = 60
CACHE_KIB: Final = 1024
"""Pages that SQLite keeps: those of some 100 trials. Its default is twice that, so that memory
would still grow while the database is small."""

_DAMAGED: Final = (
    SQLAlchemyError, optuna.exceptions.OptunaError, ValueError, TypeError, LookupError,
    AssertionError, RuntimeError,
)  # fmt: skip
"""What Optuna's reading raises where rows hold what it never wrote."""

_UPSERT: Final = (
    "INSERT INTO {table} (trial_id, key, value_json) VALUES (?, ?, ?) "
    "ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json"
)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna's notes about its own experimental calls off the terminal."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


@contextmanager
def writing(database: Path) -> Iterator[None]:
    """Quiet, and a database that refuses is an error of ours.

    Raises:
        StoreError: If the disk is full or the file is damaged.
    """
    try:
        with quiet():
            yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        first = str(error.__cause__ or error).splitlines()[0]
        message = f"{database} cannot be written: {first}"
        hint = "Check free space of that disk; the records are safe, the same command goes on."
        raise StoreError(message, hint=hint) from error


def write_attributes(
    trial: optuna.Trial, *, constraints: Mapping[str, float], attributes: Mapping[str, Scalar]
) -> None:
    """Put constraints and user attributes of a trial into the database, all or none of them.

    As Optuna's `set_constraint` and `set_user_attr` write them (5.0.0, `trial/_trial.py`), which
    take a transaction for each: with a hundred of them a quarter of a simulated trial's time.
    """
    backend = getattr(trial.storage, "_backend", trial.storage)  # under Optuna's cache
    if not isinstance(backend, RDBStorage):
        raise TypeError(backend)
    named = {f"constraints:{key}": float(value) for key, value in constraints.items()}
    with backend.engine.begin() as connection:
        for table, values in (
            ("trial_system_attributes", named),
            ("trial_user_attributes", attributes),
        ):
            rows = [(trial._trial_id, key, json.dumps(v)) for key, v in values.items()]  # noqa: SLF001
            if rows:
                connection.exec_driver_sql(_UPSERT.format(table=table), rows)


def storage_url(database: Path) -> str:
    """The database as SQLAlchemy names it."""
    return f"sqlite:///{database}"


def open_storage(database: Path) -> RDBStorage:
    """Open or make the database.

    Raises:
        StoreError: If it is damaged, from another Optuna, or the disk refuses.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    try:
        with quiet():
            if not database.exists():
                _make_database(database)
            storage = RDBStorage(
                storage_url(database), engine_kwargs={"connect_args": {"timeout": TIMEOUT_S}}
            )
        event.listen(storage.engine, "connect", _on_connect)
        storage.engine.dispose()  # connections made before the listener was there
        with storage.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            found = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())
        if found != "ok":
            raise _unusable(str(database), RuntimeError(found))
    except (SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError, OSError) as error:
        raise _unusable(str(database), error) from error
    return storage


def _unusable(database: str, error: Exception) -> StoreError:
    message = f"{database} cannot be used: {error.__cause__ or error}".splitlines()[0]
    hint = "Delete or rename it; it is made again from the trial records."
    return StoreError(message, hint=hint)


def _make_database(database: Path) -> None:
    """Make an empty one, wholly or not at all.

    A kill between two of its tables would leave one that lacks an index, in which a study can be
    there twice and so never be opened again.
    """
    unfinished = database.with_name(f".{database.name}.{os.getpid()}.new")
    unfinished.unlink(missing_ok=True)
    RDBStorage(storage_url(unfinished)).engine.dispose()
    unfinished.replace(database)


def _on_connect(connection: Any, _record: Any) -> None:
    """SQLAlchemy's hook; sqlite3 connections are untyped there."""
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")


def open_study(storage: RDBStorage, spec: StudySpec) -> optuna.Study:
    """Open or make the study of a name in a database.

    Raises:
        StoreError: If the database is damaged or the disk refuses.
    """
    try:
        with quiet():
            study = optuna.create_study(
                storage=storage,
                study_name=spec.name,
                directions=[objective.direction for objective in spec.objectives],
                sampler=RandomSampler(seed=spec.seed),  # never asked: proposals are enqueued
                load_if_exists=True,
            )
            if not study.metric_names:
                study.set_metric_names(list(objective_titles(spec)))
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise _unusable(str(storage.engine.url.database), error) from error
    return study


def open_ledger(
    paths: StudyPaths, spec: StudySpec, space: SearchSpace, store: TrialStore
) -> optuna.Study:
    """The study's ledger, made again from the records if it does not fit them.

    Raises:
        StoreError: If the database cannot be used.
    """
    study = open_study(open_storage(paths.database), spec)
    records = store.records()
    try:
        fits = _fits(study, records)
    except _DAMAGED as error:
        raise _unusable(str(paths.database), error) from error
    if not fits:
        return rebuild(paths, spec, space, records, numbers=store.next_number())
    return study


def rebuild(
    paths: StudyPaths,
    spec: StudySpec,
    space: SearchSpace,
    records: Sequence[TrialRecord],
    *,
    numbers: int = 0,
) -> optuna.Study:
    """Make the database again from records; the old one is kept beside it as `.old`.

    Numbers without a record (their trial was never finished, or its record is damaged) become
    failed trials, so that a record's number stays Optuna's number and no folder is used twice.
    """
    for suffix in ("-wal", "-shm", ""):  # a log beside another database would be read into it
        file = paths.database.with_name(paths.database.name + suffix)
        if file.exists():
            file.replace(file.with_name(f"{paths.database.name}.old{suffix}"))
    study = open_study(open_storage(paths.database), spec)
    distributions = distributions_of(space)
    by_number = {record.number: record for record in records}
    for number in range(max(numbers, max(by_number, default=-1) + 1)):
        record = by_number.get(number)
        if record is None:
            study.add_trial(_placeholder())
        else:
            study.add_trial(frozen(record, spec, space, distributions, root=paths.root))
    return study


def frozen(
    record: TrialRecord,
    spec: StudySpec,
    space: SearchSpace,
    distributions: dict[str, BaseDistribution],
    root: Path | None = None,
) -> FrozenTrial:
    """A finished trial in Optuna's form."""
    told = told_as(record, spec)
    params = raw_values(space, record.configuration)
    trial = optuna.trial.create_trial(
        state=told.state,
        values=displayed_values(told, spec),
        params=params,
        distributions={name: distributions[name] for name in params},
        constraints=dict(told.constraints),
        user_attrs=attributes_of(record, root=root),
    )
    start = _start(record)
    trial.datetime_start = start
    trial.datetime_complete = start + _duration(record)
    return trial


def displayed_values(told: Told, spec: StudySpec) -> list[float] | None:
    """Objectives in the units that the ledger and its dashboard show."""
    if told.values is None:
        return None
    pairs = zip(spec.objectives, told.values, strict=True)
    return [displayed(objective.metric, value)[1] for objective, value in pairs]


def _placeholder() -> FrozenTrial:
    return optuna.trial.create_trial(
        state=TrialState.FAIL, user_attrs={"outcome": "no record", "failure": "interrupted"}
    )


def _fits(study: optuna.Study, records: Sequence[TrialRecord]) -> bool:
    """Whether each record has its trial and the ledger holds no result without a record."""
    trials = study.get_trials(deepcopy=False)
    if records and records[-1].number >= len(trials):
        return False
    numbers = {record.number for record in records}
    finished = {t.number for t in trials if t.state in {TrialState.COMPLETE, TrialState.PRUNED}}
    return finished <= numbers


def _start(record: TrialRecord) -> datetime:
    """Wall time as Optuna keeps it: local and naive."""
    try:
        start = datetime.fromisoformat(record.wall_start)
    except ValueError:
        start = datetime.fromtimestamp(0, tz=UTC)
    return start.astimezone().replace(tzinfo=None)


def _duration(record: TrialRecord) -> timedelta:
    if not record.phases:
        return timedelta(0)
    span = max(p.end_ns for p in record.phases) - min(p.start_ns for p in record.phases)
    return timedelta(microseconds=span / 1000)
