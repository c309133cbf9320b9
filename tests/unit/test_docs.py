"""README and docs: commands that are shown exist, links lead somewhere, examples are read."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from typer.main import get_command

from autotune.cli.commands import COMMANDS as LISTED
from autotune.cli.commands import load
from autotune.cli.program import app
from autotune.engines import vocabulary
from autotune.engines.vllm.releases import release_table
from autotune.metrics import METRICS
from autotune.paths import declared_file
from autotune.records import FailureKind
from autotune.seams.deployment import Deployer, Deployment
from autotune.seams.engine import Engine
from autotune.spec.space import space_from
from autotune.spec.study import study_from
from autotune.trial.failure import NEVER_STARTED, NOT_THE_CONFIGURATIONS_FAULT

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = (ROOT / "README.md", ROOT / ".github" / "CONTRIBUTING.md",
                *sorted((ROOT / "docs").glob("*.md")))  # fmt: skip
COMMANDS: Final[dict[str, Any]] = {name: load(name) for name in LISTED}

STUDY: Final = ".venv/bin/autotune study --trials 40"
"""What the first of the README's two commands comes to."""

PLACEHOLDERS: Final = {"COMMAND", "STUDY", "NAME", "N"}
"""Words that stand for something; an example with one of them is parsed with a value for it."""


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of a language."""
    return re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL
    )


def shown(page: Path) -> Iterator[str]:
    """Every `autotune ...` of a page, in its shell blocks and in running text."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    lines += re.findall(r"`(autotune [^`\n]+)`", page.read_text())
    for line in lines:
        for part in line.split("&&"):
            words = part.strip().removeprefix(".venv/bin/")
            if words.startswith("autotune "):
                yield words


EXAMPLES: Final = sorted({(page.name, line) for page in PAGES for line in shown(page)})


def table_of(page: Path, heading: str) -> list[list[str]]:
    """Rows of the first table under a heading, without its head."""
    text = page.read_text().split(f"## {heading}\n", 1)[1]
    rows = [line for line in text.splitlines() if line.startswith(("|", "## "))]
    table = rows[: next((i for i, r in enumerate(rows) if r.startswith("## ")), len(rows))]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table[2:]]


def test_there_is_something_to_check() -> None:
    """The pages are where this module looks, and the program has commands."""
    assert len(PAGES) >= 8
    assert len(EXAMPLES) >= 20
    assert {"study", "matrix"} <= set(COMMANDS)


@pytest.mark.parametrize(("page", "line"), EXAMPLES)
def test_a_command_that_is_shown_can_be_typed(page: str, line: str) -> None:
    """Command, arguments and options are known to the program."""
    _, name, *words = shlex.split(line.replace("$MODEL", "owner/model"))
    if name in PLACEHOLDERS:
        return
    if name.startswith("-"):
        assert name in {option for p in get_command(app).params for option in p.opts}
        return
    assert name in COMMANDS, f"{page}: {line}"
    if words == ["--help"]:
        return
    if not words and any(p.required for p in COMMANDS[name].params):
        return  # the command's bare name in running text
    words = ["7" if word == "N" else word for word in words]
    COMMANDS[name].make_context(name, words)


def test_the_readme_lists_every_command() -> None:
    """The table has each command once and none that is not there."""
    rows = table_of(ROOT / "README.md", "Every command")
    names = [row[0].strip("`").removeprefix("autotune ") for row in rows]
    assert names == list(LISTED)


def test_the_help_says_of_each_command_what_the_readme_says() -> None:
    """One sentence per command, in both places."""
    rows = table_of(ROOT / "README.md", "Every command")
    said = [row[1].replace("`", "") for row in rows]
    assert [f"{words[0].upper()}{words[1:]}." for words in said] == [
        command.line for command in LISTED.values()
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page, pictures included, is a file of the repository."""
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    missing = [link for link in local if not (page.parent / link).exists()]
    assert missing == []


def test_ci_runs_the_readmes_own_command() -> None:
    """There is one line that installs the tests and runs them, and `.ci/run` takes it from here."""
    lines = [line for block in blocks(ROOT / "README.md", "sh") for line in block.splitlines()]
    assert [line for line in lines if "'.[test]'" in line] == [
        "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest -n logical"
    ]
    first = next(line for line in lines if "pip install -e . " in line)
    assert first == f"python3 -m venv .venv && .venv/bin/pip install -e . && {STUDY}"
    ci = (ROOT / ".ci" / "run").read_text()
    assert r"""grep -E "pip install -e '\.\[test\]'" README.md""" in ci


def test_the_walk_through_takes_four_commands() -> None:
    """From a clone, installation included, to the served recommendation."""
    section = (ROOT / "README.md").read_text().split("## From `.env`")[1].split("\n## ")[0]
    commands = re.findall(r"^```sh\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)[
        -1
    ].splitlines()
    assert len(commands) <= 4
    assert "pip install" in commands[0]
    assert "docker compose up" in commands[-1]


def test_the_study_that_is_shown_is_one() -> None:
    """The example file reads, and its space is there."""
    (example,) = [b for b in blocks(ROOT / "docs" / "studies.md", "yaml") if "name: mine" in b]
    spec = study_from(yaml.safe_load(example), where="docs/studies.md")
    assert isinstance(spec.space, str)
    assert declared_file("search_spaces", spec.space).is_file()


def test_the_spaces_that_are_shown_are_some() -> None:
    """Each example reads, with the parameters that vLLM has."""
    examples = blocks(ROOT / "docs" / "search-spaces.md", "yaml")
    assert examples
    for example in examples:
        raw = yaml.safe_load(example)
        space_from(raw, where="docs/search-spaces.md", vocabulary=vocabulary())


def test_studies_in_other_pages_are_studies() -> None:
    """So are the excerpts of study files elsewhere."""
    for example in blocks(ROOT / "docs" / "quickstart.md", "yaml"):
        study_from(yaml.safe_load(example), where="docs/quickstart.md")


def test_every_parameter_is_described() -> None:
    """The table of parameters is the table that the engine has."""
    rows = table_of(ROOT / "docs" / "search-spaces.md", "Parameters of vLLM")
    assert [row[0].strip("`") for row in rows] == list(release_table().parameters)


def test_every_metric_is_on_its_page() -> None:
    """`docs/metrics.md` is generated; a new metric must be in it."""
    page = (ROOT / "docs" / "metrics.md").read_text()
    assert [tag for tag in METRICS if f"| {tag} |" not in page] == []


@pytest.mark.parametrize(
    ("heading", "protocols"), [("An engine", (Engine,)), ("A deployer", (Deployer, Deployment))]
)
def test_every_member_of_a_protocol_is_on_the_page_of_its_making(
    heading: str, protocols: tuple[type, ...]
) -> None:
    """An engine's and a deployer's, each once."""
    rows = table_of(ROOT / "docs" / "writing-an-engine.md", heading)
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row[0])]
    members = {name for one in protocols for name in vars(one) if not name.startswith("_")}
    assert sorted(named) == sorted(members)


def test_every_kind_of_failure_is_explained() -> None:
    """The page of troubles names each once, under the heading of what becomes of the trial."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text().split("## Trials that fail")[1]
    parts = page.split("All trials fail")[0].split("| outcome |")[1:]
    own, screened, others = (
        [name for line in part.splitlines() if line.startswith("| `")
         for name in re.findall(r"`(\w+)`", line.split("|")[1])]
        for part in parts
    )  # fmt: skip
    every = [kind.value for kind in FailureKind]
    assert sorted([*own, *screened, *others]) == sorted(every)
    assert set(screened) == {kind.value for kind in NEVER_STARTED}
    assert set(others) == {kind.value for kind in NOT_THE_CONFIGURATIONS_FAULT}


def test_the_readme_names_the_commands_that_take_json() -> None:
    """Each of them and no other."""
    text = (ROOT / "README.md").read_text().split("With `--json`", 1)[1].split(" write ", 1)[0]
    takes = {
        name for name, command in COMMANDS.items()
        if any("--json" in parameter.opts for parameter in command.params)
    }  # fmt: skip
    assert set(re.findall(r"`(\w+)`", text)) == takes
