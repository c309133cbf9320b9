"""Seeds from earlier studies, and priors from the engine's screening."""

import pytest

from autotune.analysis.pareto import pareto_front
from autotune.analysis.recommend import recommend
from autotune.records import Configuration
from autotune.seams.engine import Screening
from autotune.spec.study import study_from
from autotune.study.priors import combined, screening_prior
from autotune.study.transfer import seeds_of
from tests.support.records import record, study_records

GIB = 1024**3
SPEC = study_from({"name": "sample"}, where="test")


def test_the_recommended_one_comes_first_and_the_front_after_it() -> None:
    """At most so many, each once, all of them on the front or recommended."""
    records = study_records(40)
    seeds = seeds_of(records, SPEC, most=4)
    front = {r.configuration for r in pareto_front(records, SPEC.objectives)}
    chosen = recommend(records, SPEC).configuration
    assert seeds[0] == chosen
    assert 1 < len(seeds) == len(set(seeds)) <= 4
    assert set(seeds[1:]) <= front


def test_a_study_without_a_feasible_trial_gives_no_seeds() -> None:
    """Nothing good there, nothing to take over."""
    assert seeds_of([], SPEC) == ()


def predicting(**figures: float) -> Screening:
    """A screening with these figures and 2 GiB of GPU margin."""
    return Screening(predicted=figures, gpu_margin_gib=2.0)


def test_a_screening_predicts_context_and_margins() -> None:
    """KV tokens are context capacity; the room over a request and the headroom are apart."""
    figures = predicting(kv_cache_tokens=1000.0, gpu_memory_bytes=10.5 * GIB)
    prior = screening_prior(lambda _c: figures, gpu_bound_bytes=11 * GIB)
    assert prior(Configuration()) == {
        "context_capacity_tokens": 1000.0,
        "gpu_margin_gib": 2.0,
        "gpu_headroom_gib": 0.5,
    }


def test_the_smaller_of_two_host_margins_counts() -> None:
    """Host memory may run out by the engine's own account or by the study's headroom."""
    figures = Screening(predicted={"host_memory_bytes": 80.0 * GIB}, host_margin_gib=14.0)
    predicted = screening_prior(lambda _c: figures, host_bound_bytes=85 * GIB)(Configuration())
    assert predicted == {"host_margin_gib": 5.0}


def test_what_the_engine_learnt_is_taken_off() -> None:
    """KV bytes of 8, of which trials added 2: three quarters of the tokens were predicted first."""
    figures = predicting(kv_cache_tokens=1000.0, kv_cache_bytes=8.0, kv_correction_bytes=2.0)
    predicted = screening_prior(lambda _c: figures)(Configuration())
    assert predicted is not None
    assert predicted["context_capacity_tokens"] == pytest.approx(750.0)


def test_an_engine_that_predicts_nothing_is_no_prior() -> None:
    """No figures, no margins: None, and the next prior is asked."""
    nothing = screening_prior(lambda _c: Screening())
    assert nothing(Configuration()) is None
    assert combined(nothing, lambda _c: {"a": 1.0})(Configuration()) == {"a": 1.0}
    assert combined(nothing, nothing)(Configuration()) is None


def test_the_first_prior_has_its_say() -> None:
    """Where two priors speak of the same figure the first one counts."""
    both = combined(lambda _c: {"a": 1.0}, lambda _c: {"a": 2.0, "b": 3.0})
    assert both(Configuration()) == {"a": 1.0, "b": 3.0}


def test_a_record_of_another_study_can_be_a_source() -> None:
    """Records need only figures; their study's name does not matter."""
    assert seeds_of([record(0, study="other")], SPEC) == (record(0).configuration,)
