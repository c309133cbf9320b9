"""The start-up log: milestones, ledger, KV tokens."""

import pytest

from autotune.engines.vllm.logs import (
    graphs_are_budgeted,
    kv_cache_tokens,
    ledger,
    log_lines,
    milestones,
    plain,
)
from autotune.records import MemoryLedger
from tests.support.vllm_texts import DATA

LOGS = DATA / "vllm_logs"
START_026 = (LOGS / "start-0.26.0.log").read_text(encoding="utf-8")
"""Lines of a start that was published: 0.5B on a 16 GB card."""

START_029 = (LOGS / "start-0.29.0.log").read_text(encoding="utf-8")
"""The same of a 3B AWQ model on a 6 GB card; weights and non-torch memory are one figure."""


def test_a_start_is_split_by_the_engine_s_own_figures() -> None:
    """Imports by the logger's stamps, the rest as printed."""
    assert milestones(START_026) == {
        "startup_import_ns": 5_000_000_000,
        "startup_weights_ns": 2_174_401_000,
        "startup_compile_ns": 1_740_000_000,
        "startup_graphs_ns": 1_000_000_000,
    }


def test_the_ledger_of_a_start() -> None:
    """Every term as printed."""
    assert ledger(START_026) == MemoryLedger(
        weights_gib=0.93, activation_gib=1.06, non_torch_gib=0.07, graphs_gib=0.4,
        kv_cache_gib=11.94, kv_cache_tokens=1_043_072,
    )  # fmt: skip


def test_a_merged_figure_is_taken_apart_by_the_weights() -> None:
    """2.1 GiB consumed, of which 1.95 are weights."""
    assert ledger(START_029) == MemoryLedger(
        weights_gib=1.95, activation_gib=0.22, non_torch_gib=0.15, graphs_gib=0.07,
        kv_cache_gib=2.41, kv_cache_tokens=70_240,
    )  # fmt: skip


def test_an_estimate_of_the_graphs_is_taken_out_of_the_activations() -> None:
    """From 0.20.0 the printed peak contains it; where it is not in the budget it does not."""
    usage = (
        "Estimated CUDA graph memory: 0.50 GiB total\n{}\n"
        "Actual usage is 5.0 GiB for weight, 1.5 GiB for peak activation, "
        "0.1 GiB for non-torch memory, and 0.45 GiB for CUDAGraph memory\n"
    )
    budgeted = usage.format("CUDA graph memory profiling is enabled (default since v0.21.0).")
    assert ledger(budgeted).activation_gib == pytest.approx(1.0)
    assert ledger(usage.format("")).activation_gib == pytest.approx(1.5)
    assert graphs_are_budgeted(budgeted)
    assert not graphs_are_budgeted(usage)


def test_what_is_not_said_is_none() -> None:
    """A log that stops after the weights."""
    log = "INFO 01-01 00:00:00 [x.py:1] Model loading took 5.2 GiB and 1.5 seconds\n"
    assert ledger(log) == MemoryLedger(weights_gib=5.2)
    assert milestones(log) == {"startup_weights_ns": 1_500_000_000}
    assert ledger("") == MemoryLedger()
    assert milestones("") == {}


def test_the_first_engine_counts_blocks() -> None:
    """16 tokens each unless the arguments say otherwise."""
    blocks = "INFO 03-27 10:29:03 executor_base.py:108] # CUDA blocks: 3947, # CPU blocks: 2048\n"
    old = blocks.replace("CUDA", "GPU")
    assert kv_cache_tokens(blocks.replace("CUDA", "cuda")) == 63_152
    assert kv_cache_tokens(old) == 63_152
    assert kv_cache_tokens(f"args: Namespace(block_size=32)\n{old}") == 126_304


def test_the_last_word_counts() -> None:
    """An engine that sizes twice, as with a length that it fits itself."""
    log = "GPU KV cache size: 1,000 tokens\nGPU KV cache size: 2,000 tokens\n"
    assert kv_cache_tokens(log) == 2000


def test_the_slowest_worker_counts() -> None:
    """All must have loaded before the server answers."""
    log = "".join(
        f"(Worker_TP{i} pid={i}) INFO 01-01 00:00:00 [r.py:1] "
        f"Model loading took 7.1 GiB and {seconds} seconds\n"
        for i, seconds in enumerate((3.0, 9.5))
    )
    assert milestones(log)["startup_weights_ns"] == 9_500_000_000


def test_imports_over_new_year_take_no_year() -> None:
    """The logger's stamps carry none; the turn of the year is not 365 days."""
    log = (
        "INFO 12-31 23:59:55 [a.py:1] first\n"
        "INFO 01-01 00:00:10 [b.py:1] vLLM API server version 0.20.2\n"
    )
    assert milestones(log)["startup_import_ns"] == 15_000_000_000


def test_a_first_line_about_the_engine_tells_nothing_of_imports() -> None:
    """There is nothing before it to count from."""
    log = "INFO 01-01 00:00:10 [b.py:1] vLLM API server version 0.20.2\n"
    assert "startup_import_ns" not in milestones(log)


def test_lines_lose_tags_and_colours() -> None:
    """As a terminal and a container show them."""
    log = "\x1b[0;36m(Worker_TP0 pid=3)\x1b[0;0m ERROR 02-03 04:05:06 [w.py:7] broken\r\nnoise\n"
    (line,) = log_lines(log)
    assert (line.level, line.text) == ("ERROR", "broken")
    assert (line.at.month, line.at.day, line.at.hour) == (2, 3, 4)
    assert "\x1b" not in plain(log)


def test_digits_that_are_no_date_are_no_line() -> None:
    """A model may print anything."""
    assert list(log_lines("INFO 13-41 99:00:00 [x.py:1] odd\n")) == []
