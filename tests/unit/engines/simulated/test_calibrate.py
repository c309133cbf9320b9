"""Calibration: what was changed is found again, and the error is that on records left out."""

from dataclasses import replace
from math import exp, log
from pathlib import Path

import pytest

from autotune.engines.model_shape import shape_of
from autotune.engines.simulated.arguments import Machine, settings_from
from autotune.engines.simulated.calibrate import (
    calibrate,
    observation_from,
    player,
    write_card,
)
from autotune.engines.simulated.card import Card, card_named
from autotune.engines.simulated.card_values import value_of, with_values
from autotune.engines.simulated.fit_metrics import FITTED_METRICS
from autotune.engines.simulated.fit_parameters import on_host, touches
from autotune.engines.simulated.fitting import (
    Fitter,
    Observation,
    kind_of,
)
from autotune.engines.simulated.left_out import cross_validated
from autotune.engines.simulated.release import release_named
from autotune.engines.simulated.replay import Replay, replayed_metrics
from autotune.errors import UsageError
from autotune.records import (
    Applied,
    Configuration,
    MemoryLedger,
    Outcome,
    OutcomeStatus,
    TrialKind,
    TrialRecord,
)
from autotune.spec.workload import Workload
from tests.unit.engines.simulated.rig import QWEN_1B5, QWEN_7B

_SMALL = Workload(
    requests=16,
    concurrency=8,
    prompt_tokens=128,
    output_tokens=16,
    warmup_requests=0,
    ttft_max_tokens=16,
    long_context_tokens=(8192,),
)
_FEW = ("gemm.compute", "gemm.bandwidth", "host.iteration_us", "host.eager_layer_us")
_OPTIONS = (
    (),
    ("--enforce-eager",),
    ("--no-async-scheduling",),
    ("--max-num-seqs", "2"),
    ("--max-num-batched-tokens", "2048"),
)


def _observations(card: Card) -> list[Observation]:
    found = []
    for model in (QWEN_1B5, QWEN_7B):
        for options in _OPTIONS:
            replay = Replay(
                argv=("vllm", "serve", "m", *options),
                shape=shape_of(model),
                release=release_named("0.26.0"),
                workload=_SMALL,
            )
            metrics = replayed_metrics(card, replay)
            measured = {tag: metrics[tag] for tag in FITTED_METRICS if tag in metrics}
            found.append(Observation(name=f"{model.name} {options}", replay=replay,
                                     measured=measured))  # fmt: skip
    return found


def test_efficiencies_that_were_changed_are_found_again() -> None:
    """Observations of another card: the fit explains those it has not seen, and finds why."""
    start = card_named("h100")
    truth = {"gemm.compute": 0.55, "gemm.bandwidth": 0.65, "host.eager_layer_us": 220.0,
             "host.iteration_us": 1600.0}  # fmt: skip
    observations = _observations(with_values(start, truth))
    fit = calibrate(observations, start, date="2026-01-31", release="0.26.0", parameters=_FEW)
    calibrated = fit.card.calibrated
    assert calibrated is not None
    assert (calibrated.records, calibrated.held_out_records) == (7, 3)
    assert len(fit.left_out) == 3
    for metric in ("output_tokens_per_s", "ttft_8k_ns", "itl_p50_ns"):
        assert calibrated.median_error[metric] < 0.03, metric
    assert fit.card.gemm.compute == pytest.approx(0.55, rel=0.1)
    assert fit.card.host.eager_layer_us == pytest.approx(220.0, rel=0.1)
    assert fit.rank_correlation is not None
    assert fit.rank_correlation > 0.9


def test_a_parameter_that_no_record_speaks_of_stays() -> None:
    """Backends that were not measured keep their values."""
    start = card_named("h100")
    observations = _observations(with_values(start, {"gemm.compute": 0.6}))[:5]
    fit = calibrate(observations, start, date="2026-01-31", release="0.26.0")
    assert fit.card.attention["TRITON_ATTN"] == start.attention["TRITON_ATTN"]
    assert fit.card.host.frontend_request_us == pytest.approx(
        start.host.frontend_request_us, rel=0.2
    )


def test_too_few_records_are_refused() -> None:
    """Three trials make no calibration."""
    with pytest.raises(UsageError, match="4 measured trials"):
        calibrate(_observations(card_named("h100"))[:3], card_named("h100"), date="d", release="r")


def test_a_configuration_that_cannot_be_played_is_named() -> None:
    """It is left out of the fit and reported."""
    observations = _observations(card_named("h100"))[:5]
    impossible = Observation(
        name="impossible",
        replay=Replay(
            argv=("vllm", "serve", "m", "--no-such-option"),
            shape=shape_of(QWEN_7B),
            release=release_named("0.26.0"),
            workload=_SMALL,
        ),
        measured={"output_tokens_per_s": 1.0},
    )
    fit = calibrate([*observations, impossible], card_named("h100"), date="d", release="r")
    assert fit.unplayable == ("impossible",)


def test_a_calibrated_card_is_written_with_its_error(tmp_path: Path) -> None:
    """The file carries date, release and error, and reads back."""
    fit = calibrate(_observations(card_named("h100"))[:5], card_named("h100"),
                    date="2026-01-31", release="0.26.0")  # fmt: skip
    write_card(fit.card, tmp_path / "h100.yaml")
    read = card_named(str(tmp_path / "h100.yaml"))
    assert read.calibrated == fit.card.calibrated
    assert read.gemm.compute == pytest.approx(fit.card.gemm.compute, rel=1e-3)


def _record(*, simulated: bool = False, **metrics: float | None) -> TrialRecord:
    return TrialRecord(
        study="s",
        number=7,
        kind=TrialKind.SEARCH,
        configuration=Configuration(),
        outcome=Outcome(status=OutcomeStatus.MEASURED),
        metrics=metrics,
        simulated=simulated,
        applied=Applied(kv_cache_tokens=50_000),
        command=("vllm", "serve", "m", "--max-num-seqs", "8"),
        environment={"engine_release": "0.26.0"},
    )


def test_a_record_becomes_an_observation() -> None:
    """Command, release and KV tokens are the record's; metrics that were not measured are not."""
    record = _record(output_tokens_per_s=100.0, ttft_8k_ns=None, startup_ns=1.0)
    observation = observation_from(record, QWEN_7B, _SMALL)
    assert observation is not None
    assert observation.measured == {"output_tokens_per_s": 100.0}
    assert observation.replay.argv == record.command
    assert observation.replay.kv_tokens == 50_000
    assert observation.replay.release.name == "0.26.0"


def test_nothing_is_learnt_from_simulated_trials() -> None:
    """Nor from one that measured nothing."""
    assert observation_from(_record(simulated=True, itl_p50_ns=1.0), QWEN_7B, _SMALL) is None
    assert observation_from(_record(itl_p50_ns=None), QWEN_7B, _SMALL) is None


def test_memory_constants_come_from_the_ledgers() -> None:
    """What starts say of their memory is explained, and KV tokens are then exact to a block."""
    start = card_named("h100")
    changes = {"activation_factor": 1.3, "weights_factor": 1.02, "non_torch_mib": 300.0,
               "graph_layer_kib": 400.0}  # fmt: skip
    truth = start.model_copy(update={"memory": start.memory.model_copy(update=changes)})
    observations = []
    for observation in _observations(start):
        plan = observation.replay.memory_on(truth).plan()
        gib = 2**30
        ledger = MemoryLedger(
            weights_gib=plan.weights / gib,
            activation_gib=plan.activation / gib,
            non_torch_gib=plan.non_torch / gib,
            graphs_gib=plan.graphs / gib,
        )
        observations.append(replace(observation, ledger=ledger, kv_tokens=plan.kv_tokens))
    fit = calibrate(observations, start, date="d", release="r", parameters=("gemm.compute",))
    assert fit.card.memory.activation_factor == pytest.approx(1.3, rel=0.01)
    assert fit.card.memory.weights_factor == pytest.approx(1.02, rel=0.01)
    assert fit.card.memory.non_torch_mib == pytest.approx(300, rel=0.05)
    assert len(fit.errors["context_capacity_tokens"]) == 3
    assert max(fit.errors["context_capacity_tokens"]) < 0.002


def test_an_unknown_parameter_is_an_error() -> None:
    """A misspelt name does not vanish."""
    for name in ("gemm.compte", "attention.NO_SUCH.prefill", "nothing.at_all"):
        with pytest.raises(KeyError):
            with_values(card_named("h100"), {name: 1.0})


def test_starts_that_skipped_profiling_say_nothing_of_graphs() -> None:
    """Beside others that start, free memory lost during the capture is not this server's."""
    start = card_named("h100")
    ledger = MemoryLedger(weights_gib=2.98, graphs_gib=16.75)
    observations = [replace(o, ledger=ledger) for o in _observations(start)[:5]]
    fit = calibrate(observations, start, date="d", release="r", parameters=("gemm.compute",))
    assert fit.card.memory.graph_layer_kib == pytest.approx(start.memory.graph_layer_kib, rel=0.01)


def test_each_configuration_is_left_out_with_its_repeats() -> None:
    """Errors are on what a fit has not seen: eager's cost stays unknown while eager is out."""
    start = card_named("h100")
    truth = with_values(start, {"host.eager_layer_us": start.host.eager_layer_us * 2,
                                "gemm.compute": 0.5})  # fmt: skip
    seen = _observations(truth)[:3]
    twice = [*seen, replace(seen[1], name="eager again")]
    fitter = Fitter(start, twice, player(), ("gemm.compute", "host.eager_layer_us"))
    together = fitter.run()
    assert together.host.eager_layer_us == pytest.approx(truth.host.eager_layer_us, rel=0.05)
    errors = cross_validated(fitter, start, twice, player())
    assert len(errors["itl_single_ns"]) == 4
    assert len(errors["ttft_8k_ns"]) == 4
    eager = sorted(errors["itl_single_ns"])[-2:]
    assert eager[0] == pytest.approx(eager[1], rel=1e-6)
    assert eager[0] > 0.3
    assert sorted(errors["ttft_8k_ns"])[1] < 0.05


def test_repeats_of_a_configuration_count_together_as_one() -> None:
    """Two configurations that disagree are met in the middle, however often one was measured."""
    start = card_named("h100")
    slow = _observations(with_values(start, {"gemm.compute": start.gemm.compute * 0.95}))[0]
    fast = _observations(with_values(start, {"gemm.compute": start.gemm.compute * 1.05}))[3]
    once = Fitter(start, [slow, fast], player(), ("gemm.compute",)).run()
    often = Fitter(start, [slow, *[fast] * 4], player(), ("gemm.compute",)).run()
    assert often.gemm.compute == pytest.approx(once.gemm.compute, rel=0.01)


def test_a_fit_that_begins_near_the_solution_ends_where_the_others_do() -> None:
    """Where it begins saves steps; what parameters are pulled to is the start card still."""
    start = card_named("h100")
    truth = with_values(start, {"host.iteration_us": start.host.iteration_us * 1.5})
    observations = _observations(truth)[:3]
    far = Fitter(start, observations, player(), ("host.iteration_us",)).run()
    near = Fitter(start, observations, player(), ("host.iteration_us",), near=truth).run()
    assert near.host.iteration_us == pytest.approx(far.host.iteration_us, rel=0.01)


def test_a_step_that_explains_less_is_made_shorter() -> None:
    """The whole step to 1.65 times the start value lands on a cliff; half of it is taken."""
    start = card_named("h100")
    (seen,) = _observations(start)[:1]
    seen = replace(seen, measured={"itl_single_ns": 1e6})

    def play(card: Card, _observation: Observation) -> dict[str, float]:
        moved = log(card.host.iteration_us / start.host.iteration_us)
        return {"itl_single_ns": 1e6 * exp(0.5 - moved if moved < 0.45 else 5.0)}

    card = Fitter(start, [seen], play, ("host.iteration_us",)).improve()
    assert 1.2 < card.host.iteration_us / start.host.iteration_us < exp(0.45)


def test_a_slow_machine_does_not_make_the_card_slow() -> None:
    """The same servers on two machines: one gets a factor over the other, the card is between."""
    start = card_named("h100")
    slow = on_host(start, 1.3)
    observations = [
        *(replace(o, machine="a") for o in _observations(start)[:5]),
        *(replace(o, machine="b") for o in _observations(slow)[:5]),
    ]
    fitter = Fitter(start, observations, player(), ("host.iteration_us",))
    card = fitter.run()
    assert 1.15 < fitter.host_factors["b"] / fitter.host_factors["a"] < 1.32
    assert start.host.iteration_us * 0.95 < card.host.iteration_us < slow.host.iteration_us
    assert slow.gemm == start.gemm


def test_servers_are_of_one_kind_whatever_their_memory_and_port() -> None:
    """A default that is written out, a port and a share of memory make no other server."""
    card = card_named("h100")

    def kind(*options: str) -> object:
        replay = Replay(argv=("vllm", "serve", "m", *options), shape=shape_of(QWEN_7B),
                        release=release_named("0.26.0"), workload=_SMALL)  # fmt: skip
        return kind_of(card, Observation(name="o", replay=replay, measured={}))

    same = ("--port", "9", "--gpu-memory-utilization", "0.5", "--attention-backend", "FLASH_ATTN")
    assert kind() == kind(*same)
    assert kind() != kind("--enforce-eager")
    assert kind("--kv-offloading-size", "16") == kind("--kv-offloading-size", "32")
    assert kind("--kv-offloading-size", "16") != kind()


@pytest.mark.parametrize(
    ("parameter", "options", "expected"),
    [
        ("host.eager_layer_us", (), False),
        ("host.eager_layer_us", ("--enforce-eager",), True),
        ("host.compiled_layer_us", ("--enforce-eager",), False),
        ("host.offload_store_us", (), False),
        ("host.offload_store_us", ("--kv-offloading-size", "8"), True),
        ("attention.TRITON_ATTN.prefill", (), False),
        ("attention.TRITON_ATTN.prefill", ("--attention-backend", "TRITON_ATTN"), True),
        ("attention.FLASH_ATTN.fp8_decode", (), False),
        ("attention.FLASH_ATTN.fp8_decode", ("--kv-cache-dtype", "fp8"), True),
        ("gemm.compute", (), True),
        ("gemm.int4_compute", (), False),
    ],
)
def test_a_parameter_that_cannot_matter_is_not_played(
    parameter: str, options: tuple[str, ...], expected: bool
) -> None:
    """What is called untouched is untouched: the metrics do not move with the parameter."""
    card = card_named("h100")
    machine = Machine(release=release_named("0.26.0"), card=card, shape=shape_of(QWEN_1B5),
                      model_name="m")  # fmt: skip
    argv = ("vllm", "serve", "m", *options)
    settings = settings_from(argv, {}, machine)
    assert touches(parameter, settings, card, shape_of(QWEN_1B5)) is expected
    replay = Replay(argv=argv, shape=shape_of(QWEN_1B5), release=release_named("0.26.0"),
                    workload=_SMALL)  # fmt: skip
    changed = with_values(card, {parameter: value_of(card, parameter) * 0.5})
    moved = replayed_metrics(card, replay) != replayed_metrics(changed, replay)
    assert moved or not expected
    assert not moved or expected
