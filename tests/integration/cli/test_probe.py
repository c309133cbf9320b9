"""`autotune probe URL` against a server whose answers are known, and against what is none."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from autotune.cli.main import run
from tests.support.golden import golden_server


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
                    "4", "--prompt-tokens", "32", "--output-tokens", "8", "--json"])  # fmt: skip
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert code == 0
    assert [line["probe"] for line in lines] == ["ttft", "throughput"]
    assert lines[1]["metrics"]["failed_requests_count"] in {0, None}
    assert lines[1]["metrics"]["output_tokens_per_s"] > 0


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
