"""Landscapes of the search's benchmark: the short cuts by which their tables are made."""

import pytest

from autotune.records import Configuration
from benchmarks.search.simulated import CASES, SimulatedProblem


@pytest.mark.parametrize("case", range(len(CASES)))
def test_a_server_that_need_not_be_played_again_would_give_the_same_figures(case: int) -> None:
    """It differs in what decides the room for the KV cache alone, and has enough of it."""
    values = {"max_num_seqs": 16, "kv_cache_dtype": "fp8", "attention_backend": "FLASHINFER"}
    alike = [
        Configuration.of({**values, "gpu_memory_utilization": share, "max_model_len": length})
        for share, length in ((0.84, 16384), (0.88, 16384), (0.88, 32768))
    ]
    problem = SimulatedProblem(case)
    together = [problem.play(configuration) for configuration in alike]
    alone = [SimulatedProblem(case).play(configuration) for configuration in alike]
    assert all(truth.values is not None for truth in together)
    assert together == alone
    assert problem.plays < len(alike)


def test_every_seed_is_another_card_and_none_is_the_file_that_is_believed() -> None:
    """So the prior is wrong on each of them."""
    problems = [SimulatedProblem(seed) for seed in (0, 5)]
    assert problems[0].case == problems[1].case
    configuration = Configuration.of({"gpu_memory_utilization": 0.84, "max_num_seqs": 16})
    speeds = [problem.play(configuration).values for problem in problems]
    believed = problems[0].prior(configuration)
    assert believed is not None
    assert believed == problems[1].prior(configuration)
    measured = [values[0] for values in speeds if values is not None]
    assert len({*measured, believed["output_tokens_per_s"]}) == 3
