"""`autotune plan`: what was found, what remains, and why the rest went."""

from pathlib import Path

from tests.support.command import Place


def test_the_plan_shows_capabilities_the_space_and_a_reason_for_each_removal(
    tmp_path: Path,
) -> None:
    """The first user's study, on the simulated card; nothing is started and nothing is written."""
    wide = {"COLUMNS": "220", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    place = Place(folder=tmp_path, variables=wide)
    said = place.run("plan", "rtx5070", "--engine", "simulated")
    assert said.code == 0, said.errors
    lines = [" ".join(line.split()) for line in said.output.splitlines()]

    def line(start: str) -> str:
        return next(x for x in lines if x.startswith(start))

    assert "0.33.0" in line("engine ")
    assert "compute capability 12.0" in line("GPU ")
    assert "TRITON_ATTN" in line("attention backends ")
    assert line("kv_cache_dtype ") == "kv_cache_dtype default, fp8"
    assert "64" in line("kv_offload_gib ")
    gone = lines[lines.index("Taken out of the space") :]
    reasons = {x.split()[0]: x for x in gone if x.startswith(("scheduler_steps", "async_sch"))}
    assert "it was last in 0.10.0" in reasons["scheduler_steps"]
    assert "on by default from 0.14.0" in reasons["async_scheduling"]
    assert line("baseline ")
    assert not (tmp_path / "studies").exists()
