"""Exit codes and last words of the program, and what it loads to say them."""

import json
import os
import subprocess
import sys

import pytest
import typer

from autotune import __version__
from autotune.cli import main, program
from autotune.cli.commands import COMMANDS, load
from autotune.errors import EXIT_INTERRUPTED


@pytest.mark.parametrize("end", [KeyboardInterrupt, typer.Abort])
def test_ctrl_c_is_an_exit_code_and_no_traceback(
    end: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether typer lets it through or makes an exit code of it."""
    app = typer.Typer()

    @app.command()
    def command() -> None:
        raise end

    monkeypatch.setattr(program, "app", app)
    assert program.run([]) == EXIT_INTERRUPTED


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_it_tells_its_version(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And ends well, with no command."""
    assert program.run([option]) == 0
    assert capsys.readouterr().out == f"autotune {__version__}\n"


def loaded_by(*arguments: str) -> set[str]:
    """Third parties' modules that a command line loads."""
    code = (
        "import sys; before = set(sys.modules); from autotune.cli.main import run; "
        f"run({list(arguments)!r}); "
        "names = {m.split('.')[0] for m in set(sys.modules) - before}; "
        "print(*names - set(sys.stdlib_module_names), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(ended.stderr.split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []])
def test_help_and_version_load_no_library_of_a_command(arguments: list[str]) -> None:
    """They are typed often and need none: seconds of imports would be felt."""
    loaded = loaded_by(*arguments)
    assert "typer" in loaded
    assert loaded & {"numpy", "pydantic", "yaml", "optuna", "docker", "aiohttp", "plotly"} == set()


def test_a_command_that_does_not_exist_is_answered_with_the_one_that_is_meant(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Although none is loaded."""
    assert program.run(["stuyd"]) == 2
    assert "Did you mean 'study'?" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    """The listed name loads, and its help shows how it is typed."""
    command = load(name)
    assert command.name == name
    assert f"Example: autotune {name}" in command.help


@pytest.mark.parametrize("name", COMMANDS)
def test_a_usage_line_has_no_bracket_twice(name: str) -> None:
    """Typer's releases draw brackets around optional arguments themselves."""
    command = load(name)
    usage = command.get_usage(command.make_context(name, [], resilient_parsing=True))
    assert "[[" not in usage
    assert "{{" not in usage


def test_nothing_is_imported_before_ctrl_c_is_quiet() -> None:
    """The first module loads no other but what Python itself has loaded at its start."""
    code = (
        "import sys; before = set(sys.modules); import autotune.cli.main; "
        "print(*sorted(set(sys.modules) - before))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["autotune", "autotune.cli", "autotune.cli.main"]


def test_ctrl_c_before_anything_is_loaded_is_quiet() -> None:
    """The process ends with 130 and without a word."""
    code = (
        "import os, sys; from autotune.cli import main; "
        "sys.meta_path.insert(0, type('Finder', (), {'find_spec': staticmethod("
        "lambda name, *rest: os.kill(os.getpid(), 2) if name.endswith('program') else None)})); "
        "main.main(['--help'])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (EXIT_INTERRUPTED, "", "")
    assert main.INTERRUPTED == EXIT_INTERRUPTED


def test_the_list_of_studies_loads_neither_engines_nor_sampler_nor_plots() -> None:
    """It reads records and writes a table."""
    loaded = loaded_by("list")
    assert loaded & {"numpy", "scipy", "optuna", "docker", "aiohttp", "jinja2"} == set()


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (["show", "nosuch", "--json"], 2, "UsageError"),
        (["show", "--wrong", "--json"], 2, "UsageError"),
    ],
)
def test_an_error_is_the_last_line_of_json(
    arguments: list[str], code: int, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside the words on stderr, with the exit code."""
    assert program.run(arguments) == code
    said = capsys.readouterr()
    found = json.loads(said.out.splitlines()[-1])
    assert (found["event"], found["kind"], found["exit_code"]) == ("error", kind, code)
    assert found["message"] in said.err.replace("\n", " ")


def test_without_json_an_error_is_words_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr; stdout stays empty."""
    assert program.run(["show", "nosuch"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "error: there is no study 'nosuch'" in said.err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_output_of_another_encoding_ends_no_command(encoding: str) -> None:
    """What it cannot show is a question mark, as a terminal itself would have it."""
    code = (
        "import typer; from autotune.cli import program; app = typer.Typer(); "
        "app.command()(lambda: print('\\u2713 done')); program.app = app; "
        "raise SystemExit(program.run([]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert ended.stdout == b"? done\n"
