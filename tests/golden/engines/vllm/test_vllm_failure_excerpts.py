"""Excerpts of failing servers' logs against the classifier."""

from functools import cache
from typing import Any

import pytest
import yaml

from autotune.engines.vllm.failures import explain
from autotune.engines.vllm.signatures import table
from autotune.records import Failure, FailureKind
from autotune.seams.deployment import ExitEvidence
from autotune.seams.engine import Evidence
from tests.support.vllm_texts import DATA

WRAPPERS = ("Engine core initialization failed", "See stack trace (above)", "hit an exception")

TOLD_BY_OTHERS = {
    # The trial's own findings; no text of the engine shows them.
    FailureKind.MEMORY_LIMIT,
    FailureKind.REQUESTS_FAILED,
    FailureKind.LIMIT_MISSED,
    FailureKind.WRONG_ANSWERS,
    FailureKind.NOT_APPLIED,
    FailureKind.WOULD_NOT_FIT,
    FailureKind.ILLEGAL,
    FailureKind.KILLED_FROM_OUTSIDE,
    FailureKind.CLIENT_BOUND,
    FailureKind.DEPLOYER_FAULT,
    FailureKind.AUTOTUNE_FAULT,
    FailureKind.INTERRUPTED,
}


@cache
def excerpts() -> list[dict[str, Any]]:
    """The whole file."""
    text = (DATA / "vllm_failures" / "excerpts.yaml").read_text(encoding="utf-8")
    loaded: list[dict[str, Any]] = yaml.safe_load(text)
    return loaded


def named(case: dict[str, Any]) -> Failure | None:
    """What the classifier makes of an excerpt."""
    code = case.get("exit", 1)
    ended = None
    if code is not None:
        ended = ExitEvidence(
            exit_code=code,
            signal=case.get("signal"),
            oom_killed=case.get("oom_killed"),
            stopped_by_us=case.get("stopped", False),
        )
    healthy = case.get("healthy", False)
    phase = "probe:throughput" if healthy else "starting"
    return explain(Evidence(phase=phase, healthy_once=healthy, exit=ended, log=case["log"]))


CASES = [pytest.param(case, id=case["name"]) for case in excerpts()]
NAMED = [pytest.param(case, id=case["name"]) for case in excerpts() if case["kind"] is not None]


@pytest.mark.parametrize("case", CASES)
def test_an_excerpt_is_called_by_its_root_cause(case: dict[str, Any]) -> None:
    """Or by nothing where vLLM's texts do not tell."""
    failure = named(case)
    kind = None if failure is None else failure.kind.value
    assert kind == case["kind"]


@pytest.mark.parametrize("case", NAMED)
def test_figures_and_repairs_are_read(case: dict[str, Any]) -> None:
    """GiB needed and available, the signed margin, and what the text says would fit."""
    failure = named(case)
    assert failure is not None
    assert failure.needed_gib == pytest.approx(case.get("needed"), abs=1e-4)
    assert failure.available_gib == pytest.approx(case.get("available"), abs=1e-4)
    assert dict(failure.repair) == case.get("repair", {})
    assert case.get("message", "") in failure.message
    if "needed" in case and "available" in case:
        assert failure.margin_gib == pytest.approx(case["available"] - case["needed"], abs=2e-4)


@pytest.mark.parametrize("case", NAMED)
def test_the_evidence_shows_the_root_cause_first(case: dict[str, Any]) -> None:
    """Lines of the log itself, never a wrapper, then the exit code."""
    failure = named(case)
    assert failure is not None
    assert failure.message
    assert "\n" not in failure.message
    assert all(wrapper not in failure.message for wrapper in WRAPPERS)
    shown = [line for line in failure.evidence if not line.startswith("exit code ")]
    if shown:
        assert shown[0].splitlines()[0][-40:] in case["log"]
    if case.get("exit", 1) is not None:
        assert failure.evidence[-1] == f"exit code {case.get('exit', 1)}"


def test_every_kind_that_a_text_can_show_has_an_excerpt() -> None:
    """A new kind needs an excerpt, or a reason why no text shows it."""
    shown = {FailureKind(case["kind"]) for case in excerpts() if case["kind"] is not None}
    assert shown | TOLD_BY_OTHERS == set(FailureKind)
    assert not shown & TOLD_BY_OTHERS


def test_every_kind_of_the_table_can_be_reached() -> None:
    """No signature names what only the trial can find."""
    kinds = {s.kind for s in table().signatures} | set(table().gpu_oom_by_phase.values())
    assert not kinds & TOLD_BY_OTHERS


@pytest.mark.parametrize("case", NAMED)
def test_what_follows_the_root_cause_does_not_change_the_name(case: dict[str, Any]) -> None:
    """Wrappers, thousands of lines of a dying server, colours."""
    if case["kind"] in {"crashed_at_start", "died_under_load"} and "Error" not in case["log"]:
        pytest.skip("named by its wrapper alone")
    tail = "(APIServer pid=1) INFO:     10.0.0.1:1 - POST /v1/completions 500\n" * 500
    wrapped = case["log"] + "RuntimeError: Engine core initialization failed.\n" + tail
    coloured = wrapped.replace("(EngineCore", "\x1b[0;36m(EngineCore").replace("\n", "\x1b[0m\r\n")
    failure = named({**case, "log": coloured})
    assert failure is not None
    assert failure.kind.value == case["kind"]
