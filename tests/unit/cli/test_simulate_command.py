"""The command line of `autotune simulate`: our options and vLLM's, in any order."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from autotune.cli.commands import simulate
from autotune.cli.program import run


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Command lines that reached the server."""
    lines: list[list[str]] = []

    def serve(arguments: Sequence[str]) -> int:
        lines.append(list(arguments))
        return 0

    monkeypatch.setattr(simulate, "serve", serve)
    return lines


def value_of(option: str, line: Sequence[str]) -> str:
    """What follows an option."""
    return line[line.index(option) + 1]


@pytest.mark.parametrize(
    "arguments",
    [["--speed", "30", "owner/model", "--max-num-seqs", "64"],
     ["owner/model", "--speed", "30", "--max-num-seqs", "64"],
     ["--max-num-seqs", "64", "--speed=30", "--model", "owner/model"]],
)  # fmt: skip
def test_options_may_stand_before_and_after_the_model(
    arguments: list[str], served: list[list[str]]
) -> None:
    """Ours are taken out; what is left is vLLM's command line."""
    assert run(["simulate", *arguments]) == 0
    (line,) = served
    assert float(value_of("--speed", line)) == 30.0
    assert value_of("--max-num-seqs", line) == "64"
    assert "owner/model" in line
    assert simulate.MODEL not in line


def test_without_a_model_it_serves_one_that_fits_the_card(served: list[list[str]]) -> None:
    """And listens on this machine only."""
    assert run(["simulate"]) == 0
    (line,) = served
    assert simulate.MODEL in line
    assert value_of("--host", line) == "127.0.0.1"
    assert value_of("--port", line) == "8000"


def test_another_address_is_taken_where_it_is_asked_for(served: list[list[str]]) -> None:
    """No second --host contradicts it."""
    assert run(["simulate", "--host", "0.0.0.0"]) == 0
    (line,) = served
    assert line.count("--host") == 1
    assert value_of("--host", line) == "0.0.0.0"


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [(["--speed", "0"], 2, "--speed"), (["--boot-speed", "-1"], 2, "--boot-speed"),
     (["--speed", "fast"], 2, "--speed"), (["--port", "99999"], 2, "--port"),
     (["--host-memory", "0"], 2, "--host-memory"), (["--fault", "fire"], 2, "--fault"),
     (["--model-config", "missing.json"], 2, "missing.json"),
     (["--card", "voodoo"], 3, "voodoo"), (["--release", "1.0.0"], 3, "1.0.0")],
)  # fmt: skip
def test_a_bad_value_is_named(
    arguments: list[str],
    code: int,
    named: str,
    *,
    served: list[list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One message, no traceback, and nothing is served."""
    monkeypatch.chdir(tmp_path)
    assert run(["simulate", *arguments]) == code
    said = capsys.readouterr().err
    assert named in said
    assert "Traceback" not in said
    assert served == []


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_tells_of_our_options(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Both spellings, as with every command."""
    assert run(["simulate", option]) == 0
    told = capsys.readouterr().out
    for wanted in ("--card", "--speed", "--fault", "rtx-5070", "oom_under_load", "Example"):
        assert wanted in told, wanted
