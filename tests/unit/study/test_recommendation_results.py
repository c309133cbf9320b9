"""The benchmark of whole studies: its looked-up landscapes, and its table."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from autotune.records import Configuration
from autotune.study.distributions import enumerate_space
from benchmarks.search.synthetic import SPACE, SyntheticProblem
from benchmarks.search.tempered import TemperedProblem, scores
from benchmarks.search.verdicts import RESULTS, read, table


@pytest.mark.thorough
def test_what_is_looked_up_is_what_is_worked_out() -> None:
    """Every 977th configuration, and the engine's own default, which is in no row."""
    worked_out, looked_up = SyntheticProblem(1001), TemperedProblem(1001)
    some = itertools.islice(enumerate_space(SPACE), 0, None, 977)
    for configuration in itertools.chain([Configuration()], some):
        assert looked_up.truth(configuration) == worked_out.truth(configuration)
        assert looked_up.screen(configuration) == worked_out.screen(configuration)
        assert looked_up.prior(configuration) == worked_out.prior(configuration)


@pytest.mark.thorough
def test_the_best_of_a_tempered_landscape_gains_what_was_asked() -> None:
    """20% in the product of the objectives' ratios to the default's."""
    problem = TemperedProblem(1001, 0.2)
    default = problem.truth(Configuration()).values
    gains = scores(problem.feasible_values()) - scores(np.asarray([default]))
    assert float(np.expm1(gains.max())) == pytest.approx(0.2, rel=1e-6)


def test_the_table_is_made_of_the_results_beside_it() -> None:
    """Nothing in it was typed in."""
    runs = [read(path) for path in sorted(RESULTS.glob("recommendations-*.json"))]
    assert runs
    written = (RESULTS / "recommendations.md").read_text(encoding="utf-8")
    assert written.strip() == table(runs)
    docs = Path(__file__).resolve().parents[3] / "docs" / "search.md"
    assert table(runs) in docs.read_text(encoding="utf-8")
