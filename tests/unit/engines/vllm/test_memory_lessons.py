"""Failures by memory teach: what needs at least as much is not started."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from autotune.engines.vllm.memory import MemoryModel
from autotune.records import (
    Configuration,
    Failure,
    FailureKind,
    Outcome,
    OutcomeStatus,
    Scalar,
    TrialKind,
    TrialRecord,
)
from autotune.seams.engine import Screening
from tests.support.vllm_contexts import QWEN_1B5, QWEN_7B_AWQ, context

CARD = context(QWEN_7B_AWQ)
HOST = context(QWEN_1B5, host_gib=200.0)
OVER_THE_CARD = "GPU memory in use is 11.30 GiB, over the bound of 10.94 GiB"
OVER_THE_HOST = "host memory available is 8.10 GiB, under the reserve of 9.00 GiB"


def ended(
    values: Mapping[str, Scalar],
    kind: FailureKind | None,
    message: str = "out of memory",
    margin_gib: float | None = None,
) -> TrialRecord:
    """Trial 7 of some configuration, ended by a failure or measured."""
    failure, status = None, OutcomeStatus.MEASURED
    if kind is not None:
        failure = Failure(kind=kind, phase="starting", message=message, margin_gib=margin_gib)
        status = OutcomeStatus.INFEASIBLE
    return TrialRecord(
        study="s",
        number=7,
        kind=TrialKind.SEARCH,
        configuration=Configuration.of(values),
        outcome=Outcome(status=status, failure=failure),
    )


def taught(*records: TrialRecord) -> MemoryModel:
    """A model that has seen these trials."""
    model = MemoryModel()
    for record in records:
        model.learn(record)
    return model


def offload(model: MemoryModel, gib: int) -> Screening:
    """The verdict on so much offload, with room enough by the model's own arithmetic."""
    return model.screen(Configuration.of({"kv_offload_gib": gib}), HOST)


def share(model: MemoryModel, utilization: float, **more: Scalar) -> Screening:
    """The verdict on a share of the card."""
    return model.screen(Configuration.of({"gpu_memory_utilization": utilization, **more}), CARD)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (FailureKind.CONTAINER_OOM, "the memory limit of its trial ended the engine"),
        (FailureKind.HOST_OOM, "the kernel's OOM killer ended it"),
        (FailureKind.PINNING_REFUSED, "cudaHostRegister failed"),
        (FailureKind.MEMORY_LIMIT, OVER_THE_HOST),
    ],
)
def test_an_offload_that_failed_once_is_not_started_again_nor_a_larger_one(
    kind: FailureKind, message: str
) -> None:
    """Beside other settings either; a smaller one may still do."""
    model = taught(ended({"kv_offload_gib": 48}, kind, message))

    for gib in (48, 64):
        beside = Configuration.of({"kv_offload_gib": gib, "max_num_seqs": 64})
        failure = model.screen(beside, HOST).failure
        assert failure is not None
        assert failure.kind is FailureKind.WOULD_NOT_FIT
        assert "trial 7, which failed: " + message in failure.message
        assert failure.margin_gib is not None
        assert failure.margin_gib < 0
    assert offload(model, 40).failure is None
    assert offload(MemoryModel(), 48).failure is None


def test_the_margin_is_the_failed_trials_and_what_is_needed_more() -> None:
    """48 GiB fell 0.9 short; 64 need 16 GiB more."""
    model = taught(ended({"kv_offload_gib": 48}, FailureKind.MEMORY_LIMIT, OVER_THE_HOST, -0.9))
    failure = offload(model, 64).failure
    assert failure is not None
    assert failure.margin_gib == pytest.approx(-0.9 - 16, abs=0.01)


def test_a_start_without_host_buffers_has_not_failed_by_them() -> None:
    """Something else took the host's memory; to bar every start would end the study."""
    model = taught(ended({}, FailureKind.MEMORY_LIMIT, OVER_THE_HOST))
    assert offload(model, 8).failure is None


def test_a_share_that_broke_the_headroom_bars_larger_ones() -> None:
    """As a matter of headroom: what others are compared with is started all the same."""
    failed = ended({"gpu_memory_utilization": 0.9}, FailureKind.MEMORY_LIMIT, OVER_THE_CARD, -0.36)
    model = taught(failed)
    over = share(model, 0.92).headroom
    assert over is not None
    assert over.margin_gib is not None
    assert over.margin_gib < -0.36
    assert share(model, 0.92).failure is None
    assert share(model, 0.88).headroom is None


def test_the_same_configuration_is_left_to_the_study() -> None:
    """Whether it is tried again is a matter of retries and repeats."""
    failed = ended({"gpu_memory_utilization": 0.9}, FailureKind.MEMORY_LIMIT, OVER_THE_CARD)
    assert share(taught(failed), 0.9).headroom is None


def test_a_measured_trial_that_needs_as_much_takes_the_lesson_back() -> None:
    """Then it was another program that took the memory."""
    failed = ended({"gpu_memory_utilization": 0.88}, FailureKind.MEMORY_LIMIT, OVER_THE_CARD)
    fine = ended({"gpu_memory_utilization": 0.9}, None)
    slow = ended({"gpu_memory_utilization": 0.9}, FailureKind.LIMIT_MISSED)
    for evidence in (fine, slow):
        assert share(taught(failed, evidence), 0.92).headroom is None
    assert share(taught(failed), 0.92).headroom is not None


def test_out_of_memory_while_graphs_are_captured_says_nothing_of_eager_starts() -> None:
    """They capture none."""
    failed = ended({"gpu_memory_utilization": 0.9}, FailureKind.GPU_OOM_GRAPHS)
    model = taught(failed)
    assert share(model, 0.92).failure is not None
    assert share(model, 0.92, enforce_eager=True).failure is None


def test_out_of_memory_in_profiling_is_about_the_batch_and_not_the_share() -> None:
    """A larger share with a smaller step may fit."""
    failed = ended({"max_num_batched_tokens": 16384}, FailureKind.GPU_OOM_PROFILING)
    model = taught(failed)
    assert share(model, 0.8, max_num_batched_tokens=32768).failure is not None
    assert share(model, 0.95, max_num_batched_tokens=2048).failure is None


def test_what_was_screened_or_failed_otherwise_teaches_nothing() -> None:
    """Only a start that ran out of memory shows anything."""
    guess = ended({"kv_offload_gib": 48}, FailureKind.WOULD_NOT_FIT)
    model = taught(guess, ended({"kv_offload_gib": 48}, FailureKind.REQUESTS_FAILED))
    assert offload(model, 64).failure is None


@pytest.mark.parametrize(("utilization", "kept"), [(0.88, True), (0.92, True), (0.95, False)])
def test_a_share_that_must_break_the_headroom_is_known_before_any_trial(
    utilization: float, *, kept: bool
) -> None:
    """12,227 MiB less 1 GiB: 0.95 of what CUDA sees, a step's activations aside, are more."""
    start = replace(CARD, gpu_headroom_bytes=2**30)
    found = MemoryModel().screen(Configuration.of({"gpu_memory_utilization": utilization}), start)
    assert found.failure is None
    assert (found.headroom is None) is kept
    if found.headroom is not None:
        assert found.headroom.available_gib == pytest.approx(12_227 / 1024 - 1, abs=0.001)


def test_trials_of_another_release_teach_nothing() -> None:
    """It takes other memory; a study may go on with a newer image."""
    failed = ended({"kv_offload_gib": 48}, FailureKind.CONTAINER_OOM)
    other = replace(failed, environment={"engine_release": "0.26.0"})
    same = replace(failed, environment={"engine_release": HOST.capabilities.release})
    assert offload(taught(other), 64).failure is None
    assert offload(taught(same), 64).failure is not None
