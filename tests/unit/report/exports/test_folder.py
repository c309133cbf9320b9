"""A folder of exported files that is written again, with the user's changes in it."""

from dataclasses import replace
from pathlib import Path

import pytest

from autotune.records import Configuration
from autotune.report.exports.folder import Written, latest, write_recommendation
from autotune.report.exports.service import Service, service_from
from autotune.report.exports.write import Format
from autotune.spec.study import StudySpec
from tests.support.launches import CONFIGURATION, DOCKER
from tests.support.records import record

NAMES = ("docker-compose.yml", ".env", "serve.sh", "docker-run.sh")


def service(number: int = 5, max_model_len: int = 32768) -> Service:
    """What a trial is exported to."""
    config = CONFIGURATION.updated({"max_model_len": max_model_len})
    argv = tuple(str(max_model_len) if part == "32768" else part for part in DOCKER.argv)
    return service_from(record(number, config=config), replace(DOCKER, argv=argv), StudySpec())


NEXT = service(9, 16384)
"""Another trial, which a later recommendation falls on."""


def write(folder: Path, made: Service, *, force: bool = False) -> Written:
    """A recommendation, written to a study's folder."""
    return write_recommendation(folder / "recommended", made, force=force)


def change(path: Path, old: str, new: str) -> str:
    """What a user does with an editor; the whole text as it is then."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path.read_text()


def snapshot(folder: Path) -> dict[str, tuple[str, int]]:
    """Every file with its text and the time of its last change."""
    return {p.name: (p.read_text(), p.stat().st_mtime_ns) for p in folder.iterdir()}


def test_what_nobody_changed_is_renewed(tmp_path: Path) -> None:
    """All four files are of the new trial."""
    write(tmp_path, service())
    found = write(tmp_path, NEXT)
    assert found.notes == ()
    assert {p.name for p in found.files} == set(NAMES)
    assert all("trial 9 of study" in p.read_text() for p in found.files)
    assert "MAX_MODEL_LEN=16384" in (found.folder / ".env").read_text()


def test_the_same_recommendation_touches_no_file(tmp_path: Path) -> None:
    """Nothing is new, so nothing is written."""
    folder = write(tmp_path, service()).folder
    before = snapshot(folder)
    write(tmp_path, service())
    assert snapshot(folder) == before


@pytest.mark.parametrize("force", [False, True])
def test_ports_tokens_and_variables_of_the_user_survive(tmp_path: Path, force: bool) -> None:
    """They were never measured; the settings are those of the new trial."""
    env = write(tmp_path, service()).folder / ".env"
    change(env, "VLLM_PORT=8000", "VLLM_PORT=9123")
    change(env, "# HF_TOKEN=", "HF_TOKEN=hf_secret")
    env.write_text(env.read_text() + "export VLLM_API_KEY='k=1'\n")

    found = write(tmp_path, NEXT, force=force)

    lines = env.read_text().splitlines()
    assert "VLLM_PORT=9123" in lines
    assert "HF_TOKEN=hf_secret" in lines
    assert "VLLM_API_KEY='k=1'" in lines
    assert "MAX_MODEL_LEN=16384" in lines
    assert found.notes == (f"{env}: kept your VLLM_PORT, HF_TOKEN, VLLM_API_KEY",)


def test_they_survive_a_third_recommendation_as_well(tmp_path: Path) -> None:
    """What was kept once is still the user's."""
    env = write(tmp_path, service()).folder / ".env"
    change(env, "VLLM_PORT=8000", "VLLM_PORT=9123")
    write(tmp_path, NEXT)
    write(tmp_path, service(11, 8192))
    assert "VLLM_PORT=9123" in env.read_text().splitlines()
    assert "MAX_MODEL_LEN=8192" in env.read_text().splitlines()


def test_a_file_with_a_token_keeps_its_rights(tmp_path: Path) -> None:
    """Who made it private finds it private."""
    env = write(tmp_path, service()).folder / ".env"
    change(env, "# HF_TOKEN=", "HF_TOKEN=hf_secret")
    env.chmod(0o600)
    write(tmp_path, NEXT)
    assert env.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("docker-compose.yml", "restart: unless-stopped", "restart: always"),
        (".env", "MAX_MODEL_LEN=32768", "MAX_MODEL_LEN=20000"),
        ("serve.sh", "set -eu", "set -eux"),
    ],
)
def test_a_changed_file_stays_and_the_new_ones_go_beside(
    tmp_path: Path, name: str, old: str, new: str
) -> None:
    """All of the folder, for its files share `.env`; the note names the file and the way out."""
    folder = write(tmp_path, service()).folder
    change(folder / name, old, new)
    before = snapshot(folder)

    found = write(tmp_path, NEXT)

    assert snapshot(folder) == before
    assert found.folder == tmp_path / "recommended.new"
    assert "trial 9 of study" in (found.folder / "docker-compose.yml").read_text()
    assert latest(folder) == found.folder
    (note,) = found.notes
    assert name in note
    assert "recommended.new" in note
    assert "--force" in note


def test_a_changed_file_stays_while_there_is_nothing_new(tmp_path: Path) -> None:
    """The same recommendation has no reason to go elsewhere."""
    folder = write(tmp_path, service()).folder
    text = change(folder / "docker-compose.yml", "unless-stopped", "always")
    found = write(tmp_path, service())
    assert found.folder == folder
    assert (folder / "docker-compose.yml").read_text() == text
    assert "left as you changed it" in found.notes[0]
    assert not (tmp_path / "recommended.new").exists()


def test_force_replaces_what_was_changed_and_clears_what_lay_beside(tmp_path: Path) -> None:
    """The folder beside was only there because of the change."""
    folder = write(tmp_path, service()).folder
    change(folder / "docker-compose.yml", "unless-stopped", "always")
    change(folder / ".env", "VLLM_PORT=8000", "VLLM_PORT=9123")
    beside = write(tmp_path, NEXT).folder
    assert "VLLM_PORT=9123" in (beside / ".env").read_text()

    write(tmp_path, NEXT, force=True)

    assert "restart: unless-stopped" in (folder / "docker-compose.yml").read_text()
    assert "VLLM_PORT=9123" in (folder / ".env").read_text()
    assert not beside.exists()
    assert latest(folder) == folder


def test_files_of_a_release_without_checksums_are_not_overwritten(tmp_path: Path) -> None:
    """Nobody knows whether they were changed."""
    folder = write(tmp_path, service()).folder
    (folder / ".autotune.json").unlink()
    before = snapshot(folder)
    assert write(tmp_path, NEXT).folder == tmp_path / "recommended.new"
    assert snapshot(folder) == before


@pytest.mark.parametrize("form", ["compose", "kubernetes"])
def test_a_file_of_one_format_brings_the_others_along(tmp_path: Path, form: Format) -> None:
    """A compose file of one trial beside the `.env` of another would be neither."""
    folder = write(tmp_path, service()).folder
    write_recommendation(folder, NEXT, forms=(form,))
    for name in NAMES:
        assert "trial 9 of study" in (folder / name).read_text()


def test_what_the_user_put_there_is_left_alone(tmp_path: Path) -> None:
    """Files of other names are nobody's business."""
    folder = write(tmp_path, service()).folder
    (folder / "override.yml").write_text("services: {}\n")
    write(tmp_path, NEXT, force=True)
    assert (folder / "override.yml").read_text() == "services: {}\n"


def test_a_setting_that_the_new_trial_does_not_have_leaves_the_file(tmp_path: Path) -> None:
    """It is no variable of the user's."""
    env = write(tmp_path, service()).folder / ".env"
    argv = DOCKER.argv[:-2]
    shorter = Configuration.of({k: v for k, v in CONFIGURATION.items if k != "max_model_len"})
    made = service_from(record(9, config=shorter), replace(DOCKER, argv=argv), StudySpec())
    write(tmp_path, made)
    assert "MAX_MODEL_LEN" not in env.read_text()
