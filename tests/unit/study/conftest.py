"""Studies of the made-up landscape that several files look at."""

from pathlib import Path

import pytest

from autotune.study.loop import StudyEnd
from tests.unit.study.bench import TRIALS, Bench
from tests.unit.study.fakes import study_spec


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A study of a few trials."""
    return Bench(tmp_path, study_spec(budget={"trials": TRIALS}))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, StudyEnd]:
    """A study that has been run, to be looked at only; screened proposals are among it."""
    bench = Bench(tmp_path_factory.mktemp("finished"), study_spec(budget={"trials": 16}, seed=1))
    return bench, bench.run()
