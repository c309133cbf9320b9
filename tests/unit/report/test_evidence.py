"""Logs and telemetry of a trial's folder."""

from pathlib import Path

from autotune.report.evidence import read_log_tail, read_telemetry


def test_only_the_end_of_a_log_is_taken(tmp_path: Path) -> None:
    """Whole lines, the newest, within the room there is."""
    path = tmp_path / "engine.log"
    path.write_text("\n".join(f"line {n}" for n in range(10_000)))
    tail = read_log_tail(path, lines=5, characters=24).splitlines()
    assert tail == ["line 9998", "line 9999"]


def test_a_log_of_one_endless_line_is_cut(tmp_path: Path) -> None:
    """A progress bar without a line end does not fill the page."""
    path = tmp_path / "engine.log"
    path.write_bytes(b"\xff\xfe" + b"x" * 100_000)
    assert len(read_log_tail(path, lines=5, characters=100)) <= 100


def test_a_missing_log_is_empty(tmp_path: Path) -> None:
    """A screened trial has none."""
    assert not read_log_tail(tmp_path / "none", lines=5, characters=100)


def test_telemetry_reads_back_and_a_torn_line_is_left_out(tmp_path: Path) -> None:
    """What a killed controller left behind is no error."""
    path = tmp_path / "telemetry.jsonl"
    path.write_text('{"at_ns":5,"gpu_memory_used_bytes":1.5,"shm_used_bytes":null}\n[1]\n{"at_')
    (sample,) = read_telemetry(path)
    assert sample.at_ns == 5
    assert sample.values == {"gpu_memory_used_bytes": 1.5, "shm_used_bytes": None}
    assert read_telemetry(tmp_path / "none") == ()
