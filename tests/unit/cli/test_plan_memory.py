"""`autotune plan` on what a start leaves of the card."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.cli.commands.plan import _fits, _tokens_text, memory_table, plan
from autotune.cli.options import load_study
from autotune.cli.running import open_study
from autotune.records import Failure, FailureKind
from autotune.seams.engine import Screening
from autotune.seams.telemetry import Hardware
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


@pytest.mark.parametrize("engine", ["simulated", "vllm"])
def test_it_says_why_a_trial_will_differ_from_the_prediction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """Nothing has been read back yet; a simulated card has constants of its own besides."""
    monkeypatch.chdir(tmp_path)
    spec = load_study("default", {"engine.name": "simulated"})
    workbench = open_study(spec, hardware=Hardware()).workbench
    simulated = engine == "simulated"
    backend = replace(workbench.backend, simulated=simulated)
    notes = " ".join(memory_table(replace(workbench, backend=backend)).notes)
    assert "what the first trials read back corrects it" in notes
    assert ("constants of its own" in notes) == simulated


def test_a_machine_gets_the_plan_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Engine, space, what was taken out of it, and predictions in bytes."""
    monkeypatch.chdir(tmp_path)
    plan("default", engine="simulated", json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["event"], found["simulated"]) == ("result", True)
    assert "kv_cache_dtype" in found["space"]["parameters"]
    assert all(removal["reason"] for removal in found["removed"])
    baseline = found["predicted"][0]
    assert baseline["name"] == "baseline"
    assert baseline["predicted"]["gpu_memory_bytes"] > BYTES_PER_GIB
    low, high = found["expected_s"]
    assert 0 < low < high


def test_a_first_start_with_less_of_the_cache_is_said() -> None:
    """It compiles; what is served afterwards finds its graphs. Alike to 2% they are one figure."""

    def tokens(first: float, later: float) -> str:
        predicted = {"kv_cache_tokens": first, "kv_cache_tokens_first_start": first}
        return _tokens_text({**predicted, "kv_cache_tokens_later_start": later})

    assert tokens(20_880, 33_968) == "33,968 (first start 20,880)"
    assert tokens(33_900, 33_968) == "33,900"
    assert _tokens_text({"kv_cache_tokens": 74_896}) == "74,896"
