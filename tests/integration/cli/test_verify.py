"""Exported files of simulated studies, verified from command to proof."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from autotune.cli.commands.verify import verify
from autotune.cli.main import run
from autotune.cli.stored import stored_study
from autotune.cli.verify.rounds import DEFAULT, EXPORTED
from autotune.errors import ProbeError, StudyConflictError, UsageError
from autotune.records import FailureKind, OutcomeStatus, TrialKind, TrialRecord
from autotune.store import StudyLock

WORKLOAD = {
    "ttft_repeats": 2,
    "concurrency": 8,
    "requests": 16,
    "prompt_tokens": 64,
    "output_tokens": 16,
    "warmup_requests": 2,
}


def study_file(folder: Path, **changes: Any) -> Path:
    """A short study in which an fp8 KV cache holds nearly twice the context."""
    raw = {
        "name": "short",
        "engine": {"name": "simulated"},
        "space": {"parameters": {"kv_cache_dtype": {"choices": ["fp8"]}}},
        "objectives": ["context_capacity_tokens", "output_tokens_per_s"],
        "probes": ["startup", "ttft", "throughput"],
        "workload": WORKLOAD,
        "headroom": {"gpu_gib": 0, "host_gib": 1},
        "budget": {"trials": 2},
        **changes,
    }
    file = folder / "short.yaml"
    file.write_text(yaml.safe_dump(raw))
    return file


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the study has run."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run(["study", str(study_file(folder)), "--quiet"]) == 0
    return folder


@pytest.fixture
def place(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as the current directory; gives the folder of the exported files."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "studies" / "short" / "recommended"


def made() -> list[TrialRecord]:
    """Records of verifications."""
    return [r for r in stored_study("short").records if r.kind is TrialKind.VERIFY]


def result(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The last line of `--json`."""
    value: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert value["event"] == "result"
    return value


def test_exported_files_measure_as_the_study_did(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both arms in turn, each read back; the proof lies beside the files, which do not change."""
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    verify("short", 2, json=True)
    found = result(capsys)
    assert found["agrees"]
    capacity = found["objectives"][0]
    assert capacity["metric"] == "context_capacity_tokens"
    assert 1.7 < capacity["gain"][0] < 2.1
    records = made()
    assert [r.label for r in records] == [DEFAULT, EXPORTED] * 2
    assert all(r.outcome.status is OutcomeStatus.MEASURED and r.simulated for r in records)
    applied = records[-1].applied
    assert applied is not None
    assert applied.settings["kv_cache_dtype"] == "fp8"
    assert "--kv-cache-dtype=fp8" in records[-1].command
    assert {path.name: path.read_bytes() for path in place.iterdir()
            if "verification" not in path.name} == before  # fmt: skip
    assert [Path(p).name for p in found["proof"]] == [
        "verification.SIMULATED.md", "verification.SIMULATED.json",
    ]  # fmt: skip
    assert all(Path(p).is_file() for p in found["proof"])


def test_the_study_stays_what_it_was(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Recommendation and front are those of its own trials, and it goes on with the next number."""

    def recommended() -> dict[str, Any]:
        capsys.readouterr()
        assert run(["recommend", "short", "--json"]) == 0
        return result(capsys)

    before = recommended()
    verify("short", 1, quiet=True)
    after = recommended()
    for what in ("recommended", "front", "keep_default", "criteria"):
        assert after[what] == before[what]
    assert run(["study", "short.yaml", "--trials", "3", "--quiet"]) == 0
    records = stored_study("short").records
    assert [r.number for r in records] == list(range(len(records)))


def test_a_dry_run_says_what_would_be_started_and_starts_nothing(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files, command, default and time; six deployments at the mean time of its trials."""
    before = sorted(path for path in place.parent.rglob("*") if path.is_file())
    took = [
        sum(phase.duration_ns for phase in r.phases) / 1e9
        for r in stored_study("short").records if r.is_measured
    ]  # fmt: skip
    verify("short", 3, dry_run=True)
    said = capsys.readouterr().out
    assert "would start docker-compose.SIMULATED.yml with .env.SIMULATED (trial" in said
    assert "--kv-cache-dtype=fp8" in said
    assert "nothing was started" in said
    verify("short", 3, dry_run=True, json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["deployments"] == 6
    assert found["expected_s"] == pytest.approx(6 * sum(took) / len(took))
    assert sorted(path for path in place.parent.rglob("*") if path.is_file()) == before


def test_a_setting_that_the_files_lost_is_found(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server is asked what it runs with: that is not what was exported."""
    compose = place / "docker-compose.SIMULATED.yml"
    lines = [line for line in compose.read_text().splitlines() if "--kv-cache-dtype" not in line]
    compose.write_text("\n".join(lines) + "\n")
    with pytest.raises(ProbeError, match="not_applied") as caught:
        verify("short", 3, quiet=True)
    assert "verification.SIMULATED.md" in caught.value.hint
    records = made()
    assert [r.label for r in records] == [DEFAULT, EXPORTED]
    assert records[-1].outcome.failure is not None
    assert records[-1].outcome.failure.kind is FailureKind.NOT_APPLIED
    assert "were not measured whole" in (place / "verification.SIMULATED.md").read_text()


def test_figures_that_the_study_did_not_see_are_a_difference(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing else is wrong with the files: they start, and every setting is applied."""
    compose = place / "docker-compose.SIMULATED.yml"
    text = compose.read_text()
    assert "      - --port=8000\n" in text
    compose.write_text(
        text.replace("      - --port=8000\n", "      - --port=8000\n      - --max-num-seqs=1\n")
    )
    with pytest.raises(ProbeError, match="Output throughput differs beyond the noise"):
        verify("short", 2, json=True)
    found = result(capsys)
    assert found["objectives"][1]["verdict"] == "differs"
    assert not found["agrees"]
    assert found["failure"] is None


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (shutil.rmtree, "is not there"),
        (lambda folder: change(folder / ".env.SIMULATED", "=fp8", "=auto"), "KV_CACHE_DTYPE=auto"),
    ],
)
def test_files_that_cannot_be_verified(
    place: Path, spoil: Callable[[Path], None], says: str
) -> None:
    """Nothing is started."""
    spoil(place)
    with pytest.raises(UsageError, match=says):
        verify("short", 1, quiet=True)
    assert made() == []


def change(file: Path, old: str, new: str) -> None:
    """Edit a file as a user would."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.usefixtures("place")
def test_a_study_that_runs_is_left_alone() -> None:
    """One controller per study."""
    with (
        StudyLock(stored_study("short").paths.lock),
        pytest.raises(StudyConflictError, match="is being run by process"),
    ):
        verify("short", 1, quiet=True)
    assert made() == []


def test_files_of_the_default_are_verified_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nothing beats the default, it is the default that must start and measure alike."""
    monkeypatch.chdir(tmp_path)
    space = {"parameters": {"max_num_seqs": {"choices": [255]}}}
    file = study_file(tmp_path, space=space, objectives=["output_tokens_per_s"])
    assert run(["study", str(file), "--quiet"]) == 0
    assert stored_study("short").trial(0).kind is TrialKind.BASELINE
    verify("short", 2, quiet=True)
    said = capsys.readouterr().out
    assert "they are the default itself" in " ".join(said.split())
    assert {r.configuration.items for r in made()} == {()}
