"""Exported files held against the default and the study, on records of known truth."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from autotune.cli.verify.rounds import DEFAULT, EXPORTED
from autotune.cli.verify.verdict import Verdict, Verification, compared_default, judge
from autotune.records import (
    Applied,
    Configuration,
    Failure,
    FailureKind,
    LimitCheck,
    Outcome,
    OutcomeStatus,
    TrialKind,
    TrialRecord,
)
from autotune.spec.study import StudySpec, study_from
from tests.support.records import record

SPEED = "output_tokens_per_s"
TTFT = "ttft_8k_ns"
SPEC = study_from({"name": "s", "objectives": [SPEED, TTFT]}, where="test")
PLAIN = Configuration()
TUNED = Configuration.of({"max_num_seqs": 64})
SOME_TTFT = 1e9


def trial(
    number: int,
    speed: float | None,
    *,
    configuration: Configuration = TUNED,
    kind: TrialKind = TrialKind.SEARCH,
    label: str = "",
    failure: Failure | None = None,
    status: OutcomeStatus = OutcomeStatus.MEASURED,
) -> TrialRecord:
    """A trial with a throughput and always the same TTFT."""
    return TrialRecord(
        study="s",
        number=number,
        kind=kind,
        label=label,
        configuration=configuration,
        outcome=Outcome(status=status, failure=failure),
        metrics={SPEED: speed, TTFT: SOME_TTFT},
    )


STUDY = (
    trial(0, 100.0, configuration=PLAIN, kind=TrialKind.BASELINE),
    trial(1, 140.0),
)
"""Tuned is 1.4 times the default."""


def rounds(default: Sequence[float | None], exported: Sequence[float | None]) -> list[TrialRecord]:
    """The trials of a verification of trial 1."""
    made = []
    for mine, theirs in zip(default, exported, strict=True):
        for value, label, asked in ((mine, DEFAULT, PLAIN), (theirs, EXPORTED, TUNED)):
            made.append(
                trial(
                    10 + len(made), value, configuration=asked, kind=TrialKind.VERIFY, label=label
                )
            )
    return made


def judged(
    made: Sequence[TrialRecord],
    *,
    study: Sequence[TrialRecord] = STUDY,
    spec: StudySpec = SPEC,
) -> Verification:
    """The verdict over the files of trial 1."""
    return judge(study, made, study[1], PLAIN, spec)


def speed_of(found: Verification) -> Verdict:
    """What became of the throughput."""
    return found.objectives[0].verdict


def test_what_measures_like_the_study_agrees() -> None:
    """One per cent off, with a noise of three assumed."""
    found = judged(rounds([100, 101, 99], [141, 139, 140]))
    assert speed_of(found) is Verdict.AGREES
    assert found.agrees
    assert found.failure is None


def test_a_setting_that_got_lost_on_the_way_is_found() -> None:
    """The files measure like the default while the study saw 1.4 times that."""
    found = judged(rounds([100, 101, 99], [100, 99, 101]))
    assert speed_of(found) is Verdict.DIFFERS
    assert not found.agrees


def test_a_machine_that_became_slower_is_not_the_files_fault() -> None:
    """Both arms lose a fifth: the ratio stands, and the move is told."""
    found = judged(rounds([80, 80.5, 79.5], [112, 111.5, 112.5]))
    assert speed_of(found) is Verdict.MOVED
    assert found.agrees
    machine = found.objectives[0].machine
    assert machine is not None
    assert machine.value == pytest.approx(0.8, rel=0.01)


def test_files_that_lose_more_than_the_machine_differ() -> None:
    """The default lost a tenth, the files a third."""
    found = judged(rounds([90, 90, 90], [93, 93, 93]))
    assert speed_of(found) is Verdict.DIFFERS


def test_better_than_the_study_is_a_difference_too() -> None:
    """It is reported, not welcomed."""
    assert speed_of(judged(rounds([100] * 3, [180] * 3))) is Verdict.DIFFERS


@pytest.mark.parametrize(("off", "says"), [(1.01, Verdict.AGREES), (1.04, Verdict.DIFFERS)])
def test_many_repeats_make_no_difference_out_of_one_per_cent(off: float, says: Verdict) -> None:
    """Forty rounds without any noise; four per cent is one."""
    assert speed_of(judged(rounds([100] * 40, [140 * off] * 40))) is says


def test_an_objective_that_was_not_measured_is_no_agreement() -> None:
    """None is not measured, never 0."""
    found = judged(rounds([100], [None]))
    assert speed_of(found) is Verdict.NOT_MEASURED
    assert found.objectives[0].exported is None
    assert not found.agrees


def test_files_that_do_not_start() -> None:
    """The failure is the verdict, whatever was measured before."""
    failure = Failure(kind=FailureKind.GPU_OOM, phase="starting", message="out of memory")
    made = rounds([100, 100], [140, None])
    made[-1] = replace(
        made[-1], outcome=Outcome(status=OutcomeStatus.INFEASIBLE, failure=failure), metrics={}
    )
    found = judged(made)
    assert found.failure == failure
    assert not found.agrees
    assert speed_of(found) is Verdict.AGREES


def test_a_fault_of_the_host_that_was_run_again_does_not_count() -> None:
    """Only the last trial of the files says whether they were measured."""
    fault = Failure(kind=FailureKind.DEPLOYER_FAULT, phase="starting", message="engine went away")
    made = rounds([100, 100], [140, 140])
    broken = replace(
        made[1],
        number=9,
        outcome=Outcome(status=OutcomeStatus.FAILED, failure=fault),
        metrics={},
    )
    found = judged([broken, *made])
    assert found.failure is None
    assert found.agrees


def test_a_limit_that_the_files_break_is_no_agreement() -> None:
    """Such a trial is measured to its end, so its limits are looked at here."""
    made = rounds([100], [140])
    check = LimitCheck(metric="gpu_memory_peak_bytes", bound=10.0, value=11.0, kept=False)
    made[1] = replace(made[1], limits=(check,))
    found = judged(made)
    assert found.broken == (("gpu_memory_peak_bytes", 11.0, 10.0),)
    assert not found.agrees


def test_a_limit_that_the_default_breaks_is_the_defaults() -> None:
    """It is what the user has today, and no reason against the files."""
    made = rounds([100], [140])
    check = LimitCheck(metric="gpu_memory_peak_bytes", bound=10.0, value=11.0, kept=False)
    made[0] = replace(made[0], limits=(check,))
    assert judged(made).agrees


def test_the_interval_is_that_of_the_pairs() -> None:
    """Three pairs of 1.4: a variance of 2 x 0.03^2 with two degrees of freedom, and two of 0.

    2.7764 is the 97.5% quantile of Student's t with four degrees of freedom, from a printed table.
    """
    gain = judged(rounds([100, 90, 110], [140, 126, 154])).objectives[0].gain
    assert gain is not None
    assert gain.value == pytest.approx(1.4)
    reach = 2.7764 * math.sqrt(2 * 0.03**2 * 2 / 4 / 3)
    assert gain.low == pytest.approx(1.4 * math.exp(-reach), rel=1e-4)
    assert gain.high == pytest.approx(1.4 * math.exp(reach), rel=1e-4)


def test_a_default_that_was_not_measured_leaves_the_study() -> None:
    """No pairs, no gain; the files are still held against the study."""
    made = [r for r in rounds([100, 100], [140, 140]) if r.label == EXPORTED]
    found = judged(made)
    assert found.objectives[0].gain is None
    assert found.agrees


def test_a_pair_has_its_own_default() -> None:
    """Once the default fails, later trials of the files have no partner."""
    made = rounds([100, 100], [140, 280])
    gain = judged([made[0], made[1], made[3]]).objectives[0].gain
    assert gain is not None
    assert gain.value == pytest.approx(1.4)


def test_proofs_alone_are_the_studys_figures() -> None:
    """What the search itself measured of its winner flatters it."""
    study = (
        *STUDY[:1],
        trial(1, 180.0),
        trial(2, 140.0, kind=TrialKind.FINALIST),
        trial(3, 140.0, kind=TrialKind.FINALIST),
    )
    found = judged(rounds([100] * 3, [140] * 3), study=study)
    assert found.objectives[0].study == 140.0
    assert found.agrees


def test_an_earlier_verification_is_not_the_study() -> None:
    """Else the second one would be held against the first."""
    earlier = rounds([50], [70])
    found = judged(
        [replace(r, number=r.number + 10) for r in rounds([100], [140])], study=(*STUDY, *earlier)
    )
    assert found.objectives[0].study == 140.0
    assert found.objectives[0].study_default == 100.0


def started(of: TrialRecord, compiled_s: float, tokens: int) -> TrialRecord:
    """The same trial with what its start says."""
    start = {"startup_compile_ns": compiled_s * 1e9, "context_capacity_tokens": float(tokens)}
    return replace(of, metrics={**of.metrics, **start})


def test_a_first_start_of_the_files_is_no_difference() -> None:
    """It compiled, so it held fewer tokens and was slower; the study knows a later start."""
    study = (STUDY[0], started(STUDY[1], 5.5, 33_968))
    default, first = rounds([100], [90])
    later = replace(first, number=12, metrics={**first.metrics, SPEED: 140.0})
    made = (default, started(first, 27.9, 20_880), started(later, 5.2, 33_968))
    found = judged(made, study=study)
    assert found.objectives[0].exported == 140.0
    assert found.agrees


def keep_default(default: Sequence[float], exported: Sequence[float]) -> Verification:
    """Files of a recommendation that is the default."""
    made = [replace(r, configuration=PLAIN) for r in rounds(default, exported)]
    return judge(STUDY, made, STUDY[0], PLAIN, SPEC)


def test_files_of_the_default_must_measure_like_the_default_beside_them() -> None:
    """The same configuration, started in two ways."""
    found = keep_default([100, 101, 99], [100.5, 99.5, 100])
    assert found.is_default
    assert found.agrees
    assert speed_of(keep_default([100, 101, 99], [80, 81, 79])) is Verdict.DIFFERS
    # Both moved apart by what each alone could pass for: together it is too much.
    assert speed_of(keep_default([95, 95, 95], [105, 105, 105])) is Verdict.DIFFERS


def agrees(seed: int, *, truth: float, sd: float) -> bool:
    """Whether a verification agrees, with noise on every figure of study and verification."""
    noise = np.random.default_rng(seed)

    def noisy(value: float) -> float:
        return value * math.exp(noise.normal(0.0, sd))

    study = (replace(STUDY[0], metrics={SPEED: noisy(100), TTFT: noisy(SOME_TTFT)}),
             replace(STUDY[1], metrics={SPEED: noisy(140), TTFT: noisy(SOME_TTFT)}))  # fmt: skip
    made = [
        replace(r, metrics={SPEED: noisy(value or 0), TTFT: noisy(SOME_TTFT)})
        for r in rounds([100] * 3, [140 * truth] * 3)
        if (value := r.metrics[SPEED])
    ]
    return judged(made, study=study).agrees


@pytest.mark.parametrize(("sd", "least"), [(0.003, 190), (0.01, 190), (0.03, 190), (0.06, 180)])
def test_noise_alone_is_rarely_called_a_difference(sd: float, least: int) -> None:
    """One in twenty of 200 verifications at most; one in ten at twice the noise assumed."""
    assert sum(agrees(seed, truth=1.0, sd=sd) for seed in range(200)) >= least


@pytest.mark.parametrize("sd", [0.003, 0.01])
def test_a_loss_of_a_tenth_is_found(sd: float) -> None:
    """With three rounds, in at least 95 of 100."""
    missed = sum(agrees(seed, truth=0.9, sd=sd) for seed in range(100))
    assert missed <= 5


def test_the_default_arm_is_what_the_study_compares_with() -> None:
    """A default over its memory bound was lowered to 0.9: 0.92 would be another default."""
    over = Failure(kind=FailureKind.MEMORY_LIMIT, phase="warming_up", message="GPU memory in use")
    lowered = Configuration.of({"gpu_memory_utilization": 0.9})
    records = [
        record(0, kind=TrialKind.BASELINE, config=Configuration(), failure=over),
        record(1, kind=TrialKind.REPAIR, config=lowered),
        record(2, kind=TrialKind.VERIFY, config=Configuration()),
    ]

    assert compared_default(records) == lowered
    assert compared_default(records[2:]) is None


def test_the_studys_figures_are_given_as_on_its_last_machine() -> None:
    """The second card is a fifth slower: 140 there is 112 here, and the files measure that."""
    cards = ("GPU-1", "GPU-1", "GPU-2")
    speeds = (trial(0, 100.0, configuration=PLAIN, kind=TrialKind.BASELINE), trial(1, 140.0),
              trial(2, 80.0, configuration=PLAIN, kind=TrialKind.BASELINE))  # fmt: skip
    study = [replace(made, environment={"gpu_uuid": card})
             for made, card in zip(speeds, cards, strict=True)]  # fmt: skip
    found = judged(rounds([80, 80.5, 79.5], [112, 111.5, 112.5]), study=study)
    assert found.objectives[0].study == pytest.approx(112)
    assert speed_of(found) is Verdict.AGREES


def test_what_ran_alike_tells_the_studys_figure_together() -> None:
    """One lucky trial of it at 180, asked for by another name, and two proofs at 140."""
    read = Applied(settings={"max_num_seqs": 64, "max_model_len": 32768})
    longer = TUNED.updated({"max_model_len": 32768})
    study = [
        STUDY[0],
        *(replace(made, applied=read) for made in (
            trial(1, 180.0, configuration=longer),
            trial(2, 140.0, kind=TrialKind.FINALIST),
            trial(3, 140.0, kind=TrialKind.FINALIST),
        )),
    ]  # fmt: skip
    found = judged(rounds([100, 101, 99], [141, 139, 140]), study=study)
    assert found.objectives[0].study == 140
    assert speed_of(found) is Verdict.AGREES


def test_files_that_ran_as_the_default_must_measure_like_it() -> None:
    """They ask for what the server has anyway."""
    read = Applied(settings={"max_num_seqs": 64})
    study = [replace(STUDY[0], applied=read), replace(trial(1, 100.0), applied=read)]
    assert judged(rounds([100, 101, 99], [100, 99, 101]), study=study).is_default
