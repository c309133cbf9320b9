"""Real trials on an H100, as shipped: what of their time is spent on autotune itself."""

from pathlib import Path

from autotune.deployers.patience import LEAVING_GRACE_S
from autotune.records import TrialRecord
from autotune.store.codec import decode
from autotune.units import NS_PER_S
from tests.support.overhead import other_ns, stopping_ns, whole_ns

TRIALS = Path(__file__).parents[3] / "docs/results/2026-11-26-h100/small-card-study/trials"

UNPINNED = 2
"""A trial with 8 GiB of KV offload: vLLM took 2.7 s to end, within the 5 s that it had then."""


LATER = TRIALS.parents[2] / "2026-11-26-h100-second"
"""Recorded with today's grace; one of them has 32 GiB of KV offload."""


def measured(folder: Path = TRIALS) -> list[TrialRecord]:
    """Trials that went through every phase."""
    paths = sorted(folder.glob("*/trial.json"))
    records = [decode(path.read_text(), where=str(path)) for path in paths]
    return [record for record in records if record.is_measured]


def test_under_two_seconds_and_two_percent_of_a_real_trial_are_autotunes() -> None:
    """All but one, which shows what the grace for a server that is done with has to be."""
    records = measured()
    assert len(records) == 21
    over = [
        record.number
        for record in records
        if other_ns(record) >= 2 * NS_PER_S or other_ns(record) >= 0.02 * whole_ns(record)
    ]
    assert over == [UNPINNED]


def test_what_went_over_was_the_servers_own_end_which_is_cut_short_now() -> None:
    """With today's grace, and what killing takes beyond it, that trial keeps both bounds, too."""
    (record,) = [r for r in measured() if r.number == UNPINNED]
    too_long_ns = stopping_ns(record) - LEAVING_GRACE_S * NS_PER_S
    assert too_long_ns > 0
    killing_ns = 0.14 * NS_PER_S  # trials 3 and 18 of the same study, killed 5 s after SIGTERM
    today_ns = other_ns(record) - too_long_ns + killing_ns
    assert today_ns < 2 * NS_PER_S
    assert today_ns < 0.02 * (whole_ns(record) - too_long_ns + killing_ns)


def test_with_todays_grace_every_real_trial_keeps_both_bounds() -> None:
    """Those of the AWQ shape, with a KV offload among them."""
    records = [*measured(LATER / "small-card-awq/trials")]
    records += measured(LATER / "small-card-awq-20k/trials")
    assert len(records) == 6
    assert any("kv_offload_gib" in dict(r.configuration.items) for r in records)
    assert max(other_ns(r) for r in records) < 2 * NS_PER_S
    assert max(other_ns(r) / whole_ns(r) for r in records) < 0.02


def test_autotunes_own_part_is_a_fraction_of_a_percent() -> None:
    """What is left without the server's end: preparing, evidence, and the gaps between phases."""
    shares = [(other_ns(r) - stopping_ns(r)) / whole_ns(r) for r in measured()]
    assert min(shares) >= 0
    assert max(shares) < 0.002
