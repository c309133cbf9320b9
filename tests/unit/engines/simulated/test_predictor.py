"""Predictions without playing: held against the played server, and found for a machine."""

import pytest
from scipy.stats import spearmanr

from autotune.engines.model_shape import shape_of
from autotune.engines.simulated.card import card_named
from autotune.engines.simulated.predictor import kin_of
from autotune.engines.simulated.refusals import StartRefused
from autotune.engines.simulated.release import release_named
from autotune.engines.simulated.replay import Replay, replayed_metrics
from autotune.engines.simulated.steady import steady_metrics
from autotune.seams.telemetry import Gpu
from autotune.spec.workload import Workload
from tests.unit.engines.simulated.rig import QWEN_7B

CARD = card_named("rtx-3090")
GIB = 1024**3
LOAD = Workload(
    concurrency=48, requests=96, prompt_tokens=512, output_tokens=64, long_context_tokens=(8192,)
)


def replay(*arguments: str) -> Replay:
    """A server of Qwen2.5-7B's shape under the load."""
    return Replay(
        argv=("vllm", "serve", "qwen-7b", *arguments),
        shape=shape_of(QWEN_7B),
        release=release_named("0.33.0"),
        workload=LOAD,
    )


SERVERS = (
    replay(),
    replay("--max-num-seqs", "8"),
    replay("--max-num-seqs", "24"),
    replay("--max-num-batched-tokens", "1024", "--max-num-seqs", "128"),
    replay("--max-num-batched-tokens", "8192"),
    replay("--attention-backend", "TRITON_ATTN"),
    replay("--kv-cache-dtype", "fp8", "--attention-backend", "FLASHINFER"),
    replay("--enforce-eager"),
)


def test_what_is_worked_out_is_near_what_is_played() -> None:
    """Throughput and first tokens are within a fifth of the simulated server's own."""
    for server in SERVERS:
        played, worked_out = replayed_metrics(CARD, server), steady_metrics(CARD, server)
        for tag in ("output_tokens_per_s", "ttft_8k_ns", "itl_single_ns"):
            assert worked_out[tag] == pytest.approx(played[tag], rel=0.2), (server.argv, tag)


def test_configurations_are_ranked_as_the_played_server_ranks_them() -> None:
    """What a search needs of it is the order."""
    played = [replayed_metrics(CARD, s)["output_tokens_per_s"] for s in SERVERS]
    worked_out = [steady_metrics(CARD, s)["output_tokens_per_s"] for s in SERVERS]
    assert spearmanr(played, worked_out).statistic > 0.85


def test_a_configuration_that_does_not_fit_still_has_a_speed() -> None:
    """Feasibility is the memory model's word; a search needs the figures on both sides of it."""
    server = replay("--gpu-memory-utilization", "0.5", "--max-model-len", "32768")
    assert steady_metrics(CARD, server)["output_tokens_per_s"] > 0


def test_a_release_refuses_what_it_does_not_know() -> None:
    """An unknown backend has no speed."""
    with pytest.raises(StartRefused):
        steady_metrics(CARD, replay("--attention-backend", "NO_SUCH_BACKEND"))


def gpu(name: str, gib: float, capability: tuple[int, int]) -> Gpu:
    """A card as the driver describes it."""
    return Gpu(index=0, name=name, memory_bytes=int(gib * GIB), compute_capability=capability)


def test_a_card_with_a_file_is_found_by_its_name() -> None:
    """And keeps the memory that the driver reports."""
    kin = kin_of(gpu("NVIDIA H100 80GB HBM3", 79.6, (9, 0)))
    assert kin is not None
    assert (kin.is_exact, kin.card.name) == (True, "h100")
    assert kin.card.nvml_memory_mib == int(79.6 * 1024)


def test_a_card_without_one_gets_the_nearest_of_its_generation() -> None:
    """A 16 GB card of capability 12.0 is nearer to the 12 GB one than to the 32 GB one."""
    kin = kin_of(gpu("NVIDIA GeForce RTX 5060 Ti", 15.9, (12, 0)))
    assert kin is not None
    assert (kin.is_exact, kin.card.name) == (False, "rtx-5070")
    assert kin.card.nvml_memory_mib == int(15.9 * 1024)


def test_a_generation_without_a_file_has_no_kin() -> None:
    """Nothing is said rather than something invented."""
    assert kin_of(gpu("Tesla V100-SXM2-32GB", 32, (7, 0))) is None
