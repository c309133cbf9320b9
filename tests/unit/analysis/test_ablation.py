"""Settings are taken away from what would be recommended, on landscapes whose truth is known."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.analysis.ablation import ablation_trials, next_ablation
from autotune.analysis.alike import told_once
from autotune.analysis.finalists import finalists_of, next_finalist
from autotune.analysis.recommend import Basis, Recommendation, recommend
from autotune.records import (
    Applied,
    Configuration,
    Failure,
    FailureKind,
    LimitCheck,
    Scalar,
    TrialKind,
    TrialRecord,
)
from autotune.spec.space import space_from
from autotune.spec.study import StudySpec, study_from
from autotune.trial.failure import outcome_of

RAW = {"name": "s", "objectives": ["output_tokens_per_s", "ttft_8k_ns"]}
SPEC = study_from(RAW, where="test")
PATIENT = SPEC.model_copy(
    update={
        "budget": SPEC.budget.model_copy(update={"trials": 200}),
        "search": SPEC.search.model_copy(update={"ablations": 60}),
    }
)
DEFAULTS = {"seqs": 256, "prefix": True}
"""What a server of this landscape runs with where nothing is asked."""

Gains = Mapping[str, float]
"""Setting to its part of the throughput's logarithm."""


@dataclass
class Landscape:
    """Throughput is the product of its settings' parts; everything else is flat.

    Attributes:
        gains: Of each setting that is on.
        slower: Metric to the factor by which setting `bad` raises it.
        refused: Settings without which a configuration does not start.
        sd: Relative noise.
    """

    gains: Gains
    slower: Mapping[str, float] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()
    sd: float = 0.01
    seed: int = 0

    def measure(self, number: int, kind: TrialKind, configuration: Configuration) -> TrialRecord:
        rng = np.random.default_rng((self.seed, number))
        log = sum(gain for name, gain in self.gains.items() if configuration.get(name) is not None)
        metrics: dict[str, float | None] = {
            "output_tokens_per_s": 1000 * float(np.exp(log + rng.normal(0, self.sd))),
            "ttft_8k_ns": 1e9 * float(np.exp(rng.normal(0, self.sd))),
            "prefix_warm_ttft_ns": 2e7 * float(np.exp(rng.normal(0, self.sd))),
            "ttft_loaded_p50_ns": 1e9 * float(np.exp(rng.normal(0, self.sd))),
        }
        for tag, factor in self.slower.items():
            if configuration.get("bad") is not None:
                metrics[tag] = (metrics[tag] or 0) * factor
        failure = None
        if configuration.items and not self.refused <= set(configuration.values):
            message = "out of memory"
            failure = Failure(kind=FailureKind.GPU_OOM, phase="starting", message=message)
            metrics = {}
        return TrialRecord(
            study="s", number=number, kind=kind, configuration=configuration,
            outcome=outcome_of(failure), metrics=metrics,
            applied=Applied(settings={**DEFAULTS, **configuration.values}),
        )  # fmt: skip


def proved(landscape: Landscape, *configurations: dict[str, Scalar]) -> list[TrialRecord]:
    """The baseline, a search that found these, and their proofs beside the baseline."""
    found = [Configuration.of(values) for values in configurations]
    plan = [(TrialKind.BASELINE, Configuration()), *((TrialKind.SEARCH, c) for c in found)]
    plan += [(TrialKind.FINALIST, c) for _ in range(3) for c in (Configuration(), *found)]
    return [landscape.measure(i, kind, c) for i, (kind, c) in enumerate(plan)]


def ablated(
    landscape: Landscape,
    records: list[TrialRecord],
    refusal: Callable[[Configuration], str | None] = lambda _: None,
    spec: StudySpec = SPEC,
) -> list[TrialRecord]:
    """The records, and every ablation that is due after them."""
    records = list(records)
    while (due := next_ablation(records, spec, refusal=refusal)) is not None:
        assert refusal(due) is None
        records.append(landscape.measure(len(records), TrialKind.ABLATION, due))
        assert len(records) < 100
    return records


def answer(
    landscape: Landscape, *configurations: dict[str, Scalar], spec: StudySpec = SPEC
) -> Recommendation:
    """What is recommended in the end."""
    return recommend(ablated(landscape, proved(landscape, *configurations), spec=spec), spec)


def values(chosen: Recommendation) -> dict[str, Scalar]:
    """Its settings."""
    return chosen.configuration.values


@settings(max_examples=30, deadline=None)
@given(
    useful=st.sets(st.sampled_from("abcd"), min_size=1, max_size=2),
    useless=st.sets(st.sampled_from("efgh"), min_size=1, max_size=4),
    seed=st.integers(0, 10_000),
)
def test_what_pays_stays_and_what_does_nothing_goes(
    useful: set[str], useless: set[str], seed: int
) -> None:
    """With trials enough, gains of 30% are kept and what has no effect is not."""
    landscape = Landscape(dict.fromkeys(useful, 0.26), sd=0.002, seed=seed)
    everything: dict[str, Scalar] = dict.fromkeys(sorted(useful | useless), 1)
    chosen = answer(landscape, everything, {min(useful): 1, min(useless): 1}, spec=PATIENT)
    assert set(values(chosen)) == useful


def test_what_is_shown_to_cost_goes_first_and_what_helps_for_certain_stays() -> None:
    """A pair shows that `bad` makes others wait 10% longer; together with `c` it goes at once."""
    landscape = Landscape(
        {"a": 0.3, "bad": 0.03}, slower={"ttft_loaded_p50_ns": 1.1}, sd=0.02, seed=3
    )
    both = {"a": 1, "bad": 1}
    records = proved(landscape, {**both, "c": 1}, {**both, "d": 1})
    for names in ("a", ("a", "bad"), ("bad", "c"), ("bad", "d"), "c", "d", ("bad", "e"), "e"):
        searched = Configuration.of(dict.fromkeys(names, 1))
        records.append(landscape.measure(len(records), TrialKind.SEARCH, searched))
    assert next_ablation(records, SPEC) == Configuration.of({"a": 1})


def test_a_useless_setting_is_removed() -> None:
    """One that pays and one that does nothing: the second is not recommended."""
    chosen = answer(Landscape({"a": 0.3}), {"a": 1, "idle": 1}, {"a": 2, "idle": 1})
    assert set(values(chosen)) == {"a"}


def test_a_setting_that_harms_is_removed() -> None:
    """10% slower with it, hidden behind one that pays 30%."""
    chosen = answer(Landscape({"a": 0.3, "bad": -0.1}), {"a": 1, "bad": 1}, {"a": 2, "bad": 1})
    assert set(values(chosen)) == {"a"}


def test_two_settings_that_pay_are_both_kept_and_each_has_its_pair() -> None:
    """The removal of each is measured, and told as the reason."""
    chosen = answer(Landscape({"a": 0.3, "b": 0.2}), {"a": 1, "b": 1}, {"a": 2, "b": 2})
    assert set(values(chosen)) == {"a", "b"}
    assert [s.basis for s in chosen.settings] == [Basis.MEASURED, Basis.MEASURED]
    (a, b) = chosen.settings
    assert "Output throughput -26%" in a.text or "Output throughput -25%" in a.text
    assert b.effects[0].lacking != a.effects[0].lacking


def test_a_setting_that_is_the_default_anyway_is_dropped() -> None:
    """The server runs with 256 sequences whether or not it is told so."""
    chosen = answer(Landscape({"a": 0.3}), {"a": 1, "seqs": 256}, {"a": 2, "seqs": 256})
    assert set(values(chosen)) == {"a"}


def test_without_ablation_a_setting_that_may_do_nothing_is_said_to() -> None:
    """A study without such trials tells it from the others, and claims no more than was tried."""
    landscape = Landscape({"a": 0.3})
    records = proved(landscape, {"a": 1, "seqs": 256}, {"a": 2, "seqs": 256})
    chosen = recommend(records, SPEC)
    seqs = {s.parameter: s for s in chosen.settings}["seqs"]
    assert seqs.basis is Basis.IDLE
    assert seqs.text == "the default ran with it too: it may change nothing; not tried without it"
    assert "fewest changes" not in chosen.reason
    assert "fewest changes" in answer(landscape, {"a": 1}, {"a": 2}).reason


def test_what_does_not_start_without_a_setting_is_the_reason_for_it() -> None:
    """Useless for speed, but the rest runs out of memory without it."""
    landscape = Landscape({"a": 0.3}, refused=frozenset({"room"}))
    chosen = answer(landscape, {"a": 1, "room": 1}, {"a": 2, "room": 1})
    assert set(values(chosen)) == {"a", "room"}
    room = {s.parameter: s for s in chosen.settings}["room"]
    assert room.basis is Basis.NEEDED
    assert "out of memory" in room.text


RULE = "a has given wrong text without safe"
FORBIDDING = study_from(
    {
        **RAW,
        "space": {
            "parameters": {n: {"choices": ["default", 1, 2]} for n in ("a", "safe", "idle")},
            "forbidden": [{"a": [1, 2], "safe": "default", "because": RULE}],
        },
    },
    where="test",
)


def test_what_a_space_forbids_is_not_proposed() -> None:
    """The rest of the settings is tested all the same, and the declared rule is the reason."""
    space = space_from(FORBIDDING.space, where="test")
    landscape = Landscape({"a": 0.3})
    found = proved(landscape, {"a": 1, "safe": 1, "idle": 1}, {"a": 1, "safe": 1})
    chosen = recommend(ablated(landscape, found, space.refusal, FORBIDDING), FORBIDDING)
    assert values(chosen) == {"a": 1, "safe": 1}
    safe = {s.parameter: s for s in chosen.settings}["safe"]
    assert safe.basis is Basis.NEEDED
    assert safe.text.startswith(f"without it: a=1 with safe=default: {RULE}; measured with a def")
    assert safe.text.endswith("there it cost nothing beyond the noise")
    before = {s.parameter: s for s in recommend(found, FORBIDDING).settings}["safe"]
    assert before.text.endswith("what it costs was not measured alone")


def test_what_a_rule_asks_for_tells_its_own_cost() -> None:
    """Measured where the rule does not hold: beside the default of what it belongs to."""
    space = space_from(FORBIDDING.space, where="test")
    landscape = Landscape({"a": 0.5, "safe": -0.1})
    found = proved(landscape, {"a": 1, "safe": 1}, {"safe": 1})
    chosen = recommend(ablated(landscape, found, space.refusal, FORBIDDING), FORBIDDING)
    safe = {s.parameter: s for s in chosen.settings}["safe"]
    assert RULE in safe.text
    assert "measured with a default" in safe.text
    assert safe.costs["output_tokens_per_s"] == pytest.approx(math.exp(-0.1), rel=0.03)


def test_what_was_forced_beside_a_setting_goes_with_it() -> None:
    """The rule held the two together; it says nothing of what is left of them."""
    space = space_from(FORBIDDING.space, where="test")
    landscape = Landscape({"idle": 0.3})
    found = proved(landscape, {"a": 1, "safe": 1, "idle": 1}, {"a": 2, "safe": 1, "idle": 1})
    chosen = recommend(ablated(landscape, found, space.refusal, FORBIDDING), FORBIDDING)
    assert values(chosen) == {"idle": 1}


def test_harm_beside_the_objectives_that_exceeds_the_gain_is_not_recommended() -> None:
    """2% faster and a repeated prefix 57 times slower: the log of 57 at a fifth is 0.8."""
    landscape = Landscape({"a": 0.3, "bad": 0.02}, slower={"prefix_warm_ttft_ns": 57.0})
    chosen = answer(landscape, {"a": 1, "bad": 1}, {"a": 2, "bad": 1})
    assert set(values(chosen)) == {"a"}
    assert "prefix_warm_ttft_ns" not in chosen.costs


def test_a_gain_that_exceeds_its_harm_is_recommended_with_its_cost() -> None:
    """35% faster for a first token under load that comes half as late again."""
    landscape = Landscape({"bad": 0.3}, slower={"ttft_loaded_p50_ns": 1.5})
    chosen = answer(landscape, {"bad": 1}, {"bad": 2})
    assert set(values(chosen)) == {"bad"}
    assert chosen.costs["ttft_loaded_p50_ns"] == pytest.approx(1.5, rel=0.05)
    assert "TTFT under load" in chosen.reason
    (reason,) = chosen.settings
    assert "it costs TTFT under load" in reason.text


def test_the_plan_is_the_same_whoever_goes_on() -> None:
    """At every point the records alone tell the next trial, whatever their rows were made by."""
    landscape = Landscape({"a": 0.3, "b": 0.05, "c": 0.02}, sd=0.03)
    settings_ = dict.fromkeys("abcdef", 1)
    records = ablated(landscape, proved(landscape, settings_, {"a": 1, "d": 1}))
    first = next(i for i, r in enumerate(records) if r.kind is TrialKind.ABLATION)
    for upto in range(first, len(records)):
        assert next_ablation(records[:upto], SPEC) == records[upto].configuration
        assert next_ablation(tuple(records[:upto]), SPEC) == records[upto].configuration


def test_no_more_trials_are_spent_than_are_kept_for_it() -> None:
    """Six settings that all pay a little cannot be told in eight trials: then it ends."""
    landscape = Landscape(dict.fromkeys("abcdef", 0.05), sd=0.03)
    records = ablated(landscape, proved(landscape, dict.fromkeys("abcdef", 1), {"a": 1}))
    assert sum(r.kind is TrialKind.ABLATION for r in records) == 8


def test_a_default_that_nothing_beats_is_not_taken_apart() -> None:
    """There is nothing to take away."""
    landscape = Landscape({})
    assert next_ablation(proved(landscape, {"a": 1}, {"b": 1}), SPEC) is None


@dataclass
class Doubled(Landscape):
    """Setting `throughput` doubles the batch that is left to the server, which then has no room.

    As vLLM 0.32 does on a card under 70 GiB: `max_num_batched_tokens` is 2048, and 4096 with
    `performance_mode: throughput`.
    """

    def measure(self, number: int, kind: TrialKind, configuration: Configuration) -> TrialRecord:
        ran = {"batch": 4096 if configuration.get("throughput") else 2048, **configuration.values}
        if ran["batch"] == 4096:
            return replace(
                super().measure(number, kind, configuration),
                metrics={},
                outcome=outcome_of(
                    Failure(kind=FailureKind.GPU_OOM, phase="starting", message="out of memory")
                ),
            )
        record = super().measure(number, kind, configuration)
        return replace(record, applied=Applied(settings={**DEFAULTS, **ran}))


WINNER = Configuration.of({"throughput": 1, "batch": 2048})


def test_a_finalist_is_deployed_as_it_was_measured() -> None:
    """The default's batch is 2048 too, but `throughput` alone would be a server nobody measured."""
    plan = [
        (TrialKind.BASELINE, Configuration()),
        (TrialKind.SEARCH, WINNER),
        (TrialKind.SEARCH, Configuration.of({"b": 1})),
    ]
    landscape = Doubled({"throughput": 0.3})
    records = [landscape.measure(i, kind, c) for i, (kind, c) in enumerate(plan)]
    assert finalists_of(records, SPEC)[:2] == (Configuration(), WINNER)


def test_a_finalist_is_deployed_without_what_a_trial_shows_to_change_nothing() -> None:
    """A server without the 256 sequences read back the same: both are one, by the shorter name."""
    landscape = Landscape({"a": 0.3})
    shorter, longer = Configuration.of({"a": 1}), Configuration.of({"a": 1, "seqs": 256})
    found = (longer, shorter, Configuration.of({"a": 1, "b": 1}))
    plan = [(TrialKind.BASELINE, Configuration()), *((TrialKind.SEARCH, c) for c in found)]
    records = told_once([landscape.measure(i, kind, c) for i, (kind, c) in enumerate(plan)])
    assert set(finalists_of(records, SPEC)) == {Configuration(), shorter, found[2]}


def test_a_value_that_the_default_has_only_alone_stays_and_says_why() -> None:
    """Ablation deploys the rest without the batch of 2048: it runs out of memory."""
    chosen = answer(Doubled({"throughput": 0.3}), WINNER.values, {"b": 1})
    assert chosen.configuration == WINNER
    batch = {s.parameter: s for s in chosen.settings}["batch"]
    assert batch.basis is Basis.NEEDED
    assert "out of memory" in batch.text


@dataclass
class Rounded(Landscape):
    """A server that rounds its batch up: 2000 tokens, which the default asks for, are 2048."""

    def measure(self, number: int, kind: TrialKind, configuration: Configuration) -> TrialRecord:
        record = super().measure(number, kind, configuration)
        return replace(record, applied=Applied(settings={**configuration.values, "batch": 2048}))

    def proofs(self) -> list[TrialRecord]:
        """The default, what a search found, and every proof that is due after it."""
        plan = [(TrialKind.BASELINE, Configuration.of({"batch": 2000}))]
        plan += [(TrialKind.SEARCH, c) for c in (AT_2048, Configuration.of({"b": 1}))]
        records = [self.measure(i, kind, c) for i, (kind, c) in enumerate(plan)]
        while (due := next_finalist(told_once(records), SPEC)) is not None:
            records.append(self.measure(len(records), TrialKind.FINALIST, due))
            assert len(records) < 40
        return records


AT_2048 = Configuration.of({"a": 1, "batch": 2048})
AT_2000 = Configuration.of({"a": 1, "batch": 2000})


def test_a_finalist_whose_trials_bear_another_name_has_its_repeats_and_no_more() -> None:
    """Proofs count for what was asked for: of three finalists nine, and the plan is done."""
    records = Rounded({"a": 0.3}).proofs()
    assert sum(r.kind is TrialKind.FINALIST for r in records) == 9


def test_a_removal_whose_trials_bear_another_name_is_not_asked_for_again() -> None:
    """The winner with the default's 2000 tokens is the winner: one trial shows it."""
    landscape = Rounded({"a": 0.3})
    records = landscape.proofs()
    while (due := next_ablation(told_once(records), SPEC)) is not None:
        records.append(landscape.measure(len(records), TrialKind.ABLATION, due))
    assert [r.configuration for r in records if r.kind is TrialKind.ABLATION].count(AT_2000) == 1
    chosen = recommend(told_once(records), SPEC)
    assert chosen.configuration == AT_2048
    assert {s.parameter: s.text for s in chosen.settings}["batch"] == (
        "the server without it ran with the same values: it changes nothing"
    )


@pytest.mark.parametrize("kind", [FailureKind.LIMIT_MISSED, FailureKind.GPU_OOM])
def test_a_removal_that_broke_under_another_name_is_not_asked_for_again(kind: FailureKind) -> None:
    """It started, read back as the winner does and then broke: once is enough."""
    landscape = Rounded({"a": 0.3})
    records = landscape.proofs()
    while (due := next_ablation(told_once(records), SPEC)) is not None:
        record = landscape.measure(len(records), TrialKind.ABLATION, due)
        if due == AT_2000:
            failure = Failure(kind=kind, phase="benchmark", message="broke")
            record = replace(record, outcome=outcome_of(failure), metrics={})
        records.append(record)
    assert sum(r.configuration == AT_2000 for r in records) == 1


def test_a_removal_without_figures_is_not_deployed_without_end() -> None:
    """It runs, and one objective is never measured: after four times it is left alone."""
    landscape = Landscape({"a": 0.3})
    records, without = proved(landscape, {"a": 1, "x": 1}, {"b": 1}), Configuration.of({"a": 1})
    while (due := next_ablation(records, PATIENT)) is not None:
        record = landscape.measure(len(records), TrialKind.ABLATION, due)
        if due == without:
            record = replace(record, metrics={**record.metrics, "ttft_8k_ns": None})
        records.append(record)
    assert sum(r.configuration == without for r in records) == 4


def test_what_is_left_in_the_end_was_deployed_as_often_as_a_finalist() -> None:
    """Two trials are enough to go on taking away, and the answer has three all the same."""
    landscape = Landscape({"a": 0.3}, sd=0.002)
    records = ablated(landscape, proved(landscape, {"a": 1, "x": 1}, {"a": 2, "x": 1}))
    left = recommend(records, SPEC).configuration
    assert set(left.values) == {"a"}
    assert sum(r.configuration == left for r in records) == 3


def test_a_winner_found_after_the_first_look_is_not_taken_apart() -> None:
    """The default has more proofs than the repeats: a look after every trial would find luck."""
    landscape = Landscape({"a": 0.3})
    records = proved(landscape, {"a": 1, "idle": 1}, {"a": 2, "idle": 1})
    assert next_ablation(records, SPEC) is not None
    further = landscape.measure(len(records), TrialKind.FINALIST, Configuration())
    assert next_ablation([*records, further], SPEC) is None


@pytest.mark.parametrize(
    ("trials", "kept"), [(16, 0), (26, 0), (27, 3), (30, 4), (40, 8), (200, 8)]
)
def test_small_budgets_keep_none(trials: int, kept: int) -> None:
    """Nine proofs within a third, and both within 45%: 13 of 30 leave four."""
    assert ablation_trials(SPEC.model_copy(update={"budget": SPEC.budget.model_copy(
        update={"trials": trials})})) == kept  # fmt: skip


def test_a_default_that_slipped_once_over_a_limit_is_proved_further() -> None:
    """Kept at first and missed in its first proof: it is deployed again; after an OOM it is not."""
    records = proved(Landscape({"a": 0.3}), {"a": 1}, {"a": 1, "b": 1})[:4]
    default = records[3]
    assert default.configuration == Configuration()

    def after(kind: FailureKind) -> Configuration | None:
        failure = Failure(kind=kind, phase="limits", message="over")
        over = LimitCheck(metric="ttft_8k_ns", bound=1e9, value=1.01e9, kept=False)
        broken = replace(default, outcome=outcome_of(failure), limits=(over,))
        others = [
            replace(r, number=10 + i, kind=TrialKind.FINALIST) for i, r in enumerate(records[1:3])
        ]
        return next_finalist([*records[:3], broken, *others], SPEC)

    assert after(FailureKind.LIMIT_MISSED) == Configuration()
    assert after(FailureKind.GPU_OOM) != Configuration()
