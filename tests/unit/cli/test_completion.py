"""What the shell completes, asked as a shell asks it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from autotune.cli.commands import COMMANDS

PROGRAM = Path(sys.executable).with_name("autotune")


def completed(folder: Path, *words: str, shell: str = "bash") -> list[str]:
    """The proposals for the last word."""
    line = " ".join(["autotune", *words])
    asked = {
        "_AUTOTUNE_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line, "COMP_CWORD": str(len(words)),
        "_TYPER_COMPLETE_ARGS": line,
    }  # fmt: skip
    ended = subprocess.run(
        [str(PROGRAM)], cwd=folder, env={**os.environ, **asked}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    return ended.stdout.split()


def test_commands_and_options_are_completed(tmp_path: Path) -> None:
    """By their first letters."""
    assert completed(tmp_path, "re") == [name for name in COMMANDS if name.startswith("re")]
    assert "--repeats" in completed(tmp_path, "verify", "--re")


@pytest.mark.parametrize("command", ["show", "report", "export", "verify", "dashboard", "compare"])
def test_names_of_studies_are_completed(command: str, tmp_path: Path) -> None:
    """Those that lie under the current directory."""
    for name in ("mine", "matrix", "other"):
        folder = tmp_path / "studies" / name
        folder.mkdir(parents=True)
        (folder / "study.yaml").write_text("{}")
    assert sorted(completed(tmp_path, command, "m")) == ["matrix", "mine"]


def test_a_shell_is_told_how_to_ask(tmp_path: Path) -> None:
    """`--show-completion` prints what a shell reads."""
    ended = subprocess.run(
        [str(PROGRAM), "--show-completion", "bash"], cwd=tmp_path, capture_output=True, text=True,
        check=False, env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "_AUTOTUNE_COMPLETE=complete_bash" in ended.stdout
