"""Whatever a model, an option or a variable is called, it is served under that very name."""

import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.report.exports.compose_reader import launch_from_compose
from autotune.report.exports.folder import write_recommendation
from autotune.report.exports.service import Service, service_from
from autotune.spec.study import StudySpec
from tests.support.launches import CONFIGURATION, DOCKER, PROCESS
from tests.support.records import record

# Printable text without line breaks, as model names and options of a study file are; blanks at
# the ends and runs of blanks included.
TEXT = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x24FF, exclude_categories=("C", "Z"))
    | st.sampled_from(" $'\"\\`#{}%&;|<>*?[]!~="),
    min_size=1,
    max_size=24,
).filter(lambda text: not text.startswith("-") and " ".join(text.split()) == text)


def service(model: str, value: str, *, docker: bool) -> Service:
    """A service with hostile names."""
    base = DOCKER if docker else PROCESS
    launch = replace(base, argv=("vllm", "serve", model, "--option", value), env={"NAME": value})
    return service_from(record(1, config=CONFIGURATION), launch, StudySpec())


@settings(max_examples=50)
@given(TEXT, TEXT)
def test_compose_reads_back(model: str, value: str) -> None:
    """Through YAML, compose's interpolation and the `.env` file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_recommendation(folder, service(model, value, docker=True), forms=("compose", "env"))
        plan = launch_from_compose(folder / "docker-compose.yml", {"HOME": "/x", "A": "b"})
    assert plan.argv[:4] == ("vllm", "serve", model, f"--option={value}")
    assert plan.env == {"NAME": value}


@settings(max_examples=25)
@given(TEXT, TEXT)
def test_a_shell_runs_it_as_it_is(model: str, value: str) -> None:
    """Through a real shell, with a program that prints what it was given."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_recommendation(folder, service(model, value, docker=False), forms=("command", "env"))
        stand_in = folder / "vllm"
        code = "import os, sys; print('\\0'.join([*sys.argv[1:5], os.environ['NAME']]), end='')"
        stand_in.write_text(f"#!{sys.executable}\n{code}\n")
        stand_in.chmod(0o755)
        done = subprocess.run(
            ["/bin/sh", str(folder / "serve.sh")], capture_output=True, check=True,
            env={"PATH": f"{folder}:/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
    assert done.stdout.decode().split("\0") == ["serve", model, "--option", value, value]
