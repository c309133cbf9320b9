"""Secrets in a study file are refused, and not repeated in the refusal."""

from pathlib import Path

import pytest

from autotune.cli.program import run
from autotune.errors import SpecError
from autotune.spec.study import study_from

PLANTED = "hf_" + "q" * 34


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        ({"model": f"https://me:{PLANTED}@hub/model"}, "model"),
        ({"model": "https://me:hunter2@hub/model"}, "model"),
        ({"engine": {"env": {"PROXY": "http://me:hunter2@proxy"}}}, "engine -> env -> PROXY"),
        ({"engine": {"arguments": ["--hf-token", PLANTED]}}, "engine -> arguments"),
        ({"engine": {"env": {"X": "sk-proj-" + "a" * 30}}}, "engine -> env -> X"),
        ({"description": f"with {PLANTED}"}, "description"),
        ({"model": "https://ghp_" + "q" * 36 + "@github.com/model"}, "model"),
        ({"description": "glpat-" + "q" * 20}, "description"),
    ],
)
def test_a_secret_is_refused_wherever_it_stands(raw: dict[str, object], place: str) -> None:
    """The field is named; whoever reads over the shoulder learns nothing."""
    with pytest.raises(SpecError) as raised:
        study_from(raw, where="study.yaml", options={"model": "--model"})
    said = raised.value.message + raised.value.hint
    assert f"{place} holds" in said
    assert not any(secret in said for secret in (PLANTED, "hunter2", "sk-proj", "qqqq"))


@pytest.mark.parametrize(
    "name",
    ["HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "SSH_PRIVATE_KEY", "MYSQL_PWD", "OPENAI_KEY",
     "DB_PASSWORD", "GPG_PASSPHRASE", "ftp_pass", "CREDENTIALS_FILE"],
)  # fmt: skip
def test_a_variable_that_is_named_like_a_secret_is_refused(name: str) -> None:
    """Whatever its value looks like."""
    with pytest.raises(SpecError, match=f"env holds {name}") as raised:
        study_from({"engine": {"env": {name: "plain words"}}}, where="study.yaml")
    assert "plain words" not in raised.value.message + raised.value.hint


@pytest.mark.parametrize(
    "raw",
    [
        {"model": "/models/hf_qwen"},
        {"engine": {"env": {"PROXY": "http://proxy:3128", "TOKENIZERS_PARALLELISM": "false"}}},
        {"engine": {"env": {"PWD": "/work", "VLLM_MULTI_STREAM_GEMM_TOKEN_THRESHOLD": "1024"}}},
        {"model": "https://somebody@hub.invalid/model"},
        {"engine": {"image": "registry:5000/vllm/vllm-openai@sha256:" + "a" * 64}},
    ],
)
def test_what_only_resembles_one_is_let_through(raw: dict[str, object]) -> None:
    """Ports, digests and names with an underscore are no secrets."""
    assert study_from(raw, where="study.yaml")


def test_a_secret_in_the_wrong_place_is_not_repeated_on_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even where it stands for a key, which an error names."""
    file = tmp_path / "study.yaml"
    file.write_text(f"{PLANTED}: 1\n")
    assert run(["study", str(file)]) == 3
    said = capsys.readouterr().err
    assert "[secret]" in said
    assert PLANTED not in said
