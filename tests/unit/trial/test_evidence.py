"""Reading engine logs that are not to be trusted."""

from pathlib import Path

from autotune.trial.evidence import last_lines, plain, read_log


def test_a_long_log_keeps_its_beginning_and_its_end(tmp_path: Path) -> None:
    """The middle of a flood is dropped, and the gap shows."""
    path = tmp_path / "engine.log"
    path.write_text("first\n" + "x" * 10_000 + "\nlast\n")

    log = read_log(path, head_bytes=20, tail_bytes=20)

    assert log.startswith("first\n")
    assert log.endswith("last\n")
    assert "\n[...]\n" in log
    assert len(log) < 60


def test_a_short_log_is_kept_whole(tmp_path: Path) -> None:
    """Nothing is cut where nothing must be."""
    path = tmp_path / "engine.log"
    path.write_text("one\ntwo\n")

    assert read_log(path) == "one\ntwo\n"


def test_a_missing_log_is_empty(tmp_path: Path) -> None:
    """An engine that never started wrote none."""
    assert read_log(tmp_path / "none") == ""


def test_bytes_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    """They are replaced."""
    path = tmp_path / "engine.log"
    path.write_bytes(b"\xff\xfe ok \x00\n")

    assert " ok " in read_log(path)


def test_terminal_sequences_are_dropped_and_progress_bars_become_lines() -> None:
    """A log can neither colour nor move the reader's cursor."""
    assert plain("\x1b[31mred\x1b[0m\r50%\r100%\n") == "red\n50%\n100%\n"


def test_last_lines_skip_blank_ones() -> None:
    """Only lines that say something."""
    assert last_lines("a\n\nb\n  \nc\n\n", 2) == ("b", "c")
