"""The head of a report: what is recommended against the baseline."""

from dataclasses import replace

import pytest

from autotune.analysis.criteria import THROUGHPUT
from autotune.analysis.measurements import repeats_of
from autotune.cli.commands.compare import metrics
from autotune.cli.conclude import Summary
from autotune.cli.sides import Side
from autotune.metrics import METRICS
from autotune.records import Configuration, TrialKind, TrialRecord
from autotune.report.findings import Findings, findings_of
from autotune.report.html import report_html
from autotune.report.inputs import ReportInputs
from autotune.report.markdown import report_markdown
from autotune.report.summary import cards, comparison_of, trials_of
from autotune.report.table import Table
from autotune.report.verdict import verdict
from autotune.spec.study import Preference, StudySpec, study_from
from tests.support.records import record

WIDER = Configuration.of({"max_num_seqs": 64})


def trial(
    number: int,
    kind: TrialKind,
    configuration: Configuration,
    speed: float,
    *,
    failed: float = 0.0,
    startup_s: float = 60.0,
) -> TrialRecord:
    """A trial whose other objectives are always the same."""
    figures = {
        THROUGHPUT: speed, "ttft_8k_ns": 1.5e9, "context_capacity_tokens": 60_000.0,
        "failed_requests_count": failed, "startup_ns": startup_s * 1e9,
    }  # fmt: skip
    return record(number, kind=kind, config=configuration, metrics=figures)


def proved(prefer: Preference | None = None) -> Findings:
    """Two proofs of each: sqrt(1440 x 1690) = 1560 against sqrt(1125 x 980) = 1050 tokens/s."""
    default = Configuration()
    return findings_of(StudySpec(name="sample"), [
        trial(0, TrialKind.BASELINE, default, 1100.0),
        trial(1, TrialKind.SEARCH, WIDER, 1700.0, startup_s=200.0),
        trial(2, TrialKind.FINALIST, default, 1125.0, startup_s=70.0),
        trial(3, TrialKind.FINALIST, WIDER, 1440.0, failed=1.0, startup_s=90.0),
        trial(4, TrialKind.FINALIST, WIDER, 1690.0, startup_s=30.0),
        trial(5, TrialKind.FINALIST, default, 980.0, startup_s=60.0),
    ], prefer=prefer)  # fmt: skip


def row(table: Table | None, name: str) -> list[str]:
    """The cells behind a metric's name."""
    assert table is not None
    return next([c.text for c in cells[1:]] for cells in table.rows if cells[0].text == name)


def test_a_change_of_means_is_held_against_the_noise_of_means() -> None:
    """9% between single trials that differ by 5%: noise, and with three trials a side it is not."""
    shifts = (0.95, 1.0, 1.05)

    def of(repeats: int) -> Findings:
        plan = [(Configuration(), 1000.0, 60_000.0), (WIDER, 1090.0, 90_000.0)]
        records = [trial(0, TrialKind.BASELINE, Configuration(), 1000.0)]
        for shift in shifts[:repeats] if repeats > 1 else (1.0,):
            for configuration, speed, context in plan:
                made = trial(len(records), TrialKind.FINALIST, configuration, speed * shift)
                figures = {**made.metrics, "context_capacity_tokens": context}
                records.append(replace(made, metrics=figures))
        for configuration in (Configuration.of({"other": 1}),):  # what tells the noise in both
            records += [
                trial(50 + i, TrialKind.RETRY, configuration, 1000.0 * shift)
                for i, shift in enumerate(shifts)
            ]
        return findings_of(StudySpec(name="sample"), records)

    assert row(comparison_of(of(3)), "Output throughput")[-1] == "+9.0%"
    assert row(comparison_of(of(1)), "Output throughput")[-1] == "+9.0% (noise)"


def test_every_metric_has_its_noise_and_compare_has_the_same() -> None:
    """Phases of the start-up and what no headline names: 1% is noise and 50% is none."""
    slower = {
        "startup_weights_ns": 1.5,
        "startup_compile_ns": 1.01,
        "decode_32k_tokens_per_s": 1.01,
    }
    tags = ("startup_weights_ns", "startup_compile_ns", "decode_32k_tokens_per_s",
            "max_model_len_tokens")  # fmt: skip
    records = []
    for number in range(6):
        kind = TrialKind.FINALIST if number else TrialKind.BASELINE
        made = (
            trial(number, kind, WIDER, 2000.0)
            if number % 2
            else trial(number, kind, Configuration(), 1000.0)
        )
        extra = {tag: 3e9 * (slower.get(tag, 1.0) if number % 2 else 1.0) for tag in tags}
        records.append(replace(made, metrics={**made.metrics, **extra}))
    found = findings_of(StudySpec(name="sample"), records)
    table = comparison_of(found, tags)
    changes = [row(table, METRICS[tag].title)[-1] for tag in tags]
    assert changes == ["+50.0%", "+1.0% (noise)", "+1.0% (noise)", "the same"]

    assert found.chosen is not None
    assert found.baseline is not None
    mine, theirs = (
        Side(name="s", record=r, trials=repeats_of(records, r), records=tuple(records))
        for r in (found.baseline, found.chosen)
    )
    said = {cells[0].text: cells[-1].text for cells in metrics(mine, theirs).rows}
    assert [said[METRICS[tag].title] for tag in tags] == [
        "yes", "within the noise", "within the noise", "the same",
    ]  # fmt: skip


def test_the_comparison_holds_means_over_the_proofs() -> None:
    """1560 / 1050 is 1.486; neither the search's figures nor the last proofs' (1.72) count."""
    table = comparison_of(proved())
    mine, _, other, change = row(table, "Output throughput")
    assert (mine, other, change) == ("1,560 tok/s", "1,050 tok/s", "+48.6%")
    assert table is not None
    assert table.notes[0].startswith("Means over the trials 3, 4 and, of the baseline, 2, 5;")


@pytest.mark.parametrize("prefer", ["balanced", "throughput"])
def test_table_and_sentence_tell_one_change(prefer: Preference) -> None:
    """Also where another preference looks at trials of the search: 1560 / 1050 by the proofs."""
    found = proved(prefer)
    assert found.recommendation is not None
    assert row(comparison_of(found), "Output throughput")[-1] == "+48.6%"
    assert "Output throughput +48.6%" in found.recommendation.reason


def test_the_interval_is_that_of_the_mean() -> None:
    """Its ends lie at the same ratio below and above 1560."""
    low, high = proved().intervals()[THROUGHPUT]
    assert low is not None
    assert high is not None
    assert low < 1560 < high
    assert abs(low * high / 1560**2 - 1) < 1e-9


def test_terminal_page_markdown_cards_and_verdict_say_the_same() -> None:
    """Else a reader finds two changes for one recommendation."""
    found = proved()
    (terminal,) = (t for t in Summary(findings=found).tables()
                   if t.title == "Recommended against baseline")  # fmt: skip
    assert row(terminal, "Output throughput") == ["1,560 tok/s", "1,050 tok/s", "+48.6%"]
    assert (cards(found)[0].figure, cards(found)[0].change) == ("1,560 tok/s", "+48.6%")
    assert "output throughput 1,560 tok/s (+48.6% against the baseline)" in verdict(found)[0]
    inputs = ReportInputs(findings=found)
    assert "| Output throughput | **1,560 tok/s** |" in report_markdown(inputs)
    assert "+72.4%" not in report_markdown(inputs) + report_html(inputs)
    assert "Means over the trials 3, 4" in report_html(inputs)


def test_a_request_that_failed_in_one_proof_is_not_rounded_away() -> None:
    """One of two proofs had one: half a request, not none."""
    assert row(comparison_of(proved()), "Failed requests")[0] == "0.5"


def test_a_start_up_is_that_of_one_trial() -> None:
    """A first start and a later one have no mean: trial 4's 30 s stand against trial 5's 60 s."""
    mine, _, other, _ = row(comparison_of(proved()), "Start-up")
    assert (mine, other) == ("30.0 s", "60.0 s")


def test_without_repeats_a_figure_is_its_trials_own() -> None:
    """And no note tells of a mean."""
    found = findings_of(StudySpec(name="sample"), [
        trial(0, TrialKind.BASELINE, Configuration(), 1000.0),
        trial(1, TrialKind.SEARCH, WIDER, 1800.0),
    ])  # fmt: skip
    table = comparison_of(found)
    assert row(table, "Output throughput")[0] == "1,800 tok/s"
    assert table is not None
    assert not any("Means" in note for note in table.notes)


def test_trials_of_a_simulated_study_are_marked_before_there_is_one() -> None:
    """An empty table of predictions is not an empty table of measurements."""
    spec = study_from({"engine": {"name": "simulated"}}, where="test")
    assert trials_of(findings_of(spec, [])).simulated
    assert not trials_of(findings_of(StudySpec(name="sample"), [])).simulated
