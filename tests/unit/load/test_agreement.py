"""Two clients' accounts beside the server's own."""

import pytest

from benchmarks.load.agreement import Figures, Told, last_row, row
from benchmarks.load.server_account import ServerAccount

ROWS = [
    {"request_id": "ours-0", "received_ns": 10**9, "first_send_ns": 1.1e9, "last_send_ns": 3e9},
    {"request_id": "", "received_ns": 10**9, "first_send_ns": None, "last_send_ns": None},
    {"request_id": "ours-1", "received_ns": 2 * 10**9, "first_send_ns": 2.3e9, "last_send_ns": 6e9},
    {"request_id": "theirs-0", "received_ns": 10**9, "first_send_ns": 9e9, "last_send_ns": 9e9},
]


def told(*, seconds: float, ttft_ms: float, latencies_s: float) -> Told:
    """Ten requests of 100 tokens in so many seconds; the server's first tokens after 100 ms."""
    client = Figures(1000 / seconds, ttft_ms, ttft_ms, (5000, 1000))
    return Told(client, ServerAccount(ttft_s=1.0, e2e_s=latencies_s, requests=10), 10)


def test_the_servers_account_is_of_one_clients_requests_without_warm_ups() -> None:
    """A warm-up of `vllm bench serve` has no id, and may not even have been answered."""
    account = ServerAccount.read(ROWS, "ours-")

    assert account == ServerAccount(pytest.approx(0.4), pytest.approx(6.0), 2)
    assert account.ttft_mean_ms == pytest.approx(200)


def test_a_slower_machine_changes_speed_but_neither_what_is_in_flight_nor_the_ttft_ratio() -> None:
    """Five requests in flight take 20 s in all: 4 s; twice as slow, 40 s in all: 8 s."""
    quick = told(seconds=4, ttft_ms=101, latencies_s=20)
    slow = told(seconds=8, ttft_ms=101, latencies_s=40)

    assert (quick.in_flight, slow.in_flight) == (pytest.approx(5), pytest.approx(5))
    assert quick.ttft_ratio == pytest.approx(1.01)
    assert quick.added_ms == pytest.approx(1)


def test_an_account_of_other_requests_is_refused() -> None:
    """A warm-up among them, say: its times are not those of the load."""
    with pytest.raises(AssertionError):
        Told(Figures(1, 1, 1, (1, 1)), ServerAccount(1.0, 1.0, 11), 10)


def test_a_client_that_dawdles_holds_fewer_in_flight() -> None:
    """The server was as quick, and the load took a second longer."""
    assert told(seconds=5, ttft_ms=101, latencies_s=20).in_flight == pytest.approx(4)


def test_a_pair_and_the_mean_of_all_are_lines_of_one_table() -> None:
    """The ratio of each column, and their geometric mean: of 2 and of 0.5 it is 1."""
    one = told(seconds=4, ttft_ms=101, latencies_s=20)
    other = told(seconds=8, ttft_ms=101, latencies_s=40)

    assert "| 250.0 | 125.0 | 2.000 |" in row("1", one, other)
    assert row("1", one, other).count("|") == last_row([(one, other), (other, one)]).count("|")
    assert last_row([(one, other), (other, one)]).startswith("| all |  | | 1.000 (95%")
