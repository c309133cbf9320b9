"""`autotune matrix --json`: what a machine gets."""

import json
from pathlib import Path

import pytest

from autotune.cli.main import run

COMMAND = ("matrix", "--engine", "simulated", "--configs", "baseline,B", "--tests", "1-2", "--json")


def test_the_last_line_is_the_result_of_every_cell(capsys: pytest.CaptureFixture[str]) -> None:
    """Also where nothing is left to run: then it is all that a machine learns."""
    assert run(COMMAND) == 0
    first = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert run(COMMAND) == 0
    again = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    result = first[-1]
    assert result["event"] == "result"
    assert result["simulated"] is True
    cells = {cell["name"]: cell for cell in result["cells"]}
    assert set(cells) == {"baseline", "B"}
    assert cells["baseline"]["metrics"]["startup_ns"] > 0
    assert cells["B"]["status"] == "screened"
    assert "scheduler_steps" in cells["B"]["left_out"]
    assert all(Path(file).is_file() for file in result["files"])
    assert all(event["event"] == "notice" for event in again[:-1])
    assert again[-1] == result
