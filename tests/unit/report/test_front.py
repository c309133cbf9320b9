"""One front in tables, plots, verdict and JSON: no row that is shown is beaten by another row."""

import itertools
import re
from dataclasses import replace

from autotune.analysis.passed_over import PassedOver, Rule
from autotune.records import Configuration, Failure, FailureKind, TrialKind, TrialRecord
from autotune.report.findings import Findings, findings_of
from autotune.report.inputs import ReportInputs
from autotune.report.markdown import report_markdown
from autotune.report.page import pareto_plots
from autotune.report.summary import front_of, passed_notes, trials_of
from autotune.report.table import Tone
from autotune.report.tables import change_tone, settings_table
from autotune.report.verdict import noise_notes, remarks, verdict
from autotune.spec.study import study_from
from tests.support.records import record, study_records

SPEC = study_from({"name": "sample"}, where="test")
SIGNS = (1, -1, 1)
"""Of throughput, TTFT at 8K, context capacity: what is better."""


def trial(
    number: int, speed: float, kind: TrialKind = TrialKind.SEARCH, **values: int
) -> TrialRecord:
    """A feasible trial that differs in throughput alone."""
    metrics = {
        "output_tokens_per_s": speed,
        "ttft_8k_ns": 2.5e9,
        "context_capacity_tokens": 70_000.0,
    }
    return record(number, kind=kind, config=Configuration.of(values), metrics=metrics)


def repeated() -> Findings:
    """A study of 60 trials, of which the last 20 measure earlier configurations again."""
    first = study_records(40)
    again = [
        replace(study_records(60, seed=3)[40 + i], configuration=r.configuration)
        for i, r in enumerate(r for r in first[1:] if r.is_feasible)
        if i < 20
    ]
    return findings_of(SPEC, [*first, *again], with_importances=False)


def figures(text: str) -> float:
    """A cell as a number."""
    return float(text.replace(",", ""))


def test_no_row_of_the_front_is_beaten_by_another_row() -> None:
    """In the digits that the reader sees, over configurations measured once and several times."""
    found = repeated()
    table = front_of(found)
    rows = [
        [sign * figures(cell.text) for sign, cell in zip(SIGNS, row[2:5], strict=True)]
        for row, number in zip(table.rows, table.trials, strict=True)
        if number in found.front
    ]

    assert len(rows) > 2
    assert {row[1].text for row in table.rows} >= {"1", "2"}
    for one, other in itertools.permutations(rows, 2):
        assert not (all(o >= m for o, m in zip(other, one, strict=True)) and other != one)


def test_table_plot_and_verdict_have_the_same_points() -> None:
    """The blue points of the scatter are the numbers of the table and of the result."""
    found = repeated()
    svg = "".join(plot.svg for plot in pareto_plots(found)[:1])
    marked = {
        int(n) for n in re.findall(r'class="dot (?:front|best|base)"[^>]*data-trial="(\d+)"', svg)
    }
    aside = {r.number for r in map(found.standing, (found.chosen, found.baseline)) if r is not None}

    assert marked == {*found.front, *aside}
    assert set(front_of(found).trials) == {*found.front, *aside}


def test_a_configuration_is_one_point_at_its_mean() -> None:
    """Two trials of 690 and 710 tok/s: one mark, at 700, that says so."""
    records = [trial(0, 650.0, TrialKind.BASELINE), trial(1, 690.0, a=1), trial(2, 710.0, a=1)]
    found = findings_of(SPEC, records, with_importances=False)
    svg = str(pareto_plots(found)[0].svg)

    assert "trial 2, mean of 2: 700 tok/s" in svg
    assert 'data-trial="1"' not in svg


def lowered(*others: TrialRecord) -> Findings:
    """A study whose default breaks the GPU headroom, and is fine with less of the card."""
    failure = Failure(
        kind=FailureKind.MEMORY_LIMIT,
        phase="warming_up",
        message="GPU memory in use is 10.99 GiB, over the bound of 10.94 GiB",
    )
    broken = record(0, kind=TrialKind.BASELINE, config=Configuration(), failure=failure)
    assert broken.applied is not None
    applied = replace(broken.applied, settings={"gpu_memory_utilization": 0.92})
    fits = replace(
        trial(1, 700.0, TrialKind.REPAIR),
        configuration=Configuration.of({"gpu_memory_utilization": 0.9}),
    )
    records = [replace(broken, applied=applied), fits, *others]
    return findings_of(SPEC, records, with_importances=False)


NAME = (
    "the engine's defaults with gpu_memory_utilization 0.9 "
    "(0.92 by default breaks the GPU headroom)"
)


def test_what_n_counts_is_said_below_the_front() -> None:
    """The stability criterion counts more trials: n is of those that prove."""
    (note, *_) = front_of(repeated()).notes
    assert "n counts those alone" in note


def test_a_lowered_default_is_called_by_what_was_lowered() -> None:
    """Who serves the engine's own default breaks the headroom, so the verdict tells both values."""
    found = lowered()

    assert verdict(found)[0].startswith(f"Keep {NAME}")
    assert found.recommendation is not None
    (row,) = settings_table(found.recommendation).rows
    assert [cell.text for cell in row[:3]] == ["gpu_memory_utilization", "0.9", "0.92"]
    setting = replace(found.recommendation.settings[0], value=0.88)
    (row,) = settings_table(replace(found.recommendation, settings=(setting,))).rows
    assert [cell.text for cell in row[1:3]] == ["0.88", "0.92 (baseline 0.9)"]
    assert "default 0.92, with which: GPU memory in use is 10.99 GiB" in row[3].text
    assert trials_of(found, brief=True).rows[1][-1].text == "util=0.9"


def test_another_share_than_the_lowered_one_stands_beside_both_defaults() -> None:
    """The default is the engine's own value; the pair that is lacking is with the lowered one."""
    better = replace(
        trial(2, 2000.0),
        configuration=Configuration.of({"gpu_memory_utilization": 0.88, "max_num_seqs": 64}),
    )
    found = lowered(better).recommendation
    assert found is not None
    assert found.record.number == 2
    share = next(s for s in found.settings if s.parameter == "gpu_memory_utilization")
    assert share.default == 0.92
    assert "no matched pair of 0.88 and the lowered default 0.9" in share.text


def test_a_default_that_is_kept_is_not_said_to_be_unbeaten_where_it_was() -> None:
    """Twice the context was measured: the verdict says it, and what passed it over."""
    better = trial(2, 700.0, a=1)
    harmed = {**better.metrics, "context_capacity_tokens": 140_000.0, "prefix_warm_ttft_ns": 6e9}
    known = trial(3, 700.0, b=1)
    base = {**known.metrics, "prefix_warm_ttft_ns": 0.1e9}
    found = lowered(
        replace(better, metrics=harmed),
        replace(
            known, metrics=base, configuration=Configuration.of({"gpu_memory_utilization": 0.9})
        ),
    )
    first, _ = verdict(found)
    second = " ".join(remarks(found))

    assert "nothing measured beats" not in first
    assert (
        "Context capacity \N{MULTIPLICATION SIGN}2.00 (trial 2: TTFT, repeated prefix "
        "\N{MULTIPLICATION SIGN}60.00 against the default, which outweighs its gain)"
    ) in second.replace("context capacity", "Context capacity")
    text = report_markdown(ReportInputs(findings=found))
    assert text.count("Better was measured and not taken") == 1


def test_a_time_and_its_rate_are_noise_together_or_not_at_all() -> None:
    """TTFT 8.9% longer and prefill 8.2% slower are one fact: a change is held as a logarithm."""
    longer, slower = (
        change_tone(tag, value, 1.0, 0.0849)
        for tag, value in (("ttft_8k_ns", 1.089), ("prefill_8k_tokens_per_s", 1 / 1.089))
    )

    assert longer is slower is Tone.BAD


def test_noise_is_not_sold_as_importance() -> None:
    """684 to 708 tok/s, whatever is set: a range and "within the noise", and no shares."""
    varied = [trial(i, 684.0 + i, seqs=i % 5, block=i % 3, n=i) for i in range(24)]
    found = findings_of(SPEC, varied)
    (note,) = noise_notes(found)[:1]

    assert found.importances["output_tokens_per_s"] == ()
    assert note.startswith("Output throughput: all configurations lie within 684 to 707 tok/s")
    assert "a spread within the noise" in note


def test_why_points_were_passed_over_stands_below_the_front() -> None:
    """A line each, those with one reason together, with the figures of the rule."""
    passed = [
        PassedOver(number=7, rule=Rule.HARM, text="TTFT under load x3.54 against the default"),
        PassedOver(number=9, rule=Rule.SCORE, text="a lower balanced score (TTFT at 8K +9.3%)"),
        PassedOver(number=12, rule=Rule.HARM, text="TTFT under load x3.54 against the default"),
    ]

    assert passed_notes(passed) == (
        "Not recommended:",
        "7, 12: TTFT under load \N{MULTIPLICATION SIGN}3.54 against the default",
        "9: a lower balanced score (TTFT at 8K +9.3%)",
    )
