"""optuna-dashboard on a study, told what it does not see by itself.

optuna-dashboard 0.21.0 shows every trial as feasible, for it reads the constraints of Optuna 4
(one system attribute) and not those of Optuna 5 (`FrozenTrial.constraints`), and its "Best
Trials" ignore constraints in any case. So its answers are amended on their way out: constraints,
best trials, objectives as the report's front has them (means), importances, a note and files per
trial, figures per study. Nothing of it is written to the
database: the trial records and folders say it, whenever the page is looked at.

Read-only unless asked otherwise: it has no authentication, and every writer in it is open.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import optuna
import optuna_dashboard
import orjson
from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import RDBStorage

from autotune.errors import StoreError
from autotune.paths import StudyPaths
from autotune.records import TrialRecord
from autotune.seams.deployment import LOOPBACK
from autotune.store.codec import DamagedRecordError, decode
from autotune.study.dashboard_drawn import Attachment, Pages, StudyPage, TrialPage
from autotune.study.dashboard_http import (
    answer,
    answer_file,
    answer_read_only,
    call,
    host_of,
)
from autotune.study.storage import open_storage

__all__ = ["Attachment", "Pages", "StudyPage", "TrialPage", "dashboard_app"]

_READING: Final = ("GET", "HEAD", "OPTIONS")
_NAMESPACE: Final = uuid.UUID("6f1b3c1e-6a55-4f0e-9d5c-0f4f4e0c7a11")
"""For ids of files that are the same at every look; drawn once."""


def dashboard_app(
    paths: StudyPaths,
    pages: Pages,
    *,
    write: bool = False,
    hosts: Sequence[str] | None = LOOPBACK,
) -> WSGIApplication:
    """optuna-dashboard on a study's database, as a WSGI application.

    It reads while a study runs (SQLite with write-ahead logging).

    Args:
        paths: The study's files.
        pages: Draws notes, files and figures.
        write: Let the page change and delete; else whatever is not a look is refused (405).
        hosts: Names under which it may be called; others are refused (403), so that a web page
            elsewhere cannot reach it through a name that it points at this machine. None
            allows any, for an address that was opened on purpose.

    Raises:
        StoreError: If there is no database or it cannot be read.
    """
    if not paths.database.is_file():
        message = f"there is no database at {paths.database}"
        raise StoreError(message, hint="Run the study first; its first trial makes it.")
    storage = open_storage(paths.database)
    with suppress(OSError):  # a study that may only be read
        paths.artifacts.mkdir(exist_ok=True)
    inner = optuna_dashboard.wsgi(
        storage, artifact_store=FileSystemArtifactStore(str(paths.artifacts))
    )
    return _Amended(inner, storage, _Shown(paths, pages), write=write, hosts=hosts)


class _Shown:
    """What is shown of each trial, drawn once: a record never changes."""

    def __init__(self, paths: StudyPaths, pages: Pages) -> None:
        self._paths, self._pages = paths, pages
        self._trials: dict[int, tuple[TrialRecord, TrialPage]] = {}
        self._study: tuple[int, StudyPage] | None = None
        self._importances: tuple[int, Sequence[Mapping[str, float]]] | None = None

    def trial(self, number: int) -> tuple[TrialRecord, TrialPage] | None:
        """Record and page of a trial; None while it runs, or if its record is damaged."""
        if number not in self._trials:
            path = self._paths.trial(number).record
            try:
                record = decode(path.read_text(encoding="utf-8"), where=str(path))
            except (OSError, UnicodeDecodeError, DamagedRecordError, StoreError):
                return None  # a page that shows the rest is better than none
            self._trials[number] = record, self._pages.trial(record)
        return self._trials[number]

    def study(self, records: Sequence[TrialRecord]) -> StudyPage:
        """The study's page, drawn anew when there are more records."""
        if self._study is None or self._study[0] != len(records):
            self._study = len(records), self._pages.study(records)
        return self._study[1]

    def importances(self, numbers: Sequence[int]) -> Sequence[Mapping[str, float]] | None:
        """Of each objective, computed anew when there are more trials; None: not ours."""
        if self._pages.importances is None:
            return None
        if self._importances is None or self._importances[0] != len(numbers):
            shown = (self.trial(number) for number in numbers)
            records = [one[0] for one in shown if one is not None]
            self._importances = len(numbers), self._pages.importances(records)
        return self._importances[1]

    def name(self, name: str) -> str:
        """A study's name with its mark."""
        return f"{name} ({self._pages.mark})" if self._pages.mark else name


class _Amended:
    def __init__(
        self,
        inner: WSGIApplication,
        storage: RDBStorage,
        shown: _Shown,
        *,
        write: bool,
        hosts: Sequence[str] | None,
    ) -> None:
        self._inner, self._storage, self._shown = inner, storage, shown
        self._write, self._hosts = write, hosts

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
        if self._hosts is not None and host_of(environ) not in self._hosts:
            return answer(start_response, "403 Forbidden", {"reason": "unknown host name"})
        if method not in _READING and not self._write:
            reason = "read-only: start `autotune dashboard --write` to change anything"
            return answer(start_response, "405 Method Not Allowed", {"reason": reason})
        match path.strip("/").split("/"):
            case ["dashboard", *_] if method == "GET" and not self._write:
                # Never "not modified": what the browser has kept may be the page that writes.
                whole = {k: v for k, v in environ.items() if not k.startswith("HTTP_IF_")}
                status, page = call(self._inner, whole)
                return answer_read_only(start_response, status, page)
            case ["api", "studies"] if method == "GET":
                return self._studies(environ, start_response)
            case ["api", "studies", study_id] if method == "GET" and study_id.isdecimal():
                return self._study(int(study_id), environ, start_response)
            case ["api", "studies", study_id, "param_importances"] if study_id.isdecimal():
                found = self._importances(int(study_id))
                if found is not None:
                    return answer(start_response, "200 OK", {"param_importances": found})
            case ["artifacts", _, trial_id, file_id] if method == "GET" and trial_id.isdecimal():
                content = self._attachment(int(trial_id), file_id)
                if content is not None:
                    return answer_file(start_response, content[0].mimetype, content[1])
        return self._inner(environ, start_response)

    def _studies(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """The list of studies, which is this one."""
        status, body = call(self._inner, environ)
        listed = orjson.loads(body)
        for summary in listed.get("study_summaries", ()):
            summary["study_name"] = self._shown.name(summary["study_name"])
        return answer(start_response, status, listed)

    def _study(
        self, study_id: int, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """A study's page, whole, amended, then cut to what was asked for."""
        after = parse_qs(environ.get("QUERY_STRING", "")).get("after", ["0"])[0]
        status, body = call(self._inner, {**environ, "QUERY_STRING": ""})
        if not status.startswith("200"):
            return answer(start_response, status, orjson.loads(body))
        detail = orjson.loads(body)
        self._amend(study_id, detail)
        detail["trials"] = detail["trials"][int(after) if after.isdecimal() else 0 :]
        return answer(start_response, status, detail)

    def _amend(self, study_id: int, detail: dict[str, Any]) -> None:
        constraints = {
            trial.number: list(trial.constraints.values())
            for trial in self._storage.get_all_trials(study_id, deepcopy=False)
        }
        records = []
        for trial in detail["trials"]:
            trial["constraints"] = constraints.get(trial["number"], [])
            shown = self._shown.trial(trial["number"])
            if shown is not None:
                records.append(shown[0])
                self._amend_trial(trial, shown[1])
        page = self._shown.study(records)
        for trial in detail["trials"]:
            if trial["number"] in page.values:
                trial["values"] = list(page.values[trial["number"]])
            elif trial["number"] in page.infeasible:
                trial["state"] = "Complete"
                trial["values"] = list(page.infeasible[trial["number"]])
        best = {t.number for t in self._best(study_id)} if page.front is None else {*page.front}
        detail["best_trials"] = [t for t in detail["trials"] if t["number"] in best]
        detail["name"] = self._shown.name(detail["name"])
        detail["note"] = _noted(detail["note"], page.note)
        detail["plotly_graph_objects"] += [
            {"id": name, "graph_object": figure} for name, figure in page.figures.items()
        ]

    def _importances(self, study_id: int) -> list[list[dict[str, Any]]] | None:
        """As optuna-dashboard gives its own; None where they are left to it."""
        try:
            trials = self._storage.get_all_trials(study_id, deepcopy=False)
        except KeyError:
            return None
        shares = self._shown.importances([t.number for t in trials if t.state.is_finished()])
        kinds = {
            name: type(distribution).__name__
            for trial in trials
            for name, distribution in trial.distributions.items()
        }
        if shares is None:
            return None
        return [
            [
                {"name": name, "importance": share, "distribution": kinds[name]}
                for name, share in of_one.items()
                if name in kinds
            ]
            for of_one in shares
        ]

    def _best(self, study_id: int) -> Sequence[optuna.trial.FrozenTrial]:
        """The front of feasible trials, as Optuna itself finds it."""
        name = self._storage.get_study_name_from_id(study_id)
        return optuna.load_study(study_name=name, storage=self._storage).best_trials

    @staticmethod
    def _amend_trial(trial: dict[str, Any], page: TrialPage) -> None:
        trial["note"] = _noted(trial["note"], page.note)
        trial["artifacts"] += [
            {
                "artifact_id": _file_id(trial["number"], attachment.name),
                "filename": attachment.name,
                "mimetype": attachment.mimetype,
                "encoding": None,
            }
            for attachment in page.attachments
        ]

    def _attachment(self, trial_id: int, file_id: str) -> tuple[Attachment, bytes] | None:
        """One of ours; None for what optuna-dashboard itself knows."""
        try:
            number = self._storage.get_trial(trial_id).number
        except KeyError:
            return None
        shown = self._shown.trial(number)
        for attachment in () if shown is None else shown[1].attachments:
            if _file_id(number, attachment.name) == file_id:
                return attachment, attachment.read()
        return None


def _file_id(number: int, name: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{number}/{name}"))


def _noted(own: dict[str, Any], note: str) -> dict[str, Any]:
    """A person's own note stays, ours stands below it."""
    body = "\n\n".join(part for part in (own.get("body", ""), note) if part)
    return {**own, "body": body}
