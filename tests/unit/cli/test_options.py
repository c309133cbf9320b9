"""Options and how they change a study file."""

from pathlib import Path

import pytest

from autotune.cli.options import (
    load_matrix,
    load_study,
    seconds_from,
    source_overrides,
    study_overrides,
)
from autotune.cli.program import app
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


@pytest.mark.parametrize(("written", "option"), [("model", None), ("other", "model")])
def test_a_folder_as_model_is_kept_as_an_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, option: str | None
) -> None:
    """In the file or as an option: the engine serves it under that name and no other."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "mine.yaml").write_text(f"model: {written}\n")

    overrides = study_overrides(None, option, None, None, None, None, None, None, None)

    spec = load_study(str(tmp_path / "mine.yaml"), overrides)
    assert spec.model == str(tmp_path / "model")


def test_an_option_of_a_bad_value_is_blamed_on_the_option(tmp_path: Path) -> None:
    """Not on the file that it lies over; and what would do is said in words."""
    file = tmp_path / "mine.yaml"
    file.write_text("")

    with pytest.raises(SpecError) as caught:
        load_study(str(file), {"name": "../elsewhere"})

    assert caught.value.message.startswith("--name '../elsewhere': it must be 1 to 64 letters")
    assert "mine.yaml" not in caught.value.message


def test_an_empty_model_is_not_the_current_folder(tmp_path: Path) -> None:
    """`--model "$MODEL"` with a variable that is not set: the option is named."""
    file = tmp_path / "mine.yaml"
    file.write_text("")
    with pytest.raises(SpecError, match="--model '': it must be a hub id or a folder"):
        load_study(str(file), {"model": ""})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("baseline: {kv_cach_dtype: fp8}", "baseline -> kv_cach_dtype: no engine has this"),
        ("baseline: {kv_cach_dtype: fp8}", "did you mean kv_cache_dtype?"),
        ("seeds: [{}, {max_num_seqs: '256'}]", "seeds -> 1 -> max_num_seqs: '256' is no number"),
        ("baseline: {kv_cache_dtype: fp88}", "'fp88' is none of its values in any release"),
        ("baseline: {attention_backend: FLASHINFR}", "did you mean FLASHINFER?"),
        ("baseline: {gpu_memory_utilization: 92}", "it cannot be over 1"),
        ("baseline: {enforce_eager: 1}", "1 is neither true nor false"),
        ("baseline: {block_size: 16.5}", "16.5 is no whole number"),
        ("baseline: {kv_cache_memory_gib: 1.0e+300}", "it cannot be over 1e+09"),
        ("baseline: {max_num_seqs: .inf}", "inf"),
        ("baseline: {max_num_seqs: -8}", "it cannot be under 1"),
    ],
)
def test_a_fixed_configuration_holds_only_what_some_release_has(
    tmp_path: Path, text: str, says: str
) -> None:
    """Else it would be left out in silence, and the baseline be another."""
    file = tmp_path / "mine.yaml"
    file.write_text(text)

    with pytest.raises(SpecError) as caught:
        load_study(str(file), {})

    assert caught.value.message.startswith(f"{file}: ")
    assert says in caught.value.message
    assert caught.value.hint


def test_a_cell_of_a_matrix_holds_only_what_some_release_has(tmp_path: Path) -> None:
    """The cell and the setting are named."""
    file = tmp_path / "cells.yaml"
    file.write_text("configurations: {A: {title: a, configuration: {async_sheduling: true}}}")

    with pytest.raises(SpecError) as caught:
        load_matrix(str(file))

    assert "configurations -> A -> configuration -> async_sheduling" in caught.value.message
    assert "did you mean async_scheduling?" in caught.value.message


def test_a_folder_given_as_the_study_is_said_to_be_one(tmp_path: Path) -> None:
    """With the file in it that may be meant."""
    (tmp_path / "study.yaml").write_text("")

    with pytest.raises(UsageError) as caught:
        load_study(str(tmp_path), {})

    assert "is a folder" in caught.value.message
    assert str(tmp_path / "study.yaml") in caught.value.hint


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


@pytest.mark.parametrize("line", ["show sa", "compare sa", "compare other sa", "study --from sa"])
def test_a_shell_completes_the_names_of_studies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    """Those that were run here; by the protocol of bash."""
    monkeypatch.chdir(tmp_path)
    for name in ("sample", "saturated", "other"):
        folder = tmp_path / "studies" / name
        folder.mkdir(parents=True)
        (folder / "study.yaml").write_text("name: s")
    words = ["autotune", *line.split()]
    monkeypatch.setenv("_AUTOTUNE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", " ".join(words))
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    with pytest.raises(SystemExit):
        app(prog_name="autotune")
    assert capsys.readouterr().out.split() == ["sample", "saturated"]


@pytest.mark.parametrize(
    ("text", "overrides", "wanted"),
    [
        ("from: old", source_overrides(None, fresh=False), ("old", False)),
        ("from: old", source_overrides(None, fresh=True), (None, True)),
        ("fresh: true", source_overrides("old", fresh=False), ("old", False)),
        ("", source_overrides("old", fresh=False), ("old", False)),
    ],
)
def test_what_is_taken_from_earlier_studies_is_by_option_or_file(
    tmp_path: Path, text: str, overrides: dict[str, object], wanted: tuple[str | None, bool]
) -> None:
    """Either option puts an end to the other one's key in the file."""
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    spec = load_study(str(file), overrides)
    assert (spec.source, spec.fresh) == wanted


def test_from_one_and_from_none_contradict_each_other() -> None:
    """On the command line it is an error."""
    with pytest.raises(UsageError, match="--from old and --fresh"):
        source_overrides("old", fresh=True)


def test_a_matrix_is_no_study() -> None:
    """Nor is it offered where there is no study of a name; and the other way round."""
    with pytest.raises(UsageError, match="is a matrix") as caught:
        load_study("matrix", {})
    assert "autotune matrix --matrix matrix" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        load_study("nosuch", {})
    assert "default" in caught.value.hint
    assert "matrix" not in caught.value.hint
    with pytest.raises(UsageError) as caught:
        load_matrix("nosuch")
    assert "Known ones: matrix." in caught.value.hint
