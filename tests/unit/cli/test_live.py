"""The live view, rendered on a recorded terminal."""

import io
import os
import pty
import sys
import termios
from dataclasses import replace

import pytest
from rich.console import Console

from autotune.cli.live import LiveView, control_keys_unseen
from autotune.cli.live_state import MOST_OUTCOMES
from autotune.clock import VirtualClock
from autotune.records import (
    Configuration,
    Failure,
    FailureKind,
    Outcome,
    OutcomeStatus,
    TrialKind,
    TrialRecord,
)
from autotune.seams.events import Notice, PhaseStarted, TelemetrySeen, TrialEnded, TrialStarted
from autotune.spec.study import StudySpec
from autotune.study.agenda import counts
from autotune.units import BYTES_PER_GIB
from tests.support.records import study_records

MACHINE = {
    "gpu_memory_used_bytes": 10.9 * BYTES_PER_GIB,
    "gpu_memory_total_bytes": 11.9 * BYTES_PER_GIB,
    "host_memory_used_bytes": 44 * BYTES_PER_GIB,
    "host_memory_total_bytes": 94 * BYTES_PER_GIB,
}


class Screen:
    """A terminal of 80 columns that a view draws on."""

    def __init__(self, *, width: int = 80, height: int = 40, simulated: bool = False) -> None:
        self.clock = VirtualClock()
        self.width = width
        self.height = height
        self.written = io.StringIO()
        console = Console(
            width=width, height=height, file=self.written, force_terminal=True, color_system=None
        )
        self.view = LiveView(
            console,
            clock=self.clock,
            objectives=StudySpec().objectives,
            study="rtx5070",
            simulated=simulated,
            screen_clock=VirtualClock(),
        )

    def lines(self) -> list[str]:
        """What it shows now."""
        console = Console(
            width=self.width, height=self.height, file=io.StringIO(), color_system=None
        )
        console.print(self.view.render())
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue().splitlines()

    def start(self, record: TrialRecord, *, total: int | None = 40) -> None:
        """A trial begins and comes as far as its load."""
        self.view(
            TrialStarted(number=record.number, kind=record.kind, label=record.label,
                         configuration=record.configuration, trials_done=record.number,
                         trials_total=total)
        )  # fmt: skip
        self.view(
            PhaseStarted(number=record.number, phase="probe:throughput", at_ns=self.clock.now_ns())
        )
        self.clock.advance(31)
        self.view(TelemetrySeen(number=record.number, values=MACHINE))

    def run(self, count: int) -> None:
        """So many trials from start to end, and one more that runs."""
        records = study_records(count + 1)
        front = tuple(r.number for r in records if r.is_feasible)[:3]
        for record in records[:-1]:
            self.start(record)
            self.view(TrialEnded(record=record, front=front, remaining_s=3720))
        self.start(records[-1])


def test_everything_of_interest_is_on_80_columns() -> None:
    """Progress, trial, phase, memory, plot, outcomes, time left; no line is wider."""
    screen = Screen()
    screen.run(12)
    lines = screen.lines()
    text = "\n".join(lines)
    assert max(map(len, lines)) <= 80
    for wanted in ("rtx5070", "12/40 trials", "1 h 02 min left", "trial 12 (search)",
                   "probe throughput  31 s", " 31 s of about ", "GPU", "10.9/11.9 GiB",
                   "RAM", "44.0/94.0 GiB",
                   "TTFT at 8K [s] ↓ better", "● front (3)", "measured", "✓"):  # fmt: skip
        assert wanted in text, wanted


def test_a_low_terminal_gets_no_plot_but_all_else() -> None:
    """On 16 lines the plot gives way; nothing runs over the edge."""
    screen = Screen(height=16)
    screen.run(12)
    lines = screen.lines()
    assert len(lines) <= 16
    assert "better" not in "\n".join(lines)
    assert "GPU" in "\n".join(lines)


def test_nothing_has_happened_yet() -> None:
    """The first screen stands before the first event."""
    assert any("between trials" in line for line in Screen().lines())


def test_memory_that_cannot_be_read_shows_no_bar() -> None:
    """None is not an empty bar."""
    screen = Screen()
    record = study_records(1)[0]
    screen.start(record)
    screen.view(TelemetrySeen(number=0, values={"gpu_memory_used_bytes": None}))
    assert not any("GPU" in line for line in screen.lines())


def test_a_simulated_study_is_marked() -> None:
    """From the first screen on; times that nobody waits for are called virtual."""
    screen = Screen(simulated=True)
    assert "SIMULATED" in screen.lines()[0]
    screen.run(2)
    assert "(virtual)" in screen.lines()[0]
    narrow = Screen(width=60, simulated=True)
    narrow.run(2)
    assert "(virtual)" in narrow.lines()[0]


def test_escape_sequences_do_not_reach_the_terminal() -> None:
    """A notice or detail from an engine's log is shown without them."""
    screen = Screen()
    screen.view(Notice(text="\x1b[2Jwiped\x07", level="warning"))
    screen.view(PhaseStarted(number=0, phase="starting\x1b[31m", at_ns=0, detail="\x1b]0;t\x07x"))
    text = "\n".join(screen.lines())
    assert "\x1b" not in text
    assert "wiped" in text


def test_it_draws_no_more_often_than_the_eye_sees() -> None:
    """A thousand events within one moment of the screen's clock are drawn a few times."""
    screen = Screen()
    with screen.view:
        before = len(screen.written.getvalue())
        for _ in range(1000):
            screen.view(TelemetrySeen(number=0, values=MACHINE))
        assert len(screen.written.getvalue()) == before


def test_the_terminal_is_given_back() -> None:
    """After stop the cursor is visible again, and so is what stood there before."""
    screen = Screen()
    with screen.view:
        pass
    written = screen.written.getvalue()
    for taken, given in (("\x1b[?25l", "\x1b[?25h"), ("\x1b[?1049h", "\x1b[?1049l")):
        assert written.rindex(given) > written.rindex(taken)


@pytest.mark.parametrize("height", [12, 15, 16, 24, 40])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_it_fits_every_terminal(width: int, height: int) -> None:
    """Nothing is wider or higher than the screen, however much there is to tell."""
    screen = Screen(width=width, height=height)
    for number in range(9):
        screen.view(Notice(text=f"{number} " + "taken out of the space " * 9, level="warning"))
    screen.run(30)
    lines = screen.lines()
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert "rtx5070 · 30/40 trials" in lines[0]


def test_a_narrow_head_tells_the_time_that_is_left_whole() -> None:
    """And that it is virtual: the word "trials" gives way."""
    screen = Screen(width=60, height=15, simulated=True)
    screen.run(30)
    assert "30/40 · ~1 h 02 min left (virtual) ─" in screen.lines()[0]


def test_a_common_terminal_has_room_for_plot_outcomes_and_warnings() -> None:
    """24 lines of 80 columns show something of each."""
    screen = Screen(height=24)
    screen.view(Notice(text="fp8 is fragile on this card", level="warning"))
    screen.run(12)
    text = "\n".join(screen.lines())
    for wanted in ("better", "● front (3)", "✓", "GPU", "⚠ fp8 is fragile on this card"):
        assert wanted in text, wanted


def test_warnings_outlast_the_news() -> None:
    """What was taken out of the space, a line each, does not push a warning away."""
    screen = Screen()
    screen.view(Notice(text="the card is shared", level="warning"))
    for number in range(20):
        screen.view(Notice(text=f"taken out: {number}"))
    text = "\n".join(screen.lines())
    assert "the card is shared" in text
    assert "taken out: 19" in text


def test_a_study_that_goes_on_shows_what_it_had() -> None:
    """Front, outcomes and counts of earlier runs are there before the first new trial."""
    records = study_records(9)
    view = LiveView(
        Console(width=80, height=40, file=io.StringIO(), force_terminal=True),
        clock=VirtualClock(), objectives=StudySpec().objectives, known=records,
    )  # fmt: skip
    assert view.state.front
    assert set(view.state.figures) == {r.number for r in records if r.is_measured}
    assert view.state.done == sum(map(counts, records))


def test_a_retry_takes_no_place_in_the_budget() -> None:
    """40 of 40 trials and a retry are not 41 of 40."""
    screen = Screen()
    first = study_records(1)[0]
    screen.start(first, total=1)
    screen.view(TrialEnded(record=first))
    again = replace(first, number=1, kind=TrialKind.RETRY)
    screen.start(again, total=1)
    assert any("trial 1 (retry, beside the budget)" in line for line in screen.lines())
    screen.view(TrialEnded(record=again))
    assert "1/1 trials" in screen.lines()[0]


def test_the_view_stays_small_over_a_long_study() -> None:
    """Of past trials only the objectives are kept."""
    screen = Screen()
    for record in study_records(300):
        screen.view(TrialEnded(record=record))
    assert len(screen.view.state.recent) == MOST_OUTCOMES
    assert all(len(figures) == 3 for figures in screen.view.state.figures.values())


def test_a_matrix_cell_goes_by_its_name() -> None:
    """The label stands where a search trial has its kind."""
    screen = Screen()
    screen.view(TrialStarted(number=0, kind=TrialKind.MATRIX, label="MAX",
                             configuration=study_records(1)[0].configuration,
                             trials_done=0, trials_total=8))  # fmt: skip
    assert any("trial 0 (MAX)" in line for line in screen.lines())


def test_ctrl_c_writes_nothing_into_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The terminal would echo ^C into a drawn line; afterwards it echoes as before."""
    master, terminal = pty.openpty()
    with os.fdopen(master, "rb"), os.fdopen(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert termios.tcgetattr(stdin)[3] & termios.ECHOCTL
        with control_keys_unseen():
            assert not termios.tcgetattr(stdin)[3] & termios.ECHOCTL
        assert termios.tcgetattr(stdin)[3] & termios.ECHOCTL


def test_a_default_that_was_lowered_to_fit_is_marked_as_the_baseline() -> None:
    """The default itself was over a memory bound; others are held against what is left of it."""
    screen = Screen()
    over, fits, other, *_ = [r for r in study_records(8) if r.is_feasible]
    full = Failure(kind=FailureKind.MEMORY_LIMIT, phase="probe:ttft", message="over the bound")
    default = Configuration()
    lowered = Configuration.of({"gpu_memory_utilization": 0.9})
    infeasible = Outcome(status=OutcomeStatus.INFEASIBLE, failure=full)
    screen.view.state.recall([
        replace(over, kind=TrialKind.BASELINE, configuration=default, outcome=infeasible),
        replace(fits, kind=TrialKind.REPAIR, configuration=lowered),
        replace(other, kind=TrialKind.REPAIR, configuration=lowered.updated({"block_size": 32})),
    ])  # fmt: skip
    assert (screen.view.state.baseline, screen.view.state.reference) == (fits.number, lowered)


def test_a_configuration_is_one_point_by_the_trials_that_prove_it() -> None:
    """The search's own measurement goes once it was proved; other configurations keep theirs."""
    screen = Screen()
    first, other, *_ = [r for r in study_records(8) if r.is_feasible]
    proofs = [replace(first, number=100 + i, kind=TrialKind.FINALIST) for i in range(2)]
    screen.view.state.recall([first, other, *proofs])

    assert screen.view.state.alike[first.configuration] == [100, 101]
    assert screen.view.state.alike[other.configuration] == [other.number]
