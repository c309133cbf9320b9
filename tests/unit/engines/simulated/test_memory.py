"""What fits: the account adds up, and KV tokens are those that real vLLM reports."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from autotune.engines.simulated.arguments import settings_from
from autotune.engines.simulated.card import card_named, card_names
from autotune.engines.simulated.memory import MemoryTruth
from autotune.engines.simulated.memory_plan import HostRoom, MemoryPlan
from autotune.engines.simulated.refusals import StartRefused
from autotune.seams.engine import ModelFacts
from tests.unit.engines.simulated.rig import QWEN_1B5, QWEN_7B, QWEN_7B_AWQ, machine_of, plain_card

_GIB = 2**30


def _plan(
    *options: str,
    card: str = "h100",
    model: ModelFacts = QWEN_7B,
    release: str = "0.26.0",
    host_gib: float = 128,
    compiles: bool = False,
) -> MemoryPlan:
    machine = machine_of(card_named(card), model, release)
    serve = settings_from(("vllm", "serve", "m", *options), {}, machine)
    room = HostRoom(memory_bytes=round(host_gib * _GIB), shm_bytes=round(host_gib * _GIB / 2))
    return MemoryTruth(machine.card, machine.shape, serve, room, compiles=compiles).plan()


@pytest.mark.parametrize(("dtype", "tokens"), [("auto", 74_896), ("fp8", 149_792)])
def test_two_gib_hold_as_many_tokens_as_on_a_real_h100(dtype: str, tokens: int) -> None:
    """An H100 with vLLM 0.26.0 gave these figures for Qwen2.5-1.5B's shape."""
    plan = _plan("--kv-cache-memory-bytes", str(2 * _GIB), "--kv-cache-dtype", dtype,
                 model=QWEN_1B5)  # fmt: skip
    assert plan.kv_tokens == tokens


def test_fp8_doubles_the_tokens_of_a_share_of_the_card() -> None:
    """Half the bytes per token, and nothing else changes."""
    ratio = _plan("--kv-cache-dtype", "fp8").kv_tokens / _plan().kv_tokens
    assert ratio == pytest.approx(2, rel=0.001)


def test_weights_are_as_large_as_published() -> None:
    """Qwen2.5-7B takes 14.2 GiB in bf16 and 5.2 GiB as AWQ (sizes of the files on the hub)."""
    assert _plan(card="a100-80").weights / _GIB == pytest.approx(14.2, abs=0.15)
    assert _plan(card="a100-80", model=QWEN_7B_AWQ).weights / _GIB == pytest.approx(5.2, abs=0.1)


@pytest.mark.parametrize(
    ("model", "gib"), [(QWEN_1B5, 2.98), (QWEN_7B, 14.29), (QWEN_7B_AWQ, 5.38)]
)
def test_loading_takes_what_the_engine_says(model: ModelFacts, gib: float) -> None:
    """An H100 with vLLM 0.26.0: "Model loading took 2.98 GiB", 14.29, and 5.38 of AWQ."""
    assert _plan(model=model).weights / _GIB == pytest.approx(gib, abs=0.02)


def test_an_awq_model_in_11_gib_of_an_h100_holds_what_it_held() -> None:
    """KV cache of 0.1 of the card at a budget of 2,048 tokens: 23,856 tokens, twice that in fp8.

    All those starts compiled their graphs.
    """
    options = ("--gpu-memory-utilization", "0.1", "--max-num-batched-tokens", "2048",
               "--max-model-len", "20480")  # fmt: skip
    held = _plan(*options, model=QWEN_7B_AWQ, compiles=True).kv_tokens
    assert held == pytest.approx(23_856, rel=0.003)
    fp8 = _plan(*options, "--kv-cache-dtype", "fp8", model=QWEN_7B_AWQ, compiles=True)
    assert fp8.kv_tokens == pytest.approx(47_712, rel=0.003)
    with pytest.raises(StartRefused, match="KV cache"):
        _plan(*options[:4], "--max-model-len", "32768", model=QWEN_7B_AWQ, compiles=True)


@pytest.mark.parametrize(
    ("options", "compiles", "tokens"),
    [
        ((), False, 157_440),
        ((), True, 155_600),
        (("--kv-cache-dtype", "fp8"), False, 314_880),
        (("--kv-cache-dtype", "fp8"), True, 311_216),
        (("--kv-cache-dtype", "fp8", "--max-num-batched-tokens", "16384"), True, 275_232),
    ],
)
def test_a_tenth_of_an_h100_holds_the_tokens_that_it_held(
    options: tuple[str, ...], compiles: bool, tokens: int
) -> None:
    """Qwen2.5-1.5B's shape, vLLM 0.26.0, 2026-11-26, with and without a compile cache: to a block.

    A start that compiles its graphs takes more while it profiles, and keeps less for KV blocks.
    """
    plan = _plan("--gpu-memory-utilization", "0.1", "--max-model-len", "32768", *options,
                 model=QWEN_1B5, compiles=compiles)  # fmt: skip
    assert abs(plan.kv_tokens - tokens) <= plan.block_size


@settings(max_examples=60)
@given(
    card=st.sampled_from(card_names()),
    share=st.floats(0.3, 0.99),
    sequences=st.sampled_from([1, 16, 256, 1024]),
    budget=st.sampled_from([1024, 2048, 8192, 32768]),
    release=st.sampled_from(["0.9.2", "0.17.1", "0.26.0", "0.33.0"]),
    eager=st.booleans(),
)
def test_a_server_that_comes_up_fits_on_its_card(  # noqa: PLR0917 - hypothesis
    card: str, share: float, sequences: int, budget: int, release: str, eager: bool
) -> None:
    """All parts together stay within the card, and the KV cache within the share."""
    options = ["--gpu-memory-utilization", f"{share:.3f}", "--max-num-seqs", str(sequences)]
    options += ["--max-num-batched-tokens", str(budget), "--max-model-len", "1024"]
    options += ["--enforce-eager"] if eager else []
    try:
        plan = _plan(*options, card=card, model=QWEN_7B_AWQ, release=release)
    except StartRefused:
        return
    held = plan.weights + plan.non_torch + plan.kv_cache + plan.activation
    assert held + (plan.graphs_estimate or 0) <= plan.requested
    assert plan.context + plan.weights + plan.non_torch + plan.graphs + plan.kv_cache <= plan.total
    assert plan.blocks * plan.block_bytes <= plan.kv_cache < (plan.blocks + 1) * plan.block_bytes
    assert plan.kv_tokens >= 1024


@pytest.mark.parametrize(
    ("less", "more"),
    [
        (("--max-num-batched-tokens", "16384"), ("--max-num-batched-tokens", "4096")),
        (("--gpu-memory-utilization", "0.7"), ("--gpu-memory-utilization", "0.8")),
        (("--attention-backend", "FLASHINFER"), ("--attention-backend", "FLASH_ATTN")),
    ],
)
def test_what_takes_memory_leaves_fewer_kv_tokens(
    less: tuple[str, ...], more: tuple[str, ...]
) -> None:
    """Larger batches, a smaller share and, where it counts, FlashInfer's workspace."""
    assert _plan(*less, card="a100-80").kv_tokens < _plan(*more, card="a100-80").kv_tokens


def test_on_an_h100_flashinfer_held_as_many_tokens() -> None:
    """23,856 tokens with either backend: the workspace lies outside what vLLM 0.26.0 counts."""
    options = ("--gpu-memory-utilization", "0.1", "--max-num-batched-tokens", "2048",
               "--max-model-len", "20480")  # fmt: skip
    tokens = {
        _plan(*options, "--attention-backend", name, model=QWEN_7B_AWQ, compiles=True).kv_tokens
        for name in ("FLASHINFER", "FLASH_ATTN")
    }
    assert len(tokens) == 1
    assert tokens.pop() == pytest.approx(23_856, rel=0.003)


def test_graphs_are_in_the_share_from_0_20_on() -> None:
    """Before, they came on top: the same share holds more KV tokens and more of the card."""
    share = ("--gpu-memory-utilization", "0.9")
    before, after = _plan(*share, release="0.19.1"), _plan(*share, release="0.20.0")
    assert before.kv_tokens > after.kv_tokens
    assert before.gpu_idle > after.gpu_idle


@pytest.mark.parametrize(
    ("release", "cost"),
    [("0.19.1", False), ("0.20.0", True), ("0.26.0", False), ("0.29.0", True)],
)
def test_graphs_cost_kv_tokens_in_releases_that_estimate_them(release: str, cost: bool) -> None:
    """From 0.25.0 to 0.28.x dense models run on a model runner that estimates 0 for graphs."""
    graphs, eager = _plan(release=release), _plan("--enforce-eager", release=release)
    assert (graphs.kv_tokens < eager.kv_tokens) is cost


def test_an_auto_length_is_what_fits() -> None:
    """--max-model-len auto takes the model's own length, or as much as the KV cache holds."""
    small = _plan("--max-model-len", "auto", "--kv-cache-memory-bytes", str(_GIB // 2))
    assert small.max_model_len == small.kv_tokens < 32768
    assert _plan("--max-model-len", "auto").max_model_len == 32768


def test_the_offload_lies_in_host_memory() -> None:
    """Its size in blocks, its host bytes, and from 0.27.0 its place in /dev/shm."""
    old = _plan("--kv-offloading-size", "8")
    new = _plan("--kv-offloading-size", "8", release="0.28.0")
    assert old.offload_blocks == 8 * _GIB // old.block_bytes
    assert old.offload_host >= 8 * _GIB
    assert (old.shm, new.shm) == (0, 8 * _GIB)


def test_the_truth_is_not_the_plain_formula() -> None:
    """The card's constants move it, so that a screening model has something to learn."""
    plan = _plan()
    assert plan.weights != machine_of(plain_card()).shape.weight_bytes
