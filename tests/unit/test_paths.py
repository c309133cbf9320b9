"""File names of studies and trials, and where declared files are found."""

from pathlib import Path

import pytest

from autotune import paths
from autotune.errors import UsageError
from autotune.paths import StudyPaths, declared_file, results_root


def test_results_go_under_the_current_directory(clean_environment: Path) -> None:
    """Not under the checkout and not under the home folder."""
    assert results_root() == clean_environment / "studies"


def test_every_file_of_a_study_lies_under_its_root(tmp_path: Path) -> None:
    """A study is one folder, and no two things share a name."""
    study, trial = StudyPaths(tmp_path / "rtx"), StudyPaths(tmp_path / "rtx").trial(7)
    files = [getattr(study, name) for name, value in vars(StudyPaths).items()
             if isinstance(value, property) and name != "name"]  # fmt: skip
    files += [getattr(trial, name) for name, value in vars(type(trial)).items()
              if isinstance(value, property)]  # fmt: skip
    assert study.name == "rtx"
    assert trial.root == study.trials / "0007"
    assert len(files) == len(set(files)) > 8
    assert all(study.root in file.parents for file in files)


def test_trials_sort_by_number_as_text(tmp_path: Path) -> None:
    """A folder listing shows them in the order in which they ran."""
    study = StudyPaths(tmp_path)
    names = [study.trial(number).root.name for number in (2, 10, 999)]
    assert names == sorted(names)


def test_a_path_comes_before_a_name(clean_environment: Path) -> None:
    """A file named outright is taken as it is."""
    mine = clean_environment / "mine.yaml"
    mine.touch()
    assert declared_file("studies", str(mine)) == mine
    assert declared_file("studies", "mine.yaml").resolve() == mine


def test_the_users_own_file_hides_a_shipped_one(clean_environment: Path) -> None:
    """`studies/default.yaml` of the current directory wins over the one that came along."""
    shipped = declared_file("studies", "default")
    own = clean_environment / "studies" / "default.yaml"
    own.parent.mkdir()
    own.touch()
    assert declared_file("studies", "default") == own != shipped


@pytest.mark.parametrize("kind", ["studies", "search_spaces"])
def test_declared_files_are_found_from_anywhere(kind: str) -> None:
    """The first user's study and space need no checkout as current directory."""
    assert declared_file(kind, "rtx5070").is_file()


def test_an_installed_package_brings_its_own_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a checkout around it the package looks in `_declared`, where the wheel puts them."""
    package = tmp_path / "site-packages" / "autotune"
    declared = package / "_declared" / "studies" / "default.yaml"
    declared.parent.mkdir(parents=True)
    declared.touch()
    monkeypatch.setattr(paths, "_PACKAGE", package)
    assert declared_file("studies", "default") == declared


@pytest.mark.parametrize(
    "name", ["nosuch", "nosuch.yaml", "../nosuch", "", "x" * 5000, "a\0b", "studies/"]
)
def test_a_missing_file_is_named_with_those_there_are(name: str) -> None:
    """Whatever was asked for, the answer is one usage error that lists the known names."""
    with pytest.raises(UsageError, match="there is no file") as caught:
        declared_file("studies", name)
    assert "rtx5070" in caught.value.hint
