"""The commands that README, docs and `--help` show, run as they stand.

Those that read or write a study's files run whole, on studies of the names that are shown.
`study`, `matrix`, `probe`, `simulate`, `dashboard` and `calibrate` take minutes, a server or a
card, or do not end; `tests/unit/test_docs.py` parses them.
"""

import gc
import re
import shlex
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import TypeAdapter

from autotune.cli.commands import COMMANDS, load
from autotune.cli.program import run
from autotune.errors import HostError
from autotune.paths import StudyPaths
from autotune.seams.deployment import LaunchPlan
from autotune.seams.engine import ResolvedSpace
from autotune.spec.space import space_from
from autotune.spec.study import StudySpec
from autotune.store import TrialStore, write_resolution, write_study
from tests.support.launches import DOCKER
from tests.support.records import study_records
from tests.unit.test_docs import EXAMPLES

MEANT: Final = {"NAME": "default", "STUDY": "default", "N": "7"}
"""Words that stand for something."""
WHOLE: Final = frozenset({
    "list", "show", "report", "recommend", "export", "compare", "metrics", "clean", "verify",
})  # fmt: skip
BY_THE_MACHINE: Final = frozenset({"doctor", "plan"})
"""End with an error where a study that is shown could not start: no card, no Docker."""
SPACE: Final = space_from(
    {"name": "s", "parameters": {"kv_cache_dtype": {"choices": ["default", "fp8"]}}}, where="s"
)


def help_examples() -> list[str]:
    """The line that each command's help shows."""
    told = (re.search(r"Example: (autotune .*)", load(name).help or "") for name in COMMANDS)
    return [found[1].strip() for found in told if found is not None]


def shown() -> list[tuple[str, ...]]:
    """Every command line that can be run here, in words, each once."""
    lines = {tuple(shlex.split(line)[1:]) for line in (*(e[1] for e in EXAMPLES), *help_examples())}
    return sorted(
        words for words in lines if words[0] in WHOLE | BY_THE_MACHINE and _is_whole(words)
    )


def _is_whole(words: tuple[str, ...]) -> bool:
    """Whether it is more than a bare name in running text."""
    parameters: Any = load(words[0]).params
    return len(words) > 1 or not any(parameter.required for parameter in parameters)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the two studies that are shown, 30 trials each, run in containers."""
    monkeypatch.chdir(tmp_path)
    launch = TypeAdapter(LaunchPlan).dump_json(DOCKER)
    for name in ("default", "rtx5070"):
        paths = StudyPaths(tmp_path / "studies" / name)
        spec = StudySpec(name=name)
        engine = spec.engine.model_copy(update={"deployer": "docker"})
        write_study(paths, spec.model_copy(update={"engine": engine}), SPACE)
        write_resolution(paths, ResolvedSpace(space=SPACE))
        store = TrialStore(paths)
        for record in study_records(30):
            store.append(replace(record, study=name))
            paths.trial(record.number).launch.write_bytes(launch)
    yield tmp_path
    with warnings.catch_warnings():
        # Docker's library leaves the socket open on which no engine answered.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def test_there_is_something_to_run() -> None:
    """Every command that can be run here is shown somewhere."""
    assert {words[0] for words in shown()} == WHOLE | BY_THE_MACHINE
    assert len(help_examples()) == len(COMMANDS)


@pytest.mark.parametrize("words", shown(), ids=" ".join)
def test_a_command_that_is_shown_runs(
    words: tuple[str, ...], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says something; of a verification and a removal everything but the last step."""
    line = [MEANT.get(word, word) for word in words]
    allowed = {0}
    if words[0] == "verify":
        assert run(["recommend", "default"]) == 0  # its files
        line.append("--dry-run")
    elif words[0] == "clean":
        line.append("--yes")
    elif words[0] in BY_THE_MACHINE:
        allowed.add(HostError.exit_code)
    capsys.readouterr()
    code = run(line)
    told = capsys.readouterr()
    assert code in allowed, told.err
    assert told.out or code
    if "--results" in words:
        assert not (here / "studies" / "default").exists()
