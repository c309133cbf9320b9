"""A setting's reason is computed once, and every output of a study has the same words for it."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from rich.console import Console

from autotune.cli.conclude import conclude, summarise
from autotune.cli.options import load_study
from autotune.cli.running import open_study
from autotune.cli.verdict import print_verdict
from autotune.paths import StudyPaths
from autotune.records import Configuration, Outcome, OutcomeStatus, TrialKind, TrialRecord
from autotune.report.html import report_html
from autotune.report.inputs import gather
from autotune.report.markdown import report_markdown
from autotune.seams.deployment import LaunchPlan
from autotune.seams.telemetry import Hardware
from autotune.spec.study import StudySpec
from autotune.store import read_stored_study, write_study
from tests.support.launches import DOCKER

RULE = "FLASHINFER (the engine's own pick) with an fp8 KV cache has given wrong text and crashes"
SAFE = {"attention_backend": "TRITON_ATTN", "kv_cache_dtype": "fp8"}
PLAIN = {"output_tokens_per_s": 1.0, "ttft_8k_ns": 1.0, "context_capacity_tokens": 1.0}
BETTER = {"output_tokens_per_s": 2.0, "ttft_8k_ns": 0.5, "context_capacity_tokens": 2.0}
DEFAULT = TrialRecord(
    study="rtx5070",
    number=0,
    kind=TrialKind.BASELINE,
    configuration=Configuration(),
    outcome=Outcome(status=OutcomeStatus.MEASURED),
    metrics=PLAIN,
)


def plain(text: str) -> str:
    """Words alone: no marks of a comment, a table or a page, and one space between them."""
    text = text.replace("&#x27;", "'").replace("&#39;", "'").replace("\\", "")
    return " ".join(text.replace("#", " ").split())


def written_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[StudySpec, StudyPaths]:
    """A study without trials, as a run writes it down."""
    monkeypatch.chdir(tmp_path)
    asked = load_study("rtx5070", {"engine.name": "simulated", "budget.trials": 14})
    workbench = open_study(asked, hardware=Hardware()).workbench
    write_study(workbench.paths, workbench.spec, workbench.space.space)
    return read_stored_study(workbench.paths)[0], workbench.paths


def test_the_rule_behind_a_setting_is_told_in_every_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads an exported file learns as well as who reads the screen what it is there for."""
    spec, paths = written_study(tmp_path, monkeypatch)
    best = replace(
        DEFAULT,
        number=1,
        kind=TrialKind.SEARCH,
        configuration=Configuration.of(SAFE),
        metrics=BETTER,
    )
    paths.trial(1).root.mkdir(parents=True)
    argv = tuple(
        SAFE["attention_backend"] if part == "FLASHINFER" else part for part in DOCKER.argv
    )
    launch = replace(DOCKER, argv=argv)
    paths.trial(1).launch.write_bytes(TypeAdapter(LaunchPlan).dump_json(launch))
    records = (DEFAULT, best)

    ended = conclude(spec, paths, records)
    shown, screen = io.StringIO(), io.StringIO()
    summarise(spec, paths, records).print(Console(file=shown, width=4000))
    print_verdict(Console(file=screen), ended, paths)
    assert ended.written is not None
    inputs = gather(paths, spec, records)
    texts = {path.name: path.read_text() for path in ended.written.files}
    texts |= {
        "report.html": report_html(inputs),
        "report.md": report_markdown(inputs),
        "show": shown.getvalue(),
        "the last screen": screen.getvalue(),
        "JSON": json.loads(ended.as_json())["settings"][0]["why"],
    }

    assert {".env", "docker-compose.yml", "serve.sh"} <= set(texts)
    assert [name for name, text in texts.items() if RULE not in plain(text)] == []


def test_the_json_says_why_the_front_was_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice as fast, and ten times the wait under load: the default, with the reason against it."""
    spec, paths = written_study(tmp_path, monkeypatch)
    default = replace(DEFAULT, metrics={**PLAIN, "ttft_loaded_p50_ns": 1.0})
    fast = replace(
        DEFAULT,
        number=1,
        kind=TrialKind.SEARCH,
        configuration=Configuration.of(SAFE),
        metrics={**BETTER, "ttft_loaded_p50_ns": 10.0},
    )
    paths.trial(0).root.mkdir(parents=True)
    paths.trial(0).launch.write_bytes(TypeAdapter(LaunchPlan).dump_json(DOCKER))
    result = json.loads(conclude(spec, paths, (default, fast)).as_json())
    assert result["recommended"]["number"] == 0
    (passed,) = result["passed_over"]
    assert (passed["trial"], passed["rule"]) == (1, "harm")
    assert "TTFT under load x10" in passed["why"]
