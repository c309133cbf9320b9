"""Options and how they change a study file."""

from pathlib import Path

import pytest

from autotune.cli.options import load_study, seconds_from, study_overrides
from autotune.errors import SpecError, UsageError


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("5m", 300), ("1.5h", 5400), ("2d", 172800)]
)
def test_times_are_read_as_people_write_them(text: str, seconds: float) -> None:
    """A bare number is seconds."""
    assert seconds_from(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-1", "0", "soon", "nan", "inf", "5 minutes"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """With an example of how to write one."""
    with pytest.raises(UsageError) as caught:
        seconds_from(text)

    assert "90m" in caught.value.hint


def test_options_lie_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not given is left as the file says."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.yaml"
    file.write_text("model: a/b\nengine: {image: 'x:1', gpus: false}\nbudget: {trials: 7}\n")

    spec = load_study(
        str(file),
        study_overrides(3, None, "vllm", None, "y:2", "other", 5, "2h", "latency"),
    )

    assert (spec.budget.trials, spec.budget.timeout_s) == (3, 7200)
    assert (spec.model, spec.name, spec.seed, spec.prefer) == ("a/b", "other", 5, "latency")
    assert (spec.engine.name, spec.engine.image, spec.engine.gpus) == ("vllm", "y:2", False)


def test_another_engine_brings_a_deployer_of_its_own(tmp_path: Path) -> None:
    """`--engine simulated` on a study that names Docker; a real engine keeps what it had."""
    file = tmp_path / "mine.yaml"
    file.write_text("engine: {name: vllm, deployer: docker}\n")

    assert load_study(str(file), {"engine.name": "simulated"}).engine.deployer is None
    assert load_study(str(file), {"engine.name": "vllm"}).engine.deployer == "docker"


def test_a_study_is_named_after_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it names itself."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("model: a/b\n")

    assert load_study(str(tmp_path / "mine.yaml"), {}).name == "mine"


def test_a_folder_as_model_can_be_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is kept as an absolute path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()

    overrides = study_overrides(None, "model", None, None, None, None, None, None, None)

    assert overrides["model"] == str(tmp_path / "model")


def test_an_option_of_a_bad_value_is_an_error_that_names_the_field(tmp_path: Path) -> None:
    """As if it had stood in the file."""
    file = tmp_path / "mine.yaml"
    file.write_text("")

    with pytest.raises(SpecError) as caught:
        load_study(str(file), {"name": "../elsewhere"})

    assert "name" in caught.value.message


def test_a_file_that_is_no_mapping_is_refused_whatever_the_options(tmp_path: Path) -> None:
    """Nothing is laid over a list."""
    file = tmp_path / "mine.yaml"
    file.write_text("- a\n- b\n")

    with pytest.raises(SpecError):
        load_study(str(file), {"name": "x"})


def test_an_unknown_study_lists_those_that_there_are() -> None:
    """The shipped ones among them."""
    with pytest.raises(UsageError) as caught:
        load_study("nothing-of-the-kind", {})

    assert "default" in caught.value.hint
