"""What ablation would lose beside the objectives is kept; what it costs elsewhere is not told."""

from autotune.analysis.ablation import next_ablation
from autotune.analysis.recommend import Recommendation, recommend
from autotune.records import Configuration, TrialKind, TrialRecord
from autotune.spec.study import study_from
from tests.support.records import record

SPEC = study_from({"name": "sample", "budget": {"trials": 40}}, where="test")


def group(
    first: int, kind: TrialKind, context: float, revisit_s: float, **values: str | int
) -> list[TrialRecord]:
    """Three trials of a configuration that differ by nothing."""
    return [
        record(
            first + i,
            kind=kind,
            config=Configuration.of(values),
            metrics={
                "output_tokens_per_s": 700.0,
                "ttft_8k_ns": 2.5e9,
                "context_capacity_tokens": context,
                "revisit_warm_ttft_ns": revisit_s * 1e9,
            },
        )
        for i in range(3)
    ]


def study(revisit_without_s: float) -> list[TrialRecord]:
    """A default, a winner with fp8 and offload, and the winner less its offload."""
    default = group(1, TrialKind.FINALIST, 70_000, 3.0)
    baseline = record(
        0, kind=TrialKind.BASELINE, config=Configuration(), metrics=default[0].metrics
    )
    return [
        baseline,
        *default,
        *group(4, TrialKind.FINALIST, 150_000, 0.12, kv_cache_dtype="fp8", kv_offload_gib=8),
        *group(7, TrialKind.ABLATION, 150_000, revisit_without_s, kv_cache_dtype="fp8"),
    ]


def choice(revisit_without_s: float) -> Recommendation:
    """What such a study recommends."""
    return recommend(study(revisit_without_s), SPEC)


def test_a_setting_whose_removal_loses_a_factor_beside_the_objectives_is_kept() -> None:
    """Documents come back in 0.12 s with the offload and in 3 s without it: the offload stays."""
    chosen = choice(3.0)

    assert chosen.configuration.get("kv_offload_gib") == 8
    assert "fewest changes among equals that lose nothing beside the objectives" in chosen.reason
    (reason,) = [s for s in chosen.settings if s.parameter == "kv_offload_gib"]
    assert "no objective is worse beyond the noise, yet TTFT, documents re-visited x25" in (
        reason.text
    )


def test_a_setting_whose_removal_loses_nothing_goes() -> None:
    """0.12 s with it and 0.13 s without it: fewer settings, as before."""
    assert choice(0.13).configuration == Configuration.of({"kv_cache_dtype": "fp8"})


def test_what_is_kept_for_that_is_not_taken_away_again() -> None:
    """The removal was measured as often as a finalist is: ablation has told, and goes on."""
    due = next_ablation(study(3.0), SPEC)

    assert due != Configuration.of({"kv_cache_dtype": "fp8"})


def test_a_cost_that_was_measured_beside_other_settings_is_told_only_where_it_holds() -> None:
    """fp8 slows documents that an offload brings back; nothing is offloaded in what is served.

    With the offload fp8 was measured against its own default; the recommendation has none.
    """
    default = group(1, TrialKind.FINALIST, 70_000, 3.0)
    baseline = record(
        0, kind=TrialKind.BASELINE, config=Configuration(), metrics=default[0].metrics
    )
    records = [
        baseline,
        *default,
        *group(4, TrialKind.FINALIST, 150_000, 3.0, kv_cache_dtype="fp8", max_num_seqs=128),
        *group(7, TrialKind.SEARCH, 150_000, 0.15, kv_cache_dtype="fp8", kv_offload_gib=8),
        *group(10, TrialKind.SEARCH, 70_000, 0.12, kv_offload_gib=8),
    ]
    chosen = recommend(records, SPEC)
    (reason,) = [s for s in chosen.settings if s.parameter == "kv_cache_dtype"]

    assert chosen.configuration.get("kv_offload_gib") is None
    assert "measured with kv_offload_gib 8, max_num_seqs default (trials 7, 8, 9)" in reason.text
    assert "re-visited" not in reason.text
