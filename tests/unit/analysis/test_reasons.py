"""The sentences that say why a setting is as it is hold for the trials that they name."""

from collections.abc import Mapping

from autotune.analysis.recommend import recommend
from autotune.analysis.setting_reason import Basis, SettingReason, Shown
from autotune.records import Configuration, Scalar, TrialKind, TrialRecord
from autotune.spec.study import study_from
from tests.support.records import record

SPEC = study_from({"name": "sample", "budget": {"trials": 40}}, where="test")
PLAIN: Mapping[str, float] = {
    "output_tokens_per_s": 700.0,
    "ttft_8k_ns": 2.5e9,
    "context_capacity_tokens": 70_000.0,
    "ttft_loaded_p50_ns": 2.0e9,
    "revisit_warm_ttft_ns": 3.0e9,
    "revisit_total_tokens_per_s": 3_400.0,
}
LARGER: Mapping[str, float] = {**PLAIN, "context_capacity_tokens": 150_000.0}
BACK_AT_ONCE = {"revisit_warm_ttft_ns": 0.08e9, "revisit_total_tokens_per_s": 118_000.0}


def trials(
    first: int, kind: TrialKind, metrics: Mapping[str, float], **values: Scalar
) -> list[TrialRecord]:
    """Three trials of a configuration that differ by nothing."""
    config = Configuration.of(values)
    return [record(first + i, kind=kind, config=config, metrics=metrics) for i in range(3)]


def reasons(*groups: list[TrialRecord]) -> Mapping[str, SettingReason]:
    """Of what a study with these trials, and a default, recommends."""
    baseline = record(0, kind=TrialKind.BASELINE, config=Configuration(), metrics=PLAIN)
    records = [baseline, *trials(1, TrialKind.FINALIST, PLAIN)]
    chosen = recommend([*records, *(r for group in groups for r in group)], SPEC)
    return {setting.parameter: setting for setting in chosen.settings}


def test_what_is_lost_beside_the_objectives_is_told_by_name() -> None:
    """Without the offload every objective is as good or better, and documents come back slowly."""
    better_without = {**LARGER, "output_tokens_per_s": 706.0, "ttft_8k_ns": 2.48e9}
    found = reasons(
        trials(4, TrialKind.FINALIST, {**LARGER, **BACK_AT_ONCE}, kv="fp8", offload=8),
        trials(7, TrialKind.ABLATION, better_without, kv="fp8"),
    )["offload"]

    assert "all together" not in found.text
    assert found.text.startswith(
        "without it (trials 7, 8, 9) no objective is worse beyond the noise, yet TTFT, "
        "documents re-visited x37.50"
    )
    assert "Re-visit throughput" not in found.text, "of the same requests"


def test_the_harms_that_are_named_are_each_of_another_kind() -> None:
    """Documents that come back later, and a longer queue: both are told."""
    with_it = {**LARGER, "revisit_warm_ttft_ns": 2.0e9, "ttft_loaded_p50_ns": 1.5e9}
    without = {**LARGER, "revisit_warm_ttft_ns": 3.2e9, "ttft_loaded_p50_ns": 2.0e9}
    found = reasons(
        trials(4, TrialKind.FINALIST, with_it, kv="fp8", scheduler="own"),
        trials(7, TrialKind.ABLATION, without, kv="fp8"),
    )["scheduler"]

    assert "yet TTFT, documents re-visited x1.60, TTFT under load +33%" in found.text
    assert "not shown to help" not in found.text


def test_a_pair_against_another_value_is_no_pair_against_the_default() -> None:
    """128 and 64 differ in nothing else: what is missing is the default, and that is said."""
    found = reasons(
        trials(4, TrialKind.FINALIST, LARGER, kv="fp8", seqs=128),
        trials(7, TrialKind.SEARCH, PLAIN, kv="fp8", seqs=64),
    )["seqs"]

    assert found.basis is Basis.UNMEASURED
    assert found.text == ("not measured alone: no matched pair of 128 and the default")


def test_a_setting_that_brings_a_little_beside_the_objectives_is_shown_to_help() -> None:
    """10% on repeated prefixes is why it is there: the text and its summary say one thing."""
    warm, colder = {"prefix_warm_ttft_ns": 2.0e7}, {"prefix_warm_ttft_ns": 2.2e7}
    wider = {**LARGER, "context_capacity_tokens": 190_000.0}
    found = reasons(
        trials(4, TrialKind.FINALIST, {**wider, **warm}, kv="fp8", block=64, wide=1),
        trials(7, TrialKind.SEARCH, {**LARGER, **warm}, kv="fp8", block=64),
        trials(10, TrialKind.SEARCH, {**LARGER, **colder}, kv="fp8"),
    )

    assert "yet TTFT, repeated prefix +10%" in found["block"].text
    assert found["block"].shown is Shown.HELPS
    assert found["kv"].shown is Shown.HELPS


def test_few_words_tell_what_a_reason_comes_to_and_a_rule_is_told_whole() -> None:
    """Where a line has no room for it all."""

    def brief(shown: Shown, costs: Mapping[str, float] | None = None) -> str:
        text = "without it: wrong text on 12.x"
        return SettingReason(
            parameter="a", value=1, default=0, text=text, shown=shown, costs=costs or {}
        ).brief

    assert brief(Shown.FORCED) == "without it: wrong text on 12.x"
    assert brief(Shown.UNKNOWN) == "not measured alone"
    assert brief(Shown.NOTHING) == "not shown to help"
    assert brief(Shown.COST, {"prefix_warm_ttft_ns": 1.17, "ttft_8k_ns": 1.1}) == (
        "not shown to help; TTFT, repeated prefix +17.0% and 1 more"
    )
