"""`autotune probe URL` against a server whose answers are known, and against what is none."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from time import monotonic, sleep  # noqa: TID251 - a server in a process of its own is awaited

import pytest

from autotune.cli.commands.probe import _table, whole_url
from autotune.cli.main import run
from autotune.deployers.ports import free_port
from autotune.records import ProbeResult, ProbeStatus
from tests.support.golden import golden_server

BUSY = ("--client-lag-ms", "2000")
"""The tests' machine may be busy; what is tested here is not how late a client is."""


@contextmanager
def plain_web_server() -> Iterator[str]:
    """A server that has never heard of models."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = HTTPServer(("127.0.0.1", 0), Page)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def test_any_compatible_server_can_be_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """The golden server calls itself no release of vLLM; its tokens are counted exactly."""
    with golden_server(ttft_ms=5) as server:
        code = run(["probe", server.base_url, "--tests", "2-3", "--concurrency", "2", "--requests",
                    "4", "--prompt-tokens", "32", "--output-tokens", "8", "--json",
                    *BUSY])  # fmt: skip
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert code == 0
    assert [line["probe"] for line in lines] == ["ttft", "throughput"]
    assert lines[1]["metrics"]["failed_requests_count"] in {0, None}
    assert lines[1]["metrics"]["output_tokens_per_s"] > 0


def test_a_running_server_is_loaded_from_a_file_at_a_rate_up_to_its_capacity(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An open loop of a data set's prompts, then the highest rate within the SLO."""
    path = tmp_path / "own.jsonl"
    path.write_text('{"prompt": "one two", "output_tokens": 4, "chat": false}\n', encoding="utf-8")
    with golden_server(ttft_ms=1) as server:
        code = run(["probe", server.base_url, "--tests", "3", "--concurrency", "2", "--requests",
                    "20", "--prompt-tokens", "32", "--output-tokens", "4", "--dataset", str(path),
                    "--rate", "40", "--capacity", *BUSY, "--json"])  # fmt: skip
    lines = {row["probe"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}

    assert code == 0
    assert list(lines) == ["throughput", "capacity"]
    assert 10 < lines["throughput"]["metrics"]["requests_per_s"] < 100
    assert lines["capacity"]["metrics"]["capacity_requests_per_s"] > 0
    assert "capacity_requests_per_s" in lines["capacity"]["intervals"]


def test_a_rate_of_nothing_is_refused_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    """Before the server is asked for anything."""
    assert run(["probe", "http://127.0.0.1:9", "--rate", "0"]) == 3
    assert "--rate" in capsys.readouterr().err


def test_percentiles_are_shown_with_their_interval() -> None:
    """Where there is one, and in one unit; a figure without one stands alone."""
    result = ProbeResult(
        probe="throughput",
        status=ProbeStatus.MEASURED,
        metrics={"ttft_loaded_p50_ns": 12.5e6, "ttft_loaded_p99_ns": 30e6},
        intervals={"ttft_loaded_p50_ns": (11e6, 14e6)},
    )
    table = _table("http://here", "golden", [result], simulated=False)

    assert [row[2].text for row in table.rows] == ["12.5 ms (11.0 to 14.0 ms)", "30.0 ms"]


def test_a_web_server_that_is_no_engine_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 13 and no traceback."""
    with plain_web_server() as url:
        code = run(["probe", url])

    assert code == 13
    assert "not with a list of models" in capsys.readouterr().err


def test_nobody_at_all_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    """The port is named."""
    code = run(["probe", "http://127.0.0.1:9"])

    assert code == 13
    assert "127.0.0.1:9" in capsys.readouterr().err


@pytest.mark.parametrize("more", [[], ["--model", "owner/model"]])
def test_nobody_is_told_so_whatever_model_is_asked_for(
    more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """It is nobody's fault of a version."""
    assert run(["probe", "http://127.0.0.1:9", *more]) == 13
    said = capsys.readouterr().err
    assert "nobody answers at http://127.0.0.1:9" in said
    assert "version" not in said


def test_a_model_that_is_not_served_is_not_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """The server might answer with another one; the hint names those that it has."""
    with golden_server(ttft_ms=5) as server:
        assert run(["probe", server.base_url, "--model", "owner/other"]) == 13
        assert server.seen() == []
    said = capsys.readouterr().err
    assert "does not serve 'owner/other'" in said
    assert "It serves: golden" in said


def test_a_url_may_go_without_its_scheme(capsys: pytest.CaptureFixture[str]) -> None:
    """As people type it."""
    with golden_server(ttft_ms=5) as server:
        code = run(["probe", server.base_url.removeprefix("http://"), "--tests", "2", "--json"])
    assert code == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["model"] == "golden"


@pytest.mark.parametrize(
    "url",
    [
        "", "ftp://host", "http://", "http://a b", "a:b:c", "host:99999999",
        "notaurl", "localhosts", "rtx5070/v1", "studies/a.yaml",
    ],
)  # fmt: skip
def test_what_is_no_url_is_told_so(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and how to write one."""
    assert run(["probe", url]) == 2
    assert "is no URL of a server" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("localhost", "http://localhost"), ("localhost/v1", "http://localhost"),
        ("box:8000", "http://box:8000"), ("10.0.0.7", "http://10.0.0.7"),
        ("http://vllm", "http://vllm"), ("[::1]:8000", "http://[::1]:8000"),
    ],
)  # fmt: skip
def test_hosts_are_named_as_people_name_them(text: str, url: str) -> None:
    """A bare word is one only with its scheme."""
    assert whole_url(text) == url


def test_a_test_that_fails_ends_in_an_error_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The table alone would leave a script with an exit code and no word."""
    with golden_server(fault="status") as server:
        assert run(["probe", server.base_url, "--tests", "2"]) == 13
    said = capsys.readouterr().err
    assert "error: 1 of 1 tests failed; ttft: " in said


def test_a_key_is_sent_only_from_the_variable_that_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One that is not set is an error before anything is sent."""
    assert run(["probe", "http://127.0.0.1:9", "--api-key-env", "NO_SUCH_VARIABLE"]) == 2
    assert "NO_SUCH_VARIABLE is not set" in capsys.readouterr().err


def test_figures_of_a_simulated_server_are_marked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """By what it says of itself; no table of it passes for a measurement."""
    port = free_port("127.0.0.1")
    command = [sys.executable, "-m", "autotune", "simulate", "--port", str(port), "--speed", "50",
               "--boot-speed", "1000"]  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_for(f"http://127.0.0.1:{port}/health")
            code = run(["probe", f"127.0.0.1:{port}", "--tests", "2"])
        finally:
            process.terminate()
            process.wait(20)
    told = capsys.readouterr()
    assert code == 0, told.err
    assert told.err.startswith("SIMULATED: measuring")
    assert "(SIMULATED)" in told.out


def wait_for(url: str) -> None:
    """Until a server answers."""
    until = monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 - ours
        except OSError:
            assert monotonic() < until, url
            sleep(0.1)
        else:
            return
