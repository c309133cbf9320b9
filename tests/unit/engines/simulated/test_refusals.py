"""Every refusal is named by the classifier that reads real vLLM's logs."""

from pathlib import Path

import pytest

from autotune.clock import VirtualClock
from autotune.engines.simulated.card import card_named
from autotune.engines.vllm.failures import explain
from autotune.records import Failure, FailureKind
from autotune.seams.engine import Evidence, ModelFacts
from tests.unit.engines.simulated.rig import (
    QWEN_1B5,
    QWEN_7B,
    QWEN_7B_AWQ,
    deployer_of,
    launch,
    machine_of,
    started,
)

K = FailureKind


def _failure(
    tmp_path: Path,
    *options: str,
    card: str = "rtx-5070",
    model: ModelFacts = QWEN_7B_AWQ,
    release: str = "0.33.0",
    host_gib: float = 94,
    **plan: object,
) -> tuple[int | None, Failure | None]:
    """How a start ends: exit code and what the classifier calls it."""
    clock = VirtualClock()
    deployer = deployer_of(clock, machine_of(card_named(card), model, release), host_gib=host_gib)
    log = tmp_path / "engine.log"
    ended = started(clock, deployer, launch(*options, **plan), log).exit_evidence()  # type: ignore[arg-type] # fields of the plan
    assert ended is not None
    assert not ended.stopped_by_us, log.read_text()[-500:]
    evidence = Evidence(phase="starting", exit=ended, log=log.read_text())
    return ended.exit_code, explain(evidence)


@pytest.mark.parametrize(
    ("options", "more", "code", "kind"),
    [
        # the command line
        (("--num-scheduler-steps", "10"), {}, 2, K.UNKNOWN_ARGUMENT),
        (("--kv-offloading-size", "8"), {"release": "0.11.0"}, 2, K.UNKNOWN_ARGUMENT),
        (("--kv-cache-dtype", "fp7"), {}, 2, K.INVALID_VALUE),
        (("--max-num-seqs", "many"), {}, 2, K.INVALID_VALUE),
        (("--performance-mode", "fast"), {}, 2, K.INVALID_VALUE),
        # values and combinations
        (("--gpu-memory-utilization", "1.2"), {}, 1, K.INVALID_VALUE),
        (("--max-num-batched-tokens", "64", "--max-num-seqs", "128"), {}, 1, K.INVALID_VALUE),
        (("--max-model-len", "99999"), {}, 1, K.INVALID_VALUE),
        (("--attention-backend", "NO_SUCH"), {}, 1, K.INVALID_VALUE),
        (
            ("--attention-backend", "FLASH_ATTN", "--kv-cache-dtype", "fp8"),
            {},
            1,
            K.UNSUPPORTED_COMBINATION,
        ),
        (
            ("--attention-backend", "FLEX_ATTENTION", "--kv-cache-dtype", "fp8"),
            {},
            1,
            K.UNSUPPORTED_COMBINATION,
        ),
        (
            ("--attention-backend", "TRITON_ATTN", "--kv-cache-dtype", "fp8"),
            {"card": "rtx-3090"},
            1,
            K.UNSUPPORTED_COMBINATION,
        ),
        (
            ("--attention-backend", "TRITON_ATTN", "--kv-cache-dtype", "fp8"),
            {"card": "rtx-3090", "release": "0.20.2"},
            1,
            K.UNSUPPORTED_COMBINATION,
        ),
        (("--block-size", "24"), {}, 1, K.UNSUPPORTED_COMBINATION),
        (("--kv-offloading-size", "8"), {"release": "0.13.0"}, 1, K.UNSUPPORTED_COMBINATION),
        (("--kv-offloading-size", "8"), {"release": "0.17.1"}, 1, K.UNSUPPORTED_COMBINATION),
        # memory of the card
        ((), {"card": "rtx-3060", "model": QWEN_7B}, 1, K.GPU_OOM_WEIGHTS),
        (("--max-num-batched-tokens", "65536"), {}, 1, K.GPU_OOM_PROFILING),
        (("--gpu-memory-utilization", "0.5"), {}, 1, K.NO_ROOM_FOR_KV),
        (("--gpu-memory-utilization", "0.66"), {}, 1, K.KV_TOO_SMALL),
        (("--gpu-memory-utilization", "0.99"), {}, 1, K.GPU_MEMORY_TAKEN),
        (
            (
                "--gpu-memory-utilization",
                "0.96",
                "--max-num-seqs",
                "128",
                "--max-num-batched-tokens",
                "512",
            ),
            {"release": "0.19.1"},
            1,
            K.GPU_OOM_GRAPHS,
        ),
        # memory of the host
        (("--kv-offloading-size", "60"), {}, 1, K.SHM_TOO_SMALL),
        (
            ("--kv-offloading-size", "8"),
            {"image": "vllm/vllm-openai:v0.33.0", "shm_bytes": 2**26},
            1,
            K.SHM_TOO_SMALL,
        ),
        (("--kv-offloading-size", "60"), {"release": "0.27.1"}, 1, K.SHM_TOO_SMALL),
        (("--kv-offloading-size", "93"), {"release": "0.26.0"}, 1, K.PINNING_REFUSED),
    ],
)
def test_a_start_that_cannot_work_is_named(
    tmp_path: Path,
    options: tuple[str, ...],
    more: dict[str, object],
    code: int,
    kind: FailureKind,
) -> None:
    """The exit code is vLLM's, and the classifier finds the kind in the simulated log."""
    exit_code, failure = _failure(tmp_path, *options, **more)  # type: ignore[arg-type] # see above
    assert exit_code == code
    assert failure is not None
    assert failure.kind is kind, failure


def test_a_length_that_does_not_fit_says_what_would(tmp_path: Path) -> None:
    """The text's estimate becomes a repair, and a start with it comes up."""
    _, failure = _failure(tmp_path, "--gpu-memory-utilization", "0.66")
    assert failure is not None
    length = failure.repair["max_model_len"]
    clock = VirtualClock()
    deployer = deployer_of(clock, machine_of(card_named("rtx-5070"), QWEN_7B_AWQ, "0.33.0"))
    plan = launch("--gpu-memory-utilization", "0.66", "--max-model-len", str(length))
    assert started(clock, deployer, plan, tmp_path / "again.log").server is not None


def test_a_host_without_memory_kills_without_a_word(tmp_path: Path) -> None:
    """A process ends by SIGKILL; the text says nothing, the exit does."""
    clock = VirtualClock()
    machine = machine_of(card_named("h100"), QWEN_1B5, "0.26.0")
    deployer = deployer_of(clock, machine, host_gib=32)
    plan = launch("--kv-offloading-size", "28")
    ended = started(clock, deployer, plan, tmp_path / "engine.log").exit_evidence()
    assert ended is not None
    assert (ended.exit_code, ended.signal) == (-9, 9)


def test_a_container_over_its_limit_says_so(tmp_path: Path) -> None:
    """The deployment reports the limit's kill, as Docker does."""
    clock = VirtualClock()
    machine = machine_of(card_named("h100"), QWEN_7B, "0.26.0")
    deployer = deployer_of(clock, machine, host_gib=94)
    plan = launch("--kv-offloading-size", "20", image="i", memory_limit_bytes=16 * 2**30)
    ended = started(clock, deployer, plan, tmp_path / "engine.log").exit_evidence()
    assert ended is not None
    assert (ended.exit_code, ended.oom_killed) == (137, True)


def test_the_words_for_a_short_kv_cache_changed_in_0_22(tmp_path: Path) -> None:
    """`models's` until 0.21.0; the classifier knows both."""
    texts = {}
    for release in ("0.21.0", "0.22.0"):
        _failure(tmp_path, "--gpu-memory-utilization", "0.66", release=release)
        texts[release] = (tmp_path / "engine.log").read_text()
    assert "with the models's max seq len" in texts["0.21.0"]
    assert "with the model's max seq len" in texts["0.22.0"]
