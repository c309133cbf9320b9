"""Exported files of real vLLM: started as they are, by the script and by Docker, and measured."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from autotune.errors import ProbeError
from autotune.records import FailureKind, TrialKind, TrialRecord
from tests.e2e.conftest import RealStudy, real_study, usable
from tests.support.command import Event, Finished

pytestmark = pytest.mark.timeout(900)

STUDY = {
    "space": {"parameters": {"max_num_batched_tokens": {"choices": [2048]}}},
    "objectives": ["output_tokens_per_s"],
    "probes": ["startup", "ttft", "throughput", "memory"],
    "seeds": [],
    # Some seconds of load: a third of a second was as fast again between two starts on two cores.
    "workload": {"requests": 48, "output_tokens": 64},
}


@dataclass(frozen=True, kw_only=True)
class Verified:
    """A study, a verification that was stopped, and a whole one.

    Attributes:
        files: Name to SHA-256 of the exported files, before the verifications.
        left: What still ran after Ctrl-C.
    """

    study: RealStudy
    files: dict[str, str]
    stopped: Finished
    left: list[str]
    done: Finished

    @property
    def folder(self) -> Path:
        """Where the exported files lie."""
        return self.study.place.folder / "studies" / self.study.name / "recommended"

    def trials(self) -> list[TrialRecord]:
        """Records of the whole verification."""
        numbers = {trial["number"] for trial in self.done.result["trials"]}
        return [record for record in self.study.records() if record.number in numbers]


@pytest.fixture(
    scope="module",
    params=[
        # `.ci/run` has time for one of them: the compose file, which most people start.
        pytest.param("process", marks=[pytest.mark.vllm, pytest.mark.thorough]),
        pytest.param("docker", marks=[pytest.mark.vllm, pytest.mark.docker]),
    ],
)
def deployer(request: pytest.FixtureRequest) -> str:
    """The script by a shell, the compose file by Docker."""
    return usable(request.param)


@pytest.fixture(scope="module")
def verified(deployer: str, folder: Path) -> Iterator[Verified]:
    """Baseline and one more trial; Ctrl-C in the verification's first load; then two rounds."""
    study = real_study(deployer, folder, STUDY)
    ran = study.place.run("study", str(study.file), "--trials", "2", "--quiet", timeout_s=300)
    assert ran.code == 0, ran.errors
    exported = (study.place.folder / "studies" / study.name / "recommended").iterdir()
    files = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in exported if p.is_file()}

    def loading(event: Event) -> bool:
        return event["event"] == "phase_started" and event["phase"] == "probe:throughput"

    command = ("verify", study.name, "--repeats", "2", "--json")
    stopped = study.place.interrupt(*command, at=loading)
    left = study.left_running()
    done = study.place.run(*command, timeout_s=300)
    if done.code == ProbeError.exit_code:  # at 95% it may differ by luck, hardly twice
        done = study.place.run(*command, timeout_s=300)
    yield Verified(study=study, files=files, stopped=stopped, left=left, done=done)
    assert study.left_running() == []


def test_ctrl_c_ends_it_cleanly(verified: Verified) -> None:
    """Exit code 130, nothing left running, and a record that says so."""
    assert verified.stopped.code == 130, verified.stopped.errors
    assert "Traceback" not in verified.stopped.errors
    assert verified.left == []
    (first, *_) = [r for r in verified.study.records() if r.kind is TrialKind.VERIFY]
    assert first.outcome.failure is not None
    assert first.outcome.failure.kind is FailureKind.INTERRUPTED


def test_exported_files_measure_as_the_study_did(verified: Verified) -> None:
    """Exit code 0: they start, and their throughput is the study's within the noise."""
    assert verified.done.code == 0, verified.done.errors
    result = verified.done.result
    assert result["agrees"], result["sentence"]
    assert result["simulated"] is False
    (speed,) = result["objectives"]
    assert speed["exported"] > 0
    assert speed["gain"][1] <= speed["gain"][0] <= speed["gain"][2]


def test_both_arms_take_turns_and_answer_everything(verified: Verified) -> None:
    """Default, exported, default, exported; no request fails."""
    trials = verified.trials()
    labels = ["verify: default", "verify: exported"] * 2
    assert [record.label for record in trials] == labels
    assert all(record.is_measured for record in trials)
    assert all(record.metrics["failed_requests_count"] == 0 for record in trials)
    capacities = {record.metrics["context_capacity_tokens"] for record in trials}
    assert len(capacities) == 1


def test_the_files_were_started_as_they_are(verified: Verified) -> None:
    """The script by a shell, or the compose file's own image and command; neither was changed."""
    exported = verified.trials()[1]
    place = verified.study.place.trial(verified.study.name, exported.number)
    launch = orjson.loads((place / "launch.json").read_bytes())
    if verified.study.deployer == "process":
        assert launch["argv"] == ["sh", str(verified.folder / "serve.sh")]
    else:
        assert launch["image"]
        assert "--host=0.0.0.0" in launch["argv"]
    assert "VLLM_CACHE_ROOT" not in launch["env"]
    deployed = verified.done.result["files"]
    assert deployed
    assert deployed.items() <= verified.files.items()


def test_the_proof_lies_beside_the_files(verified: Verified) -> None:
    """For people and for machines, with the very figures that were printed."""
    text = (verified.folder / "verification.md").read_text()
    assert "SIMULATED" not in text
    assert verified.done.result["sentence"] in text
    proof = orjson.loads((verified.folder / "verification.json").read_bytes())
    assert proof["objectives"] == verified.done.result["objectives"]
