"""A study that goes on with another engine or card says so."""

from dataclasses import replace
from pathlib import Path

import pytest

from autotune.cli.running import changes, open_study
from autotune.cli.wiring import Workbench, environment_of
from autotune.spec.study import study_from
from tests.support.records import record


@pytest.fixture
def workbench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    """A study of containers of an image, as far as its trials' environment goes."""
    monkeypatch.chdir(tmp_path)
    made = open_study(study_from({"engine": {"name": "simulated"}}, where="test")).workbench
    found = replace(made.context.capabilities, image_digest="sha256:2")
    return replace(made, context=replace(made.context, capabilities=found))


def test_a_study_that_goes_on_as_it_was_says_nothing(workbench: Workbench) -> None:
    """Nor does one whose earlier trials say less of where they ran."""
    assert (
        changes(workbench, replace(record(0), environment=environment_of(workbench.context))) == ()
    )
    assert changes(workbench, replace(record(0), environment={})) == ()


def test_an_image_that_was_pulled_meanwhile_is_told(workbench: Workbench) -> None:
    """Its earlier trials were of another build under the same name."""
    before = {**environment_of(workbench.context), "image_digest": "sha256:1"}
    (line,) = changes(workbench, replace(record(0), environment=before))
    assert line == "image digest is sha256:2; the study was measured with sha256:1"
