"""Real vLLM with an API key: what it runs with is read back, and the key is written nowhere."""

import http.client
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from autotune.cli.safety import KEY_VARIABLE
from autotune.records import TrialRecord
from tests.e2e.conftest import RealStudy, real_study
from tests.support.command import processes_of

# Two starts of vLLM, some four minutes: more than the time of CI has left.
pytestmark = [pytest.mark.vllm, pytest.mark.thorough, pytest.mark.timeout(420)]

ASKED: Final = {"max_num_seqs": 16, "enable_prefix_caching": False}
ALIKE: Final[dict[str, Any]] = {
    "baseline": ASKED,
    "seeds": [],
    "probes": ["startup", "ttft"],
    "objectives": ["ttft_short_ns"],
    # The server is looked at meanwhile.
    "workload": {"client_lag_ms": 5000, "ttft_repeats": 30, "ttft_max_tokens": 32},
    "budget": {"trials": 1, "retries": 1, "startup_timeout_s": 300, "trial_timeout_s": 300},
}


@dataclass(frozen=True, kw_only=True)
class Keyed:
    """A study that has ended.

    Attributes:
        keys: Those that its servers were given.
        written: Everything that it printed, and the commands of its servers.
        answers: Status of requests without a key, by path.
    """

    study: RealStudy
    code: int
    keys: set[str]
    written: str
    answers: dict[str, int]

    @property
    def record(self) -> TrialRecord:
        """Its last trial."""
        return self.study.records()[-1]

    def files_with_the_key(self) -> list[Path]:
        """Below the folder that it ran in, caches included."""
        files = [path for path in self.study.place.folder.rglob("*") if path.is_file()]
        keys = [key.encode() for key in self.keys]
        return [path for path in files if any(key in path.read_bytes() for key in keys)]


def ended(folder: Path, changes: dict[str, Any], key: str | None) -> Keyed:
    """Run a study with a key of the user's in its environment, or none."""
    study = real_study("process", folder, {**ALIKE, **changes})
    place = replace(study.place, variables={**study.place.variables, KEY_VARIABLE: key or ""})
    written, keys, answers = [], set(), {}
    with place.started("study", str(study.file), "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            written.append(line)
            if json.loads(line).get("phase") == "warming_up":
                for pid in processes_of(study.name):
                    environment, command = looked_at(pid)
                    keys.add(environment.get(KEY_VARIABLE, ""))
                    written.append(command)
                answers = asked_without_a_key(study)
        written.append(process.stderr.read())
        code = process.wait(60)
    return Keyed(
        study=study, code=code, keys=keys - {""}, written="".join(written), answers=answers
    )


def looked_at(pid: int) -> tuple[dict[str, str], str]:
    """Environment and command of a process; nothing of one that has just ended."""
    try:
        process = psutil.Process(pid)
        return process.environ(), " ".join(process.cmdline())
    except psutil.Error:
        return {}, ""


def asked_without_a_key(study: RealStudy) -> dict[str, int]:
    """What a stranger on this machine gets from the running trial."""
    folders = sorted((study.place.folder / "studies" / study.name / "trials").iterdir())
    argv = json.loads((folders[-1] / "launch.json").read_text())["argv"]
    port = int(argv[argv.index("--port") + 1])
    return {path: status(port, path) for path in ("/v1/models", "/server_info", "/sleep")}


def status(port: int, path: str) -> int:
    """Of a GET."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_others_find_no_developer_endpoints_and_settings_are_read_all_the_same(
    tmp_path: Path,
) -> None:
    """An open address: a key is made; log, metrics and /v1/models speak for /server_info."""
    keyed = ended(tmp_path, {"bind_host": "0.0.0.0"}, None)
    assert keyed.code == 0, keyed.written
    assert keyed.answers == {"/v1/models": 401, "/server_info": 404, "/sleep": 404}
    (key,) = keyed.keys
    assert len(key) >= 40
    applied = keyed.record.applied
    assert keyed.record.is_measured
    assert applied is not None
    assert set(applied.sources) == {"/metrics", "/v1/models", "log"}
    assert applied.settings["enable_prefix_caching"] is False
    assert applied.settings["max_model_len"] == 8192
    assert applied.settings["max_num_seqs"] == 16
    assert (applied.mismatches, applied.unverified) == ((), ())
    assert keyed.files_with_the_key() == []
    assert key not in keyed.written
    assert keyed.study.left_running() == []


def test_behind_the_user_s_key_every_setting_is_read_back(tmp_path: Path) -> None:
    """The loopback: /server_info answers, and the key that was set is the servers'."""
    mine = "0123456789-a-key-of-the-user"
    keyed = ended(tmp_path, {"engine": {"api_key_env": KEY_VARIABLE}}, mine)
    assert keyed.code == 0, keyed.written
    assert keyed.answers["/v1/models"] == 401
    assert keyed.keys == {mine}
    applied = keyed.record.applied
    assert applied is not None
    assert "/server_info" in applied.sources
    assert {name: applied.settings[name] for name in ASKED} == ASKED
    assert (applied.mismatches, applied.unverified) == ((), ())
    assert keyed.files_with_the_key() == []
    assert mine not in keyed.written
    assert keyed.study.left_running() == []
