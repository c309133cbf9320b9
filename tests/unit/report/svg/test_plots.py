"""The plots of the report."""

import re
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace

from autotune.analysis.effects import Effect
from autotune.records import (
    Configuration,
    Failure,
    FailureKind,
    LimitCheck,
    TrialKind,
    TrialRecord,
)
from autotune.report.svg.bars import group_of, seconds_by_phase, trial_columns
from autotune.report.svg.canvas import Size
from autotune.report.svg.forest import Panel, forest_plot
from autotune.report.svg.memory import MemoryPanel, memory_plot
from autotune.report.svg.pareto import ParetoView, pareto_plot
from autotune.seams.telemetry import Sample
from autotune.spec.study import Limit, Objective, StudySpec
from autotune.units import BYTES_PER_GIB, NS_PER_S
from tests.support.records import record, study_records, telemetry

WIDE = Size(width=880, height=400)
X, Y = StudySpec().objectives[:2]


def elements(svg: str) -> list[ET.Element]:
    """Every element of a plot that is well-formed."""
    return list(ET.fromstring(svg).iter())  # noqa: S314 - our own text


def classes(svg: str) -> Counter[str]:
    """How often each class occurs among what belongs to a trial."""
    return Counter(e.attrib["class"] for e in elements(svg) if "data-trial" in e.attrib)


def point(number: int, speed: float, ttft_s: float) -> TrialRecord:
    """A trial in the plane."""
    metrics = {"output_tokens_per_s": speed, "ttft_8k_ns": ttft_s * NS_PER_S}
    return record(number, config=Configuration.of({"max_num_seqs": number}), metrics=metrics)


def test_every_trial_with_both_figures_is_a_point() -> None:
    """Marked by what it is; what was not measured is no point."""
    failure = Failure(kind=FailureKind.LIMIT_MISSED, phase="probe:long_context", message="slow")
    broken = replace(
        record(4, failure=failure), metrics={"output_tokens_per_s": 5.0, "ttft_8k_ns": 3e9}
    )
    records = [point(n, 100.0 + n, 2.0 - n / 10) for n in range(4)]
    view = ParetoView(front=frozenset({2, 3}), recommended=3, baseline=0)
    svg = pareto_plot([*records, broken, record(9, metrics={})], X, Y, view, WIDE)
    assert classes(svg) == {
        "dot base": 1, "dot rest": 1, "dot front": 1, "dot best": 1, "dot bad": 1,
    }  # fmt: skip


def test_a_cell_of_a_matrix_is_bad_only_where_it_missed_a_limit() -> None:
    """It is measured whole either way, and never a candidate."""
    cells = [replace(point(n, 100.0 + n, 2.0), kind=TrialKind.MATRIX) for n in range(2)]
    missed = LimitCheck(metric="ttft_8k_ns", bound=1e9, value=2e9, kept=False)
    svg = pareto_plot(
        [cells[0], replace(cells[1], limits=(missed,))], X, Y, ParetoView(), WIDE
    )  # fmt: skip
    assert classes(svg) == {"dot rest": 1, "dot bad": 1}


def test_points_lie_where_they_belong() -> None:
    """More throughput is further right, more latency further up."""
    svg = pareto_plot([point(1, 100, 1.0), point(2, 200, 2.0)], X, Y, ParetoView(), WIDE)
    found = {e.attrib["data-trial"]: e for e in elements(svg) if "data-trial" in e.attrib}
    assert float(found["2"].attrib["cx"]) > float(found["1"].attrib["cx"])
    assert float(found["2"].attrib["cy"]) < float(found["1"].attrib["cy"])
    assert found["1"].attrib["aria-label"] == "trial 1: 100 tok/s, 1.00 s"
    hint = found["1"].attrib["data-hint"]
    assert hint == "trial 1: 100 tok/s, 1.00 s · measured · max_num_seqs=1"


def test_a_limit_and_the_noise_are_drawn() -> None:
    """A line at the bound, a box around the baseline; each only where it belongs."""
    records = [point(0, 100, 1.0), point(1, 200, 3.0)]
    view = ParetoView(
        baseline=0,
        limits=(Limit(metric="ttft_8k_ns", at_most_s=2.0),),
        noise={"output_tokens_per_s": 0.05, "ttft_8k_ns": 0.05},
    )
    svg = pareto_plot(records, X, Y, view, WIDE)
    assert "limit 2.00 s" in svg
    assert 'class="noise"' in svg
    bare = pareto_plot(records, X, Y, ParetoView(), WIDE)
    assert "limit" not in bare
    assert 'class="noise"' not in bare


def test_axes_say_which_way_is_better() -> None:
    """By the objective's direction, not by the metric's habit."""
    svg = pareto_plot([point(0, 1, 1)], X, Y, ParetoView(), WIDE)
    assert "Output throughput [tok/s] → better" in svg
    assert "TTFT at 8K [ms] ↓ better" in svg or "TTFT at 8K [s] ↓ better" in svg
    turned = Objective(metric="ttft_8k_ns", direction="maximize")
    assert "↑ better" in pareto_plot([point(0, 1, 1)], X, turned, ParetoView(), WIDE)


def test_nothing_measured_is_no_plot() -> None:
    """Every plot is empty text where there is nothing to draw."""
    nothing = record(1, metrics={})
    assert not pareto_plot([nothing], X, Y, ParetoView(), WIDE)
    assert not trial_columns([replace(nothing, phases=())], WIDE)
    assert not forest_plot(Panel(title="x", effects=(), floor=0.05))
    panel = MemoryPanel(title="GPU", curves={"gpu_memory_used_bytes": "used"}, total="t")
    unread = [Sample(at_ns=1, values={"gpu_memory_used_bytes": None})]
    assert not memory_plot(unread, (), panel, WIDE)


def test_simulated_plots_say_so() -> None:
    """Scatter and curves alike."""
    made = study_records(5, simulated=True)
    assert "SIMULATED" in pareto_plot(made, X, Y, ParetoView(simulated=True), WIDE)
    panel = MemoryPanel(
        title="GPU", curves={"gpu_memory_used_bytes": "used"}, total="gpu_memory_total_bytes"
    )
    drawn = memory_plot(telemetry(made[0]), made[0].phases, panel, WIDE, simulated=True)
    assert "SIMULATED" in drawn


def test_phases_are_grouped() -> None:
    """Every phase of a trial's life falls into one of four groups."""
    groups = {p.name: group_of(p.name) for r in study_records(20) for p in r.phases}
    assert groups["starting"] == groups["deploying"] == "start"
    assert groups["probe:throughput"] == "probe"
    assert groups["waiting_for_memory"] == groups["stopping"] == "wait"
    assert groups["warming_up"] == "other"


def test_time_adds_up() -> None:
    """The phases together are the whole."""
    records = study_records(20)
    whole = sum((r.phases[-1].end_ns - r.phases[0].start_ns) / NS_PER_S for r in records)
    assert abs(sum(seconds_by_phase(records).values()) - whole) < 1e-6


def test_each_trial_has_a_column_to_point_at() -> None:
    """With its number and time."""
    records = study_records(20)
    svg = trial_columns(records, WIDE)
    assert classes(svg) == {"touch": 20}
    assert re.search(r"trial 0: \d min, measured", svg)


def effect(value: object, ratio: float, low: float | None, high: float | None) -> Effect:
    """An effect on throughput."""
    return Effect(
        metric="output_tokens_per_s", parameter="p", value=str(value), ratio=ratio, low=low,
        high=high, trials_with=5, trials_without=5, better=ratio > 1,
    )  # fmt: skip


def test_an_effect_is_coloured_only_if_it_is_clear() -> None:
    """Better, worse, or undecided; with its ratio and the number of trials."""
    panel = Panel(
        title="Throughput",
        effects=(
            effect("a", 1.2, 1.1, 1.3),
            effect("b", 0.8, 0.7, 0.9),
            effect("c", 1.1, 0.9, 1.3),
            effect("d", 1.4, None, None),
        ),
        floor=0.05,
    )
    svg = forest_plot(panel)
    marks = [e.attrib["class"] for e in elements(svg) if "data-hint" in e.attrib]
    assert marks == ["effect good", "effect bad", "effect plain", "effect plain"]
    assert ">+20.0%<" in svg
    assert "n=5" in svg


def test_a_huge_interval_does_not_flatten_the_rest() -> None:
    """It is cut off at the edge; everything stays inside the plot."""
    panel = Panel(
        title="t", effects=(effect("a", 1.1, 0.001, 900.0), effect("b", 1.05, 1, 1.1)), floor=0.02
    )
    svg = forest_plot(panel, width=300)
    xs = [float(x) for e in elements(svg) for x in re.findall(r"[ML]([\d.]+)", e.get("d", ""))]
    assert xs
    assert max(xs) <= 300
    assert min(xs) >= 0


def test_memory_curves_show_peaks_limits_and_phases() -> None:
    """A peak of one sample survives thinning out; the bound and what there is are drawn."""
    made = record(0)
    samples = list(telemetry(made, interval_s=0.1))
    spike = replace(samples[700], values={"gpu_memory_used_bytes": 11.9 * BYTES_PER_GIB})
    samples[700] = spike
    panel = MemoryPanel(
        title="GPU memory",
        curves={"gpu_memory_used_bytes": "in use"},
        total="gpu_memory_total_bytes",
        bound_bytes=11 * BYTES_PER_GIB,
    )
    svg = memory_plot(samples, made.phases, panel, WIDE)
    curve = next(e for e in elements(svg) if e.get("class") == "curve c0" and "L" in e.get("d", ""))
    points = re.findall(r"([\d.]+) ([\d.]+)", curve.attrib["d"])
    assert 100 < len(points) <= 240
    highest = min(float(y) for _, y in points)
    limit = next(e for e in elements(svg) if e.get("class") == "limit")
    assert highest < float(re.findall(r" ([\d.]+)L", limit.attrib["d"])[0])
    labels = [e for e in elements(svg) if e.get("class") == "phase-label"]
    assert "throughput" in {label.text for label in labels}
    assert max(float(label.attrib["y"]) for label in labels) < highest  # no curve crosses them
    total = next(e for e in elements(svg) if e.get("class") == "total-label")
    # A line's label is 11 pixels high and stays below the names of the phases.
    assert float(total.attrib["y"]) - 11 > max(float(label.attrib["y"]) for label in labels)
