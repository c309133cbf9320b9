"""The systemd unit."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.report.exports.service import service_from
from autotune.report.exports.systemd import quoted, systemd_unit
from autotune.seams.deployment import LaunchPlan
from autotune.spec.study import StudySpec
from tests.support.launches import CONFIGURATION, DOCKER, MODEL, PROCESS
from tests.support.records import record


def unit(launch: LaunchPlan) -> str:
    """The unit of a trial."""
    trial = record(5, config=CONFIGURATION)
    return systemd_unit(service_from(trial, launch, StudySpec()), release="0.33.0")


def test_a_process_is_started_with_its_limits_lifted() -> None:
    """Memlock for pinned memory; the token from a private file."""
    text = unit(PROCESS)
    assert "LimitMEMLOCK=infinity" in text
    assert "EnvironmentFile=-/etc/default/vllm" in text
    assert re.search(rf'"{re.escape(MODEL)}"', text)
    assert 'ExecStart="/usr/bin/env"' in text
    assert "write the whole path" in " ".join(text.replace("#", " ").split())


def test_an_image_is_run_by_docker_and_nothing_running_is_removed() -> None:
    """`docker rm` without force, so that a stranger's container of that name survives."""
    text = unit(DOCKER)
    assert "Requires=docker.service" in text
    assert "ExecStartPre=-/usr/bin/docker rm vllm\n" in text
    assert '"--entrypoint"' in text


def test_words_are_quoted_as_systemd_reads_them() -> None:
    """Quotes, backslashes, percent signs and dollars are escaped."""
    assert quoted('a"b\\c%d$e') == '"a\\"b\\\\c%%d$$e"'


@pytest.mark.parametrize("launch", [DOCKER, PROCESS], ids=["docker", "process"])
def test_systemd_accepts_it(launch: LaunchPlan, tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say, where it is installed."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed here")
    path = tmp_path / "vllm.service"
    # It looks whether programs exist: one that surely does stands in for them.
    text = unit(replace(launch, argv=(sys.executable, *launch.argv[1:])))
    text = text.replace("/usr/bin/docker", sys.executable)
    text = re.sub(r"^Requires=docker\.service\n", "", text, flags=re.MULTILINE)
    path.write_text(text.replace(" docker.service", ""))
    done = subprocess.run(
        [analyze, "verify", str(path)], capture_output=True, check=False, text=True
    )
    complaints = [line for line in done.stderr.splitlines() if "vllm.service" in line]
    assert not complaints
    assert done.returncode == 0, done.stderr
