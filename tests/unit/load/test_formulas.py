"""The field's formulas on records whose figures can be told by hand."""

import numpy as np
import pytest

from autotune.load import formulas
from autotune.load.formulas import Window
from autotune.seams.requests import RequestErrorKind
from tests.unit.load.records import MS, record

# Two waves of two streams: 0..50 ms and 50..100 ms, five chunks each.
WAVES = [record(0, 10), record(0, 10), record(50, 60), record(50, 60)]


def test_a_short_closed_loop_is_measured_whole() -> None:
    """Two waves of two streams: with the last decode cut off, both prefills would stay in."""
    assert formulas.measured_window(WAVES, closed=True) == Window(start_ns=0, end_ns=100 * MS)


def test_a_long_closed_loop_is_measured_until_it_fades() -> None:
    """Six requests one after the other in one stream: the last one runs with nothing behind."""
    records = [record(start, start + 10) for start in range(0, 300, 50)]

    assert formulas.measured_window(records, closed=True) == Window(start_ns=0, end_ns=300 * MS)

    streams = sorted([*records, *(record(s + 20, s + 30) for s in range(0, 300, 50))],
                     key=lambda r: r.sent_ns)  # fmt: skip
    assert formulas.measured_window(streams, closed=True) == Window(start_ns=0, end_ns=300 * MS)


def test_the_window_of_an_open_loop_ends_with_the_last_arrival() -> None:
    """After the last request has left, the load fades."""
    records = [record(0, 10), record(100, 110), record(200, 210, gap_ms=5)]

    assert Window(start_ns=0, end_ns=200 * MS) == formulas.measured_window(records, closed=False)


def test_one_wave_is_measured_whole() -> None:
    """Where cool-down would be most of the load, nothing is cut off."""
    assert Window(start_ns=0, end_ns=50 * MS) == formulas.measured_window([record()], closed=True)
    assert Window(start_ns=0, end_ns=1000 * MS) == formulas.measured_window(
        [record(0, 10), record(0, 600, gap_ms=100)], closed=True
    )


def test_no_records_have_no_window() -> None:
    """Nothing was measured, and None says so."""
    assert formulas.measured_window([], closed=True) is None


def test_throughput_counts_usage_within_the_window() -> None:
    """Tokens are the server's; a request that is half inside counts by half."""
    window = Window(start_ns=0, end_ns=100 * MS)
    inside = record(0, 10, chunks=5, tokens=50, prompt=200)
    half = record(60, 70, chunks=5, gap_ms=12, tokens=20, prompt=300)  # 70 82 94 | 106 118
    after = record(120, 130)

    rate = formulas.output_tokens_per_s([inside, half, after], window)

    assert rate == pytest.approx((50 + 20 * 3 / 5) / 0.1)
    assert formulas.total_tokens_per_s([inside, half, after], window) == pytest.approx(
        (50 + 12 + 200 + 300) / 0.1
    )
    assert formulas.requests_per_s([inside, half, after], window) == pytest.approx(1.6 / 0.1)


def test_slices_of_the_throughput_have_its_mean() -> None:
    """The batches behind the interval add up to the figure."""
    window = Window(start_ns=0, end_ns=100 * MS)
    slices = formulas.throughput_slices(WAVES[:2], window, count=4)

    assert len(slices) == 4
    assert np.mean(slices) == pytest.approx(formulas.output_tokens_per_s(WAVES[:2], window))


def test_latencies_of_one_request() -> None:
    """TTFT, gaps, time per output token and end-to-end of a request with known times."""
    one = record(5, 25, chunks=4, gap_ms=10, tokens=7, prompt=2000)

    assert one.ttft_ns == 20 * MS
    assert formulas.ttfts_ns([one]) == [20 * MS]
    assert formulas.gaps_ns([one]) == [10 * MS] * 3
    assert formulas.tpot_ns(one) == pytest.approx(30 * MS / 6)
    assert formulas.decode_tokens_per_s(one) == pytest.approx(200.0)
    assert formulas.prefill_tokens_per_s(one) == pytest.approx(2000 / 0.020)
    assert formulas.e2e_ns(one) == 50 * MS


def test_what_has_no_second_token_has_no_time_per_token() -> None:
    """One token has no gap; none has no TTFT either."""
    assert formulas.tpot_ns(record(chunks=1)) is None
    assert formulas.decode_tokens_per_s(record(chunks=1)) is None
    assert formulas.prefill_tokens_per_s(record(chunks=0)) is None
    assert formulas.ttfts_ns([record(chunks=0)]) == []


def test_an_slo_is_kept_with_both_bounds_and_without_error() -> None:
    """A late first token, slow tokens or an error each cost the request."""
    records = [
        record(0, 90),
        record(0, 110),  # TTFT
        record(0, 90, gap_ms=25),  # tokens
        record(0, 90, error=RequestErrorKind.WRONG_LENGTH),
    ]

    kept = [formulas.keeps_slo(r, ttft_s=0.1, itl_s=0.02) for r in records]
    assert kept == [True, False, False, False]


def test_percentiles_are_those_of_numpy() -> None:
    """Linear between order statistics, as vLLM's benchmark prints them."""
    values = [5.0, 1.0, 4.0, 2.0]

    assert formulas.median(values) == 3.0
    assert formulas.percentile(values, 99) == pytest.approx(4.97)
    with pytest.raises(ValueError, match="nothing"):
        formulas.median([])


def test_the_interval_of_a_median_is_the_one_in_the_tables() -> None:
    """For n = 10 the 95% interval of the median is from the 2nd to the 9th value (Conover 1980)."""
    interval = formulas.percentile_interval([float(i) for i in range(1, 11)], 50)

    assert interval is not None
    assert (interval.low, interval.high) == (2.0, 9.0)


def test_too_few_values_have_no_interval() -> None:
    """Five values cannot bound a median with 95%, nor a hundred the 99th percentile."""
    assert formulas.percentile_interval([1.0] * 5, 50) is None
    assert formulas.percentile_interval([float(i) for i in range(100)], 99) is None
    assert formulas.percentile_interval([], 50) is None
    assert formulas.bootstrap_interval([1.0]) is None
    assert formulas.mean_interval([1.0]) is None


@pytest.mark.parametrize("q", [50, 90])
def test_intervals_of_percentiles_cover_as_often_as_they_say(q: float) -> None:
    """Of 500 samples from a known distribution, at least 93% of the intervals hold the truth."""
    rng = np.random.default_rng(11)
    truth = -np.log(1 - q / 100)
    intervals = [
        formulas.percentile_interval(rng.exponential(1.0, 120).tolist(), q) for _ in range(500)
    ]
    covered = [i.low <= truth <= i.high for i in intervals if i is not None]

    assert len(covered) == 500
    assert np.mean(covered) >= 0.93


def test_the_t_interval_of_a_mean() -> None:
    """Against a worked example: n = 4, mean 10, s = 2, t = 3.182: 10 +- 3.182."""
    values = [10 + d for d in (-(3**0.5), -(3**0.5), 3**0.5, 3**0.5)]
    interval = formulas.mean_interval(values)

    assert interval is not None
    assert interval.low == pytest.approx(10 - 3.182, abs=2e-3)
    assert interval.high == pytest.approx(10 + 3.182, abs=2e-3)


def test_the_bootstrap_is_seeded_and_holds_the_median() -> None:
    """The same seed gives the same interval, around the sample's median."""
    values = np.random.default_rng(2).normal(100, 5, 60).tolist()
    first, again = formulas.bootstrap_interval(values), formulas.bootstrap_interval(values)

    assert first is not None
    assert first == again
    assert first.low < formulas.median(values) < first.high
    assert first.high - first.low < 6
