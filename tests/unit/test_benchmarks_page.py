"""What the page of benchmarks says exists, and its offload table is the records'."""

import ast
import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = (ROOT / "docs/benchmarks.md").read_text()


def section(title: str) -> str:
    """The text below a title, up to the next one of its level."""
    return PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows_of(text: str) -> list[list[str]]:
    """The cells of every line of the tables in it, heads and rules left out."""
    lines = text.splitlines()
    rules = {at for at, line in enumerate(lines) if re.match(r"\|-", line)}
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for at, line in enumerate(lines)
        if line.startswith("|") and at not in rules and at + 1 not in rules
    ]


PROMISES: Final = section("What is promised of a measurement")


@pytest.mark.parametrize(("promise", "shown"), rows_of(PROMISES))
def test_a_promise_is_shown_by_tests_that_exist(promise: str, shown: str) -> None:
    """Each is named by its file and its function."""
    names = re.findall(r"`([^`]+)::([^`]+)`", shown)
    assert names, promise
    for file, name in names:
        tree = ast.parse((ROOT / "tests" / file).read_text())
        assert name in {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}, name


def test_every_part_has_promises() -> None:
    """From the load generator to the command."""
    assert re.findall(r"^\| (\d)\. ", PROMISES, flags=re.MULTILINE) == list("123456789")


OFFLOADS: Final = rows_of(section("What a KV offload costs and what it brings"))


def record_of(study: str, trial: str) -> dict[str, Any]:
    """A published record."""
    path = ROOT / "docs/results" / study / "trials" / f"{int(trial):04d}" / "trial.json"
    record: dict[str, Any] = json.loads(path.read_text())["record"]
    return record


@pytest.mark.parametrize("row", OFFLOADS)
def test_the_offload_table_says_what_the_records_say(row: list[str]) -> None:
    """Throughput without re-visits falls, re-visits gain; the two differ by the offload alone."""
    study, trials, gib, plain, plain_with, _, visits, visits_with, _, hits, per_gib = row
    without, offloaded = (record_of(study.strip("`"), trial) for trial in trials.split(", "))
    before, after = (dict(r["configuration"]["items"]) for r in (without, offloaded))
    assert after == before | {"kv_offload_gib": int(gib)}

    told = [without["metrics"], offloaded["metrics"]]
    loads = [m["output_tokens_per_s"] for m in told]
    revisits = [m["revisit_total_tokens_per_s"] for m in told]
    assert [plain, plain_with] == [f"{v:,.0f}" for v in loads]
    assert [visits, visits_with] == [f"{v:,.0f}" for v in revisits]
    assert row[5] == f"{loads[1] / loads[0]:.2f}"
    assert row[8] == f"{revisits[1] / revisits[0]:.2f}"
    assert loads[1] < loads[0]
    assert revisits[1] > revisits[0]
    assert hits == f"{told[1]['revisit_offload_hit_ratio']:.0%}"
    assert per_gib == f"{told[1]['offload_hit_tokens_per_gib']:,.0f}"


def test_the_offload_table_is_no_choice_of_one() -> None:
    """Two shapes of model, and loads that fit the KV cache as well as such that do not."""
    assert len(OFFLOADS) >= 4
