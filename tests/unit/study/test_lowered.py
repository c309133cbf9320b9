"""A default that only just breaks a memory bound is lowered in the space's steps."""

import pytest

from autotune.records import (
    Applied,
    Configuration,
    Failure,
    FailureKind,
    LimitCheck,
    TrialKind,
    TrialRecord,
)
from autotune.spec.parameters import Choice, Parameter, Range
from autotune.study.lowered import given_share, lowered_default
from autotune.trial.failure import outcome_of

SHARE = "gpu_memory_utilization"
RANGE = Range(name=SHARE, low=0.8, high=0.92, step=0.02, integer=False)
CHOICES = Choice(name=SHARE, choices=("default", 0.7, 0.85))
DEFAULT = Configuration()


def over(
    number: int = 0,
    share: float | None = None,
    gib: float | None = 0.05,
    kind: FailureKind = FailureKind.MEMORY_LIMIT,
    kind_: TrialKind = TrialKind.BASELINE,
    **changes: object,
) -> TrialRecord:
    """A trial on a card of 12 GiB that was so many GiB over its bound; the server says 0.92."""
    failure = Failure(
        kind=kind, phase="warming_up", message="GPU memory over the bound",
        margin_gib=None if gib is None else -gib,
    )  # fmt: skip
    values: dict[str, object] = {
        "study": "s", "number": number, "kind": kind_,
        "configuration": Configuration.of({} if share is None else {SHARE: share}),
        "outcome": outcome_of(failure), "applied": Applied(settings={SHARE: 0.92}),
        "environment": {"gpu_memory_bytes": str(12 * 1024**3)},
    }  # fmt: skip
    return TrialRecord(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("gib", "space", "wanted"),
    [
        (0.05, RANGE, 0.9),  # 0.92 - 0.05 / 12 = 0.916
        (0.3, RANGE, 0.88),  # 0.895
        (0.05, CHOICES, 0.85),
        (0.3, None, 0.89),
        (2.0, RANGE, None),  # 0.753 is under the space
    ],
)
def test_the_next_step_that_makes_up_for_what_was_over(
    gib: float, space: Parameter | None, wanted: float | None
) -> None:
    """What was over as a share of the card, then down to the space's next step."""
    found = lowered_default([over(gib=gib)], DEFAULT, space)
    assert found == (None if wanted is None else Configuration.of({SHARE: wanted}))


def test_a_repair_that_is_still_over_is_lowered_further() -> None:
    """And again, up to three times."""
    chain = [over(), over(1, 0.9, gib=0.01)]
    assert lowered_default(chain, DEFAULT, RANGE) == Configuration.of({SHARE: 0.88})
    chain += [over(2, 0.88, gib=0.01), over(3, 0.86, gib=0.01)]
    assert lowered_default(chain, DEFAULT, RANGE) is None


def test_a_missed_limit_on_gpu_memory_counts_by_its_figures() -> None:
    """The bound is the study's own limit: 0.3 GiB over it."""
    check = LimitCheck(
        metric="gpu_memory_peak_bytes", bound=10 * 1024**3, value=10.3 * 1024**3, kept=False
    )
    record = over(gib=None, kind=FailureKind.LIMIT_MISSED, limits=(check,))
    assert lowered_default([record], DEFAULT, RANGE) == Configuration.of({SHARE: 0.88})


@pytest.mark.parametrize(
    "record",
    [
        over(kind=FailureKind.GPU_OOM),
        over(applied=None),
        over(environment={}),
        over(gib=None),
        over(outcome=outcome_of(None)),
    ],
    ids=["out of memory", "no share known", "no card known", "no figure", "feasible"],
)
def test_nothing_is_lowered_without_a_bound_and_figures(record: TrialRecord) -> None:
    """A default that is out of memory is the engine's text's business, not this one's."""
    assert lowered_default([record], DEFAULT, RANGE) is None


def fits(number: int, share: float) -> TrialRecord:
    """A step down that keeps the bound."""
    return over(number, share, outcome=outcome_of(None), kind_=TrialKind.REPAIR)


def test_what_sets_no_share_gets_that_of_the_lowered_default() -> None:
    """A share of its own, or KV bytes in its place, stay as they are."""
    given = given_share([over(), fits(1, 0.91)], DEFAULT)
    assert given is not None
    seqs = Configuration.of({"max_num_seqs": 64})
    assert given.completed(seqs) == seqs.updated({SHARE: 0.91})
    for own in ({SHARE: 0.8}, {"kv_cache_memory_gib": 4}):
        assert given.completed(Configuration.of(own)) == Configuration.of(own)


def test_nothing_is_given_while_the_default_is_not_lowered() -> None:
    """It fits, no step down has fitted yet, or the study's own baseline sets a share."""
    feasible = over(outcome=outcome_of(None))
    assert given_share([feasible], DEFAULT) is None
    assert given_share([over()], DEFAULT) is None
    assert given_share([over(), over(1, 0.91)], DEFAULT) is None
    own = Configuration.of({SHARE: 0.95})
    assert given_share([over(share=0.95), fits(1, 0.91)], own) is None
