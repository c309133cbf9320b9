"""What a supervisor is told to run."""

import os

import pytest

from autotune.deployers.order import Order
from autotune.seams.deployment import Identity

ORDER = Order(
    deployment="d1",
    identity=Identity(study="s", trial=2, owner_pid=3, owner_start="m/b/n/4"),
    argv=("vllm", "serve", "a model with spaces and \n newlines"),
    env={"HF_TOKEN": "hf_ü", "PATH": "/bin"},
    log_path="/tmp/log",
    footprints="/tmp/notes",
    secrets=("hf_ü",),
    memory_limit_bytes=2**33,
)


def through_a_pipe(data: bytes) -> tuple[Order | None, bytes]:
    """What is read of it as an order, and what is left."""
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    order = Order.read(reading)
    with os.fdopen(reading, "rb") as rest:
        return order, rest.read()


def test_an_order_is_read_back_and_nothing_else() -> None:
    """What follows the order on the stream stays there."""
    assert through_a_pipe(ORDER.to_bytes() + b"stop 5\n") == (ORDER, b"stop 5\n")


@pytest.mark.parametrize("length", [0, 3, 4, 50])
def test_an_order_that_is_cut_off_is_none(length: int) -> None:
    """A controller that dies while it says what to run has said nothing."""
    assert through_a_pipe(ORDER.to_bytes()[:length]) == (None, b"")
