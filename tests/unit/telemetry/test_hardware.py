"""What tells one machine from another."""

from pathlib import Path

from autotune.telemetry.hardware import host_id


def test_a_host_is_told_from_another_and_not_named(tmp_path: Path) -> None:
    """Twelve digits of a digest: the same each time, another for another id."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("0123456789abcdef0123456789abcdef\n", encoding="ascii")
    other.write_text("0123456789abcdef0123456789abcdee\n", encoding="ascii")
    assert host_id(one) == host_id(one) != host_id(other)
    assert len(host_id(one)) == 12
    assert host_id(one) not in one.read_text(encoding="ascii")


def test_a_host_without_an_id_goes_by_its_name(tmp_path: Path) -> None:
    """Many containers have none."""
    assert len(host_id(tmp_path / "none")) == 12
    assert host_id(tmp_path / "none") == host_id(tmp_path / "neither")
