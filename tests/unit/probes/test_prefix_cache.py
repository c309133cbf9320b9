"""The prefix probe on caches of known size."""

import pytest

from autotune.clock import VirtualClock
from autotune.load.runner import InProcessLoad
from autotune.probes.prefix_cache import PrefixCacheProbe, RevisitSize, revisit_size
from autotune.records import Applied, FailureKind, ProbeStatus
from autotune.spec.workload import Workload
from tests.unit.probes.serving import BoundLoad, Server, ask, context

WORKLOAD = Workload(prefix_tokens=1000, revisit_document_tokens=1000, revisit_max_documents=40)
HELD = Applied(kv_cache_tokens=20_000, max_model_len_tokens=8000)


def small_gpu(clock: VirtualClock) -> Server:
    """A GPU cache of 20 documents and no offload."""
    return Server(clock, kv_tokens=20_000)


def with_offload(clock: VirtualClock) -> Server:
    """The same with room for everything in the offload."""
    return Server(clock, kv_tokens=20_000, offload_tokens=10**6)


def test_a_repeated_prefix_is_faster_and_hits() -> None:
    """1000 of 1032 tokens come from the cache: TTFT falls by that much."""
    result, _ = ask(PrefixCacheProbe(), small_gpu, workload=WORKLOAD)

    assert result.metrics["prefix_speedup_ratio"] == pytest.approx(1032 / 32, rel=1e-3)
    assert result.metrics["prefix_hit_ratio"] == pytest.approx(1000 / 1032)


def test_without_offload_a_re_visit_beyond_the_gpu_is_as_slow_as_the_first() -> None:
    """25 documents through a cache of 20, in the same order: nothing is left of them."""
    result, _ = ask(PrefixCacheProbe(), small_gpu, workload=WORKLOAD, applied=HELD)

    assert result.status is ProbeStatus.MEASURED
    assert result.metrics["revisit_gpu_hit_ratio"] == 0
    assert result.metrics["revisit_offload_hit_ratio"] == 0
    assert result.metrics["revisit_speedup_ratio"] == pytest.approx(1, rel=0.05)
    assert result.metrics["offload_hit_tokens_per_gib"] is None
    assert "25 documents" in result.notes[-1]


def test_with_offload_the_re_visit_hits_there() -> None:
    """The same documents come from the offload: faster, and hits are told per GiB."""
    result, _ = ask(
        PrefixCacheProbe(), with_offload, workload=WORKLOAD, applied=HELD, offload_gib=4.0
    )
    m = result.metrics

    assert m["revisit_gpu_hit_ratio"] == 0
    assert m["revisit_offload_hit_ratio"] == pytest.approx(25_000 / (25 * 1032))
    assert m["revisit_speedup_ratio"] is not None
    assert m["revisit_speedup_ratio"] > 5
    assert m["offload_hit_tokens_per_gib"] == pytest.approx(25_000 / 4)
    assert m["revisit_total_tokens_per_s"] is not None
    assert m["revisit_cold_total_tokens_per_s"] is not None
    assert m["revisit_total_tokens_per_s"] > m["revisit_cold_total_tokens_per_s"]


@pytest.mark.parametrize("bound_passes", [(0,), (1,)])
def test_a_pass_that_the_client_could_not_carry_is_repeated_cold(
    bound_passes: tuple[int, ...],
) -> None:
    """Other documents are sent: what the caches hold of the first ones would make it warm."""
    clock = VirtualClock()
    server = with_offload(clock)
    load = BoundLoad(InProcessLoad(server, clock), bound=bound_passes)
    given = context(server, workload=WORKLOAD, applied=HELD, offload_gib=4.0, load=load)
    result = clock.run(PrefixCacheProbe().run(given))
    m = result.metrics

    assert result.status is ProbeStatus.MEASURED
    assert m["revisit_speedup_ratio"] is not None
    assert m["revisit_speedup_ratio"] > 5
    assert m["offload_hit_tokens_per_gib"] == pytest.approx(25_000 / 4)


def test_passes_that_the_client_never_carries_give_no_figure() -> None:
    """Twice too slow: the probe fails and says whose fault it is."""
    clock = VirtualClock()
    server = small_gpu(clock)
    load = BoundLoad(InProcessLoad(server, clock), bound=(0, 1))
    given = context(server, workload=WORKLOAD, applied=HELD, load=load)
    result = clock.run(PrefixCacheProbe().run(given))

    assert result.failure is not None
    assert result.failure.kind is FailureKind.CLIENT_BOUND
    assert result.metrics["revisit_warm_ttft_ns"] is None


def test_a_cache_that_holds_all_documents_is_not_re_visited() -> None:
    """Millions of KV tokens: the bound on documents keeps it short, and the note says so."""
    result, server = ask(
        PrefixCacheProbe(), workload=WORKLOAD, applied=Applied(kv_cache_tokens=2_097_152)
    )

    assert result.status is ProbeStatus.MEASURED
    assert result.metrics["prefix_warm_ttft_ns"] is not None
    assert result.metrics["revisit_warm_ttft_ns"] is None
    assert "fit in the KV cache" in result.notes[0]
    assert len(server.asked) == 2 * WORKLOAD.prefix_repeats


def test_an_unknown_cache_is_not_re_visited() -> None:
    """Without its size nobody can say what exceeds it."""
    result, _ = ask(PrefixCacheProbe(), workload=WORKLOAD)

    assert result.metrics["revisit_warm_ttft_ns"] is None
    assert "does not say" in result.notes[0]


def test_documents_longer_than_a_request_may_be_skip_all() -> None:
    """Neither part fits: skipped, with both reasons."""
    result, server = ask(
        PrefixCacheProbe(),
        workload=WORKLOAD,
        applied=Applied(kv_cache_tokens=5000, max_model_len_tokens=1000),
    )

    assert result.status is ProbeStatus.SKIPPED
    assert "prefixes" in result.reason
    assert "re-visit" in result.reason
    assert server.asked == []


def test_a_server_without_counters_gives_times_but_no_rates() -> None:
    """Hit rates are None where /metrics does not tell, never 0."""
    result, _ = ask(PrefixCacheProbe(), with_offload, workload=WORKLOAD, applied=HELD, gauges=None)

    assert result.metrics["revisit_warm_ttft_ns"] is not None
    assert result.metrics["prefix_hit_ratio"] is None
    assert result.metrics["revisit_offload_hit_ratio"] is None


@pytest.mark.parametrize("held", [4_000, 20_000])
def test_as_many_documents_are_asked_at_once_whatever_the_cache_holds(held: int) -> None:
    """Else twice the cache would be asked twice as much at a time, and look late for it."""
    given = context(
        small_gpu(VirtualClock()),
        workload=WORKLOAD,
        applied=Applied(kv_cache_tokens=held, max_model_len_tokens=8000),
    )
    size = revisit_size(given)
    assert isinstance(size, RevisitSize)
    assert size.concurrency == WORKLOAD.revisit_concurrency
