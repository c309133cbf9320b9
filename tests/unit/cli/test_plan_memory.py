"""`autotune plan` on what a start leaves of the card."""

from dataclasses import replace

from autotune.cli.commands.plan import _fits
from autotune.records import Failure, FailureKind
from autotune.seams.engine import Screening
from autotune.units import BYTES_PER_GIB
from tests.support.vllm_contexts import context

START = replace(context(gpu_mib=12 * 1024), gpu_headroom_bytes=BYTES_PER_GIB)
CERTAIN = Failure(kind=FailureKind.WOULD_NOT_FIT, phase="screening", message="it takes too much")


def shown(screening: Screening) -> str:
    """The cell's text."""
    return str(_fits(screening, START).text)


def test_a_start_that_leaves_less_than_the_headroom_does_not_fit() -> None:
    """By the prediction, or for certain; the card of 12 GiB less 1 may be used."""
    kept = Screening(predicted={"gpu_memory_bytes": 10.9 * BYTES_PER_GIB})
    over = Screening(predicted={"gpu_memory_bytes": 11.1 * BYTES_PER_GIB})
    assert shown(kept) == "yes"
    assert shown(over) == "over the headroom's 11.0 GiB"
    assert shown(replace(kept, headroom=CERTAIN)) == shown(replace(kept, failure=CERTAIN))
    assert shown(replace(kept, headroom=CERTAIN)) == "it takes too much"
