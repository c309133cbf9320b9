"""Finding a model's description, and the sizes of the known ones."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from autotune.clock import MonotonicClock, VirtualClock
from autotune.engines.model_shape import shape_of
from autotune.engines.models import read_model
from autotune.errors import ModelError
from autotune.seams.engine import ModelFacts

CONFIG = {"model_type": "qwen2", "hidden_size": 128}
COMMIT = "0123456789abcdef0123456789abcdef01234567"

PUBLISHED = {
    # Hub id to the parameter count that the hub shows from the safetensors header.
    "Qwen/Qwen2.5-0.5B-Instruct": 494_032_768,
    "Qwen/Qwen2.5-1.5B-Instruct": 1_543_714_304,
    "Qwen/Qwen2.5-3B-Instruct": 3_085_938_688,
    "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
    "Qwen/Qwen2.5-14B-Instruct": 14_770_033_664,
    "Qwen/Qwen2.5-32B-Instruct": 32_763_876_352,
    "meta-llama/Llama-3.1-8B-Instruct": 8_030_261_248,
    "meta-llama/Llama-3.2-1B-Instruct": 1_235_814_400,
    "meta-llama/Llama-3.2-3B-Instruct": 3_212_749_824,
    "mistralai/Mistral-7B-Instruct-v0.3": 7_248_023_552,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "Qwen/Qwen3-30B-A3B": 30_532_122_624,
}


def read(name: str, **options: Any) -> ModelFacts:
    """Read a model without a network."""
    return VirtualClock().run(read_model(name, **options))


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub cache of this test's own."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


def cache(tmp_path: Path, name: str, files: Mapping[str, str]) -> Path:
    """Put a snapshot into the cache as huggingface_hub lays it out."""
    repository = tmp_path / "hf" / "hub" / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for file, content in files.items():
        (snapshot / file).write_text(content)
    return snapshot


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_known_models_have_their_published_parameter_counts(name: str, parameters: int) -> None:
    """The shipped shapes are exact: any wrong width would show in the count."""
    assert shape_of(read(name)).parameters == parameters


def test_the_awq_variant_weighs_what_its_files_weigh() -> None:
    """Qwen2.5-7B-Instruct-AWQ: 5.57 GB of safetensors on the hub."""
    facts = read("Qwen/Qwen2.5-7B-Instruct-AWQ")
    assert facts.source == "known models"
    assert shape_of(facts).weight_bytes == pytest.approx(5.57e9, rel=0.005)


def test_a_folder_is_read_with_its_index(tmp_path: Path) -> None:
    """The index's total wins over the files, which may be links or not yet there."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "model.safetensors.index.json").write_text('{"metadata": {"total_size": 12345}}')
    facts = read(str(tmp_path))
    assert facts.config == CONFIG
    assert facts.weights_bytes == 12345


def test_a_folder_without_an_index_is_weighed_by_its_files(tmp_path: Path) -> None:
    """Mistral's consolidated copy of the same weights is not counted twice."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "model-1.safetensors").write_bytes(b"x" * 100)
    (tmp_path / "model-2.safetensors").write_bytes(b"x" * 50)
    (tmp_path / "consolidated.safetensors").write_bytes(b"x" * 150)
    assert read(str(tmp_path)).weights_bytes == 150


def test_a_folder_without_weights_has_no_weight(tmp_path: Path) -> None:
    """Unknown is None, never 0."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert read(str(tmp_path)).weights_bytes is None


def test_the_cache_is_read_before_the_list_of_known_models(tmp_path: Path) -> None:
    """A model that lies here is described by its own files."""
    cache(tmp_path, "Qwen/Qwen3-8B", {"config.json": json.dumps(CONFIG), "m.safetensors": "xyz"})
    facts = read("Qwen/Qwen3-8B")
    assert facts.config == CONFIG
    assert (facts.weights_bytes, facts.source) == (3, "the Hugging Face cache")


def test_a_commit_names_its_snapshot(tmp_path: Path) -> None:
    """A full commit hash needs no ref."""
    cache(tmp_path, "a/b", {"config.json": json.dumps(CONFIG)})
    assert read("a/b", revision=COMMIT).config == CONFIG
    with pytest.raises(ModelError):
        read("a/b", revision="other-branch")


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/folder", "~/none", "a/b/c", "C:\\model"])
def test_a_missing_folder_is_an_error_at_once(name: str) -> None:
    """A name that can only be a path is never looked for on the hub."""
    with pytest.raises(ModelError, match="does not exist"):
        read(name, online=True)


def test_a_broken_config_names_its_file(tmp_path: Path) -> None:
    """Cut-off JSON is a ModelError with the file's name."""
    (tmp_path / "config.json").write_text('{"model_type": ')
    with pytest.raises(ModelError, match=r"config\.json is not JSON"):
        read(str(tmp_path))


def test_a_folder_without_a_config_says_so(tmp_path: Path) -> None:
    """An empty folder is no model."""
    with pytest.raises(ModelError, match="cannot be read"):
        read(str(tmp_path))


def test_an_unknown_model_offline_gets_the_download_command() -> None:
    """Without a network the hint is how to get it."""
    with pytest.raises(ModelError) as caught:
        read("somebody/some-model")
    assert "hf download somebody/some-model" in caught.value.hint


@asynccontextmanager
async def hub(status: int, body: str, headers: Mapping[str, str]) -> AsyncIterator[str]:
    """A hub that has one answer to everything."""

    async def answer(_: web.Request) -> web.Response:
        await asyncio.sleep(0)
        return web.Response(status=status, text=body, headers=dict(headers))

    app = web.Application()
    app.router.add_get("/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def ask_hub(
    monkeypatch: pytest.MonkeyPatch, status: int, body: str = "", code: str = ""
) -> ModelFacts:
    """Read a model from such a hub over real sockets."""

    async def main() -> ModelFacts:
        async with hub(status, body, {"X-Error-Code": code} if code else {}) as endpoint:
            monkeypatch.setenv("HF_ENDPOINT", endpoint)
            return await read_model("a/b", online=True)

    return MonotonicClock().run(main())


def test_the_hub_gives_the_config(monkeypatch: pytest.MonkeyPatch) -> None:
    """One small file is enough to size a model."""
    facts = ask_hub(monkeypatch, 200, json.dumps(CONFIG))
    assert (facts.config, facts.weights_bytes, facts.source) == (CONFIG, None, "the hub")


@pytest.mark.parametrize(
    ("status", "code", "message", "hint"),
    [
        (401, "GatedRepo", "gated", "HF_TOKEN"),
        (403, "GatedRepo", "gated", "HF_TOKEN"),
        (401, "RepoNotFound", "there is no model", "spelling"),
        (404, "", "there is no model", "spelling"),
        (404, "RevisionNotFound", "no revision", "main branch"),
        (404, "EntryNotFound", "no config.json", "transformers"),
        (503, "", "answered 503", "hf download"),
        (200, "", "not JSON", "folder"),
    ],
)
def test_the_hubs_refusals_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, status: int, code: str, message: str, hint: str
) -> None:
    """Missing, gated and out of order need different next steps."""
    with pytest.raises(ModelError, match=message) as caught:
        ask_hub(monkeypatch, status, "<html>", code)
    assert hint in caught.value.hint


def test_a_hub_that_does_not_answer_is_a_model_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection is translated, with the next step."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match="did not answer"):
        MonotonicClock().run(read_model("a/b", online=True))
