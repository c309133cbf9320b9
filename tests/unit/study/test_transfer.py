"""Seeds from earlier studies, and priors from the engine's screening."""

from dataclasses import replace

import pytest

from autotune.analysis.front import front_numbers
from autotune.analysis.recommend import recommend
from autotune.records import Configuration, TrialRecord
from autotune.seams.engine import Screening
from autotune.spec.space import space_from
from autotune.spec.study import study_from
from autotune.study.priors import combined, screening_prior
from autotune.study.transfer import Earlier, akin, as_here, fits, regressions, seeds_of
from tests.support.records import record, study_records

GIB = 1024**3
SPEC = study_from({"name": "sample"}, where="test")


def test_the_recommended_one_comes_first_and_the_front_after_it() -> None:
    """At most so many, each once, all of them on the front or recommended."""
    records = study_records(40)
    seeds = seeds_of(records, SPEC, most=4)
    numbers = front_numbers(records, SPEC.objectives)
    front = {r.configuration for r in records if r.number in numbers}
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


HERE = {"gpu": "card A", "engine_platform": "cuda"}


def earlier(name: str, *, gpu: str = "card A", start: str = "", model: str = "m") -> Earlier:
    """A study of one measured trial."""
    trial = record(0, study=name)
    environment = {"gpu": gpu, "engine_platform": "cuda"}
    trial = replace(trial, environment=environment, wall_start=start)
    return Earlier(spec=study_from({"name": name, "model": model}, where="t"), records=(trial,))


NOW = study_from({"name": "now", "model": "m"}, where="test")


def chosen(*studies: Earlier, simulated: bool = False) -> str | None:
    """Name of the study that is taken."""
    found = akin(studies, NOW, simulated=simulated, where=HERE)
    return None if found is None else found.spec.name


def test_the_latest_study_of_the_model_on_such_a_card_is_taken() -> None:
    """An older one of this card comes before a newer one of another."""
    old, new = earlier("old", start="2026-01-01"), earlier("new", start="2026-02-01")
    elsewhere = earlier("elsewhere", gpu="card B", start="2026-03-01")
    assert chosen(old, new, elsewhere) == "new"
    assert chosen(elsewhere) == "elsewhere"


def test_nothing_is_taken_from_another_model_from_itself_or_from_a_simulation() -> None:
    """None of them says what is good here."""
    assert chosen(earlier("other", model="n")) is None
    assert chosen(earlier("now")) is None
    assert chosen(earlier("real"), simulated=True) is None


def test_a_configuration_fits_a_space_that_holds_its_values_and_allows_them() -> None:
    """Unknown parameters, unknown values and forbidden pairs do not."""
    space = space_from(
        {
            "name": "s",
            "parameters": {"a": {"choices": ["default", 1, 2]}, "b": {"choices": ["default", 4]}},
            "relations": [{"at_least": ["a", "b"]}],
        },
        where="s",
    )
    assert fits(Configuration.of({"a": 1}), space)
    assert not fits(Configuration.of({"a": 3}), space)
    assert not fits(Configuration.of({"c": 1}), space)
    assert not fits(Configuration.of({"a": 2, "b": 4}), space)


def with_speed(number: int, speed: float, ttft_ns: float) -> TrialRecord:
    """A trial of one configuration."""
    metrics = {"output_tokens_per_s": speed, "ttft_8k_ns": ttft_ns}
    return record(number, config=Configuration.of({"max_num_seqs": 64}), metrics=metrics)


def test_what_is_clearly_worse_than_before_is_named() -> None:
    """A fifth less throughput is; 1% more latency is noise; what is better is no regression."""
    then = [with_speed(n, 1000, 1e9) for n in range(3)]
    now = [with_speed(n, 800, 1.01e9) for n in range(3)]
    (found,) = regressions(then, now, SPEC)
    assert found.metric == "output_tokens_per_s"
    assert found.ratio == pytest.approx(0.8)
    assert "0.80 times" in str(found)
    assert regressions(now, then, SPEC) == ()


def test_a_lone_trial_must_be_far_off_before_it_is_called_worse() -> None:
    """With one trial each and no repeats, 5% may be luck."""
    then, now = [with_speed(0, 1000, 1e9)], [with_speed(0, 950, 1e9)]
    assert regressions(then, now, SPEC) == ()


def test_the_share_of_a_lowered_default_stays_in_its_study() -> None:
    """Where the space does not search it; where it does, it is a value like others."""
    plain = {"max_num_seqs": {"choices": ["default", 64]}}
    share = {"gpu_memory_utilization": {"low": 0.8, "high": 0.92, "step": 0.02}}
    good = Configuration.of({"max_num_seqs": 64, "gpu_memory_utilization": 0.9})
    without = space_from({"name": "s", "parameters": plain}, where="s")
    with_share = space_from({"name": "s", "parameters": {**plain, **share}}, where="s")
    assert as_here(good, without) == Configuration.of({"max_num_seqs": 64})
    assert as_here(good, with_share) == good
    assert as_here(Configuration.of({"block_size": 16}), without) is None
