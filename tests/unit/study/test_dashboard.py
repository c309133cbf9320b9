"""optuna-dashboard on a small study, over real HTTP."""

import http.client
import json
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIApplication

import optuna
import pytest

from autotune.errors import PortInUseError, StoreError, UsageError
from autotune.paths import StudyPaths
from autotune.records import Configuration, Failure, FailureKind, TrialRecord
from autotune.spec.space import SearchSpace, space_from
from autotune.spec.study import StudySpec
from autotune.store import TrialStore
from autotune.study.dashboard import Attachment, Pages, StudyPage, TrialPage, dashboard_app
from autotune.study.dashboard_server import make_server, serve
from autotune.study.storage import open_storage, rebuild
from tests.support.records import record

SPEC = StudySpec(name="small")
SPACE: SearchSpace = space_from(
    {"parameters": {"max_num_seqs": {"choices": ["default", 16, 32, 64, 128]}}}, where="test"
)


def measured(number: int, seqs: int, *, speed: float, ttft_s: float) -> TrialRecord:
    """A trial with three objectives."""
    return record(
        number,
        study="small",
        config=Configuration.of({"max_num_seqs": seqs}),
        metrics={
            "output_tokens_per_s": speed,
            "ttft_8k_ns": ttft_s * 1e9,
            "context_capacity_tokens": 50_000.0,
        },
    )


RECORDS = (
    measured(0, 16, speed=500.0, ttft_s=1.0),
    measured(1, 32, speed=900.0, ttft_s=1.2),
    measured(2, 64, speed=400.0, ttft_s=1.5),  # beaten by both
    record(
        3,
        study="small",
        config=Configuration.of({"max_num_seqs": 128}),
        failure=Failure(
            kind=FailureKind.GPU_OOM_WARMUP, phase="starting", message="no room", margin_gib=-0.4
        ),
    ),
)


def pages(mark: str = "") -> Pages:
    """What a report would draw, in short."""

    def trial(record: TrialRecord) -> TrialPage:
        text = f"log {record.number}".encode()
        log = Attachment(name="engine.log", mimetype="text/plain", read=lambda: text)
        return TrialPage(note=f"## trial {record.number}", attachments=(log,))

    def study(records: Sequence[TrialRecord]) -> StudyPage:
        return StudyPage(note="the study", figures={"front": json.dumps({"n": len(records)})})

    return Pages(trial=trial, study=study, mark=mark)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> StudyPaths:
    """A study on disk with four trials; tests work on copies of it."""
    found = StudyPaths(tmp_path_factory.mktemp("finished") / "small")
    store = TrialStore(found)
    for one in RECORDS:
        store.append(one)
    rebuild(found, SPEC, SPACE, RECORDS)
    return found


@pytest.fixture
def paths(finished: StudyPaths, tmp_path: Path) -> StudyPaths:
    """A study of this test's own."""
    shutil.copytree(finished.root, tmp_path / "small")
    return StudyPaths(tmp_path / "small")


class Browser:
    """Asks a running dashboard."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(
        self, path: str, *, method: str = "GET", host: str | None = None, body: str | None = None
    ) -> tuple[int, bytes]:
        """Status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        headers = {"Content-Type": "application/json", "Accept-Encoding": "gzip"}
        if host is not None:
            headers["Host"] = host
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def study(self, query: str = "") -> dict[str, Any]:
        """The study's page as data."""
        status, body = self.ask(f"/api/studies/1{query}")
        assert status == 200
        found: dict[str, Any] = json.loads(body)
        return found


@pytest.fixture(params=[False], ids=["read-only"])
def browser(paths: StudyPaths, request: pytest.FixtureRequest) -> Iterator[Browser]:
    """A dashboard on a free port of this machine."""
    app = dashboard_app(paths, pages(), write=request.param)
    with served(app, write=request.param) as found:
        yield found


@contextmanager
def served(app: WSGIApplication, *, write: bool = False) -> Iterator[Browser]:
    """An application on a free port."""
    with make_server(app, host="127.0.0.1", port=0, write=write) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Browser(server.server_port)
        finally:
            server.shutdown()
            thread.join(timeout=20)


def test_the_page_itself_is_served(browser: Browser) -> None:
    """HTML and its script."""
    status, body = browser.ask("/dashboard")
    assert status == 200
    assert b"/static/bundle.js" in body
    assert browser.ask("/static/bundle.js")[0] == 200


@pytest.mark.parametrize(
    ("browser", "hidden"), [(False, True), (True, False)], indirect=["browser"]
)
def test_what_read_only_cannot_do_is_not_offered(browser: Browser, *, hidden: bool) -> None:
    """Upload, edit and delete are hidden on every page; with --write they are there."""
    for path in ("/dashboard", "/dashboard/studies/1"):
        _, body = browser.ask(path)
        assert (b"UploadFileIcon" in body) is hidden
        assert (b"delete study" in body) is hidden


def test_infeasible_trials_look_infeasible(browser: Browser) -> None:
    """Each trial carries its constraints; that of the failed one is violated."""
    trials = browser.study()["trials"]
    assert len(trials) == 4
    assert all(trial["constraints"] for trial in trials)
    violated = [t["number"] for t in trials if any(c > 0 for c in t["constraints"])]
    assert violated == [3]


def test_an_infeasible_trial_that_was_measured_has_its_figures(paths: StudyPaths) -> None:
    """Complete with a violated constraint: what optuna-dashboard draws grey, and never as best."""
    drawn = replace(
        pages(), study=lambda _records: StudyPage(infeasible={3: (950.0, 900.0, 50_000.0)})
    )
    with served(dashboard_app(paths, drawn)) as browser:
        study = browser.study()
    broken = study["trials"][3]
    assert broken["state"] == "Complete"
    assert broken["values"] == [950.0, 900.0, 50_000.0]
    assert max(broken["constraints"]) > 0
    assert [t["number"] for t in study["best_trials"]] == [0, 1]


def test_best_trials_are_the_feasible_front(browser: Browser) -> None:
    """As Optuna finds it: neither beaten nor infeasible trials."""
    assert [t["number"] for t in browser.study()["best_trials"]] == [0, 1]


def test_objectives_go_by_their_names(browser: Browser) -> None:
    """Titles with their display units."""
    names = browser.study()["objective_names"]
    assert names == ["Output throughput [tokens/s]", "TTFT at 8K [ms]", "Context capacity [tokens]"]


def test_each_trial_has_its_note_and_its_log(browser: Browser) -> None:
    """The note on the trial's page, the log one click away."""
    trial = browser.study()["trials"][2]
    assert trial["note"]["body"] == "## trial 2"
    (file,) = trial["artifacts"]
    assert file["filename"] == "engine.log"
    status, body = browser.ask(f"/artifacts/1/{trial['trial_id']}/{file['artifact_id']}")
    assert (status, body) == (200, b"log 2")


def test_a_file_of_nobody_is_not_found(browser: Browser) -> None:
    """What is not ours goes to optuna-dashboard, which does not know it either."""
    assert browser.ask("/artifacts/1/1/00000000-0000-0000-0000-000000000000")[0] == 404
    assert browser.ask("/artifacts/1/999/00000000-0000-0000-0000-000000000000")[0] >= 400


def test_the_study_has_its_note_and_figure(browser: Browser) -> None:
    """Drawn from every record."""
    study = browser.study()
    assert study["note"]["body"] == "the study"
    assert study["plotly_graph_objects"] == [{"id": "front", "graph_object": '{"n": 4}'}]


def test_a_page_that_has_trials_gets_only_the_rest(browser: Browser) -> None:
    """`after` cuts the list, not the front."""
    study = browser.study("?after=3")
    assert [t["number"] for t in study["trials"]] == [3]
    assert [t["number"] for t in study["best_trials"]] == [0, 1]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/api/studies/1"),
        ("POST", "/api/studies"),
        ("PUT", "/api/studies/1/note"),
        ("POST", "/api/trials/1/tell"),
        ("POST", "/api/artifacts/1/1"),
        ("PATCH", "/anything"),
    ],
)
def test_nothing_can_be_changed(browser: Browser, method: str, path: str) -> None:
    """Every writer is refused, and the study is still there."""
    status, body = browser.ask(path, method=method, body="{}")
    assert status == 405
    assert "--write" in json.loads(body)["reason"]
    assert len(browser.study()["trials"]) == 4


@pytest.mark.parametrize("browser", [True], indirect=True, ids=["writable"])
def test_with_write_a_note_can_be_saved(browser: Browser) -> None:
    """A person's note stands above the summary."""
    note = json.dumps({"version": 1, "body": "mine"})
    assert browser.ask("/api/studies/1/note", method="PUT", body=note)[0] == 204
    assert browser.study()["note"]["body"] == "mine\n\nthe study"


def test_a_foreign_host_name_is_refused(browser: Browser) -> None:
    """A page elsewhere cannot reach it by pointing a name at this machine (DNS rebinding)."""
    assert browser.ask("/api/studies", host="evil.example:8080")[0] == 403
    assert browser.ask("/api/studies", host="localhost:8080")[0] == 200
    assert browser.ask("/api/studies", host="[::1]:8080")[0] == 200


def test_an_unknown_study_is_not_found(browser: Browser) -> None:
    """The inner answer is passed on."""
    assert browser.ask("/api/studies/99")[0] == 404


def test_it_works_while_the_study_runs(browser: Browser, paths: StudyPaths) -> None:
    """A trial that another connection starts is seen, without a record; it can end meanwhile."""
    study = optuna.load_study(study_name="small", storage=open_storage(paths.database))
    running = study.ask()
    seen = browser.study()["trials"][-1]
    assert (seen["number"], seen["state"], seen["note"]["body"]) == (4, "Running", "")
    study.tell(running, state=optuna.trial.TrialState.FAIL)
    assert study.trials[-1].state is optuna.trial.TrialState.FAIL


def test_a_damaged_record_does_not_break_the_page(browser: Browser, paths: StudyPaths) -> None:
    """The trial is shown without its note, and the file is left as it is."""
    path = paths.trial(1).record
    path.write_text("{broken")
    assert not browser.study()["trials"][1]["note"]["body"]
    assert path.read_text() == "{broken"


def test_a_study_without_database_says_what_to_do(tmp_path: Path) -> None:
    """Nothing is made by looking."""
    with pytest.raises(StoreError, match="no database"):
        dashboard_app(StudyPaths(tmp_path / "none"), pages())
    assert not (tmp_path / "none").exists()


def test_a_busy_port_and_an_open_writer_are_refused(paths: StudyPaths) -> None:
    """Each with its own error."""
    app = dashboard_app(paths, pages())
    with make_server(app, host="127.0.0.1", port=0) as server, pytest.raises(PortInUseError):
        make_server(app, host="127.0.0.1", port=server.server_port)
    with pytest.raises(UsageError, match="anybody on the network"):
        make_server(app, host="0.0.0.0", port=0, write=True)
    with pytest.raises(UsageError, match="cannot be listened on"):
        make_server(app, host="203.0.113.1", port=0)


def test_serving_ends_with_ctrl_c(paths: StudyPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """The URL is told first; the interrupt is no traceback."""
    told: list[str] = []

    def interrupted(*_args: object, **_kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("socketserver.BaseServer.serve_forever", interrupted)
    serve(dashboard_app(paths, pages()), port=0, ready=told.append)
    assert told[0].startswith("http://127.0.0.1:")


def test_a_simulated_study_is_marked_at_the_head_of_every_page(paths: StudyPaths) -> None:
    """Its name stands over each of optuna-dashboard's own plots, and in the list."""
    app = dashboard_app(paths, pages(mark="SIMULATED"))
    with make_server(app, host="127.0.0.1", port=0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            browser = Browser(server.server_port)
            assert browser.study()["name"] == "small (SIMULATED)"
            (listed,) = json.loads(browser.ask("/api/studies")[1])["study_summaries"]
            assert listed["study_name"] == "small (SIMULATED)"
        finally:
            server.shutdown()
            thread.join()


def test_front_values_and_importances_are_those_of_the_report(paths: StudyPaths) -> None:
    """The page computes its own from single trials; it is given the report's instead."""
    drawn = pages()

    def study(records: Sequence[TrialRecord]) -> StudyPage:
        return StudyPage(front=(1, 2), values={2: (950.0, 1000.0, 50_000.0)})

    told = replace(
        drawn, study=study, importances=lambda _: [{"max_num_seqs": 1.0, "unknown": 0.5}, {}, {}]
    )
    app = dashboard_app(paths, told)
    with make_server(app, host="127.0.0.1", port=0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            browser = Browser(server.server_port)
            found = browser.study()
            status, body = browser.ask("/api/studies/1/param_importances")
        finally:
            server.shutdown()
            thread.join(timeout=20)

    assert [t["number"] for t in found["best_trials"]] == [1, 2]
    assert found["trials"][2]["values"] == [950.0, 1000.0, 50_000.0]
    assert status == 200
    (first, *others) = json.loads(body)["param_importances"]
    assert [(one["name"], one["importance"]) for one in first] == [("max_num_seqs", 1.0)]
    assert others == [[], []]
