"""A figure that was computed and not measured carries a sign wherever it stands."""

from dataclasses import replace

from autotune.records import Configuration, TrialKind, TrialRecord
from autotune.report.findings import Findings, findings_of
from autotune.report.html import report_html
from autotune.report.inputs import ReportInputs
from autotune.report.markdown import report_markdown
from autotune.report.summary import cards, comparison_of, front_of, trials_of
from autotune.report.table import Table
from autotune.report.verdict import verdict
from autotune.spec.study import StudySpec
from tests.support.records import record

BASE, FP8 = Configuration(), Configuration.of({"kv_cache_dtype": "fp8"})
CAPACITY = "context_capacity_tokens"


def started(
    number: int, speed: float, capacity: float, compile_s: float, config: Configuration = BASE
) -> TrialRecord:
    """A start with what compiling took: as measured on 11 GiB of an H100."""
    kind = TrialKind.SEARCH if config is FP8 else TrialKind.BASELINE
    made = record(number, kind=kind, config=config, metrics={
        "output_tokens_per_s": speed, "ttft_8k_ns": 196e6, CAPACITY: capacity,
        "failed_requests_count": 0.0,
    })  # fmt: skip
    return replace(made, metrics={**made.metrics, "startup_compile_ns": compile_s * 1e9})


def study(*, fp8_compiled_s: float = 28.6) -> Findings:
    """A first and a later start of the default, and one start of another configuration."""
    return findings_of(StudySpec(name="sample"), [
        started(0, 4015, 20_880, 27.9),
        started(1, 4737, 33_968, 5.5),
        started(2, 6068, 41_776, fp8_compiled_s, FP8),
    ])  # fmt: skip


def cell(table: Table | None, trial: str, head: str) -> str:
    """What stands in a row that begins so, under a head that begins so."""
    assert table is not None
    column = next(i for i, c in enumerate(table.columns) if c.head.startswith(head))
    return next(row[column].text for row in table.rows if row[0].text.startswith(trial))


def test_the_front_marks_a_capacity_that_is_an_estimate() -> None:
    """41,776 x 33,968 / 20,880 = 67,962; the default's own, of a later start, was measured."""
    for brief in (True, False):
        table = front_of(study(), brief=brief)
        assert cell(table, "2", "Context") == "~67,962"
        assert cell(table, "1", "Context") == "33,968"
        assert any(note.startswith("~ not measured") for note in table.notes)


def test_so_does_every_other_table_and_the_sentence() -> None:
    """All trials, the comparison, the figures at the head, the verdict."""
    found = study()
    assert cell(trials_of(found), "2", "Context") == "~67,962"
    compared = comparison_of(found)
    assert cell(compared, "Context capacity", "recommended") == "~67,962 tokens"
    assert cell(compared, "Context capacity", "baseline") == "33,968 tokens"
    assert [card.figure for card in cards(found) if card.name == "Context capacity"] == [
        "~67,962 tokens"
    ]
    assert "context capacity about 67,962 tokens" in verdict(found)[0]


def test_the_page_says_it_under_the_pointer_and_in_words() -> None:
    """In HTML at the point and below the tables, in Markdown below the tables."""
    page = report_html(ReportInputs(findings=study()))
    assert "~67,962 tokens" in page
    assert page.count("~ not measured: started for the first time only") == 3
    text = report_markdown(ReportInputs(findings=study()))
    assert "67,962" in text
    assert "not measured: started for the first time only" in text


def test_what_was_measured_carries_no_sign() -> None:
    """A start that found its graphs compiled is a later one, and nothing explains a sign."""
    found = study(fp8_compiled_s=5.4)
    assert cell(front_of(found), "2", "Context") == "41,776"
    assert found.estimates == {}
    assert "not measured: started" not in report_html(ReportInputs(findings=found))
