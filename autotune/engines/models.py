"""Finding a model's own description: a folder, the hub's cache, known models, the hub itself."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from autotune.errors import ModelError
from autotune.seams.engine import ModelFacts

_HUB_ID: Final = re.compile(r"[\w.-]+(/[\w.-]+)?")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_WEIGHTS: Final = ("*.safetensors", "pytorch_model*.bin", "consolidated*.pth")
_MOST_CONFIG_BYTES: Final = 1024**2
_HUB_TIMEOUT_S: Final = 15.0


async def read_model(
    name: str,
    *,
    revision: str | None = None,
    token_env: str = "HF_TOKEN",  # noqa: S107 - the name of a variable
    online: bool = False,
) -> ModelFacts:
    """Read a model's config.json and the size of its weights, wherever they are nearest.

    Looked for in this order: a folder of that name, the Hugging Face cache of this machine, the
    list of known models, and, only if `online`, config.json on the hub (one file, bounded).

    Args:
        name: A hub id or a folder.
        revision: Branch, tag or commit.
        token_env: Variable that holds the access token for gated models.
        online: Whether the hub may be asked.

    Raises:
        ModelError: If it is missing, gated or not readable; the hint is the next step.
    """
    facts = _read_here(name, revision)
    if facts is not None:
        return facts
    if not online or os.environ.get("HF_HUB_OFFLINE", "") in {"1", "true", "True"}:
        message = f"the model {name} is neither in the Hugging Face cache nor a known one"
        hint = f"Download it with `hf download {name}`, or give a folder with its config.json."
        raise ModelError(message, hint=hint)
    config = await _from_hub(name, revision or "main", os.environ.get(token_env, ""), token_env)
    return ModelFacts(name=name, revision=revision, config=config, source="the hub")


def _read_here(name: str, revision: str | None) -> ModelFacts | None:
    """What this machine knows of a model without a network; None if nothing.

    Raises:
        ModelError: If the name is a folder that is missing or not readable.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _from_folder(name, folder, revision, source=f"folder {folder}")
    if _looks_like_a_path(name):
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        message = f"the model folder {name} {what}"
        raise ModelError(message, hint="Give a folder with config.json, or a hub id (owner/name).")
    snapshot = _cached_snapshot(name, revision)
    if snapshot is not None:
        return _from_folder(name, snapshot, revision, source="the Hugging Face cache")
    known = _known_models().get(name)
    if known is not None:
        return ModelFacts(name=name, revision=revision, config=known, source="known models")
    return None


def _looks_like_a_path(name: str) -> bool:
    """Whether a name can only be a folder: a hub id has at most one slash and no leading dot."""
    return name.startswith((".", "/", "~")) or not _HUB_ID.fullmatch(name)


def _from_folder(name: str, folder: Path, revision: str | None, *, source: str) -> ModelFacts:
    config = _json_object(folder / "config.json")
    return ModelFacts(
        name=name,
        revision=revision,
        config=config,
        weights_bytes=_weights_bytes(folder),
        source=source,
    )


def _json_object(path: Path) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        ModelError: If it is missing, unreadable or no object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        hint = "Download the whole model again, or give another folder."
        raise ModelError(message, hint=hint) from error
    except (ValueError, RecursionError) as error:  # JSON and UTF-8 errors are ValueErrors
        message = f"{path} is not JSON: {error}"
        hint = "Download the file again; it may have been cut off."
        raise ModelError(message, hint=hint) from error
    if not isinstance(content, dict):
        message = f"{path} holds no JSON object"
        raise ModelError(message, hint="Download the file again.")
    return content


def _weights_bytes(folder: Path) -> int | None:
    """Size of the weights by the safetensors index, else by the files; None without any.

    An index whose files are not all there still counts: it says what will be loaded.
    """
    for index in sorted(folder.glob("*.safetensors.index.json")):
        metadata = _json_object(index).get("metadata")
        total = metadata.get("total_size") if isinstance(metadata, dict) else None
        if isinstance(total, int) and total > 0:
            return total
    for pattern in _WEIGHTS:
        files = [f for f in folder.glob(pattern) if f.is_file()]
        sharded = [f for f in files if not f.name.startswith("consolidated")] or files
        if sharded:
            return sum(f.stat().st_size for f in sharded)
    return None


def _cache_root() -> Path:
    """The hub's cache folder, by the variables that huggingface_hub reads (`constants.py`)."""
    env = os.environ
    explicit = env.get("HF_HUB_CACHE") or env.get("HUGGINGFACE_HUB_CACHE")
    if explicit:
        return Path(explicit).expanduser()
    home = env.get("HF_HOME")
    if not home:
        home = str(Path(env.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    return Path(home).expanduser() / "hub"


def _cached_snapshot(name: str, revision: str | None) -> Path | None:
    """The snapshot folder of a model in the cache; None if its config is not there."""
    repository = _cache_root() / f"models--{name.replace('/', '--')}"
    wanted = revision or "main"
    commit = wanted
    if not _COMMIT.fullmatch(wanted):
        try:
            commit = (repository / "refs" / wanted).read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            return None
    snapshot = repository / "snapshots" / commit
    return snapshot if (snapshot / "config.json").is_file() else None


def _known_models() -> Mapping[str, dict[str, Any]]:
    """The shipped list: hub id to the keys of its config.json that sizes depend on."""
    path = Path(__file__).with_name("known_models.yaml")
    models: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))["models"]
    return models


async def _from_hub(name: str, revision: str, token: str, token_env: str) -> dict[str, Any]:
    """Fetch config.json from the hub; at most 1 MiB within 15 s.

    Raises:
        ModelError: Missing, gated and unreachable told apart.
    """
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    url = f"{endpoint}/{name}/resolve/{revision}/config.json"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=_HUB_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            session.get(url, headers=headers) as answer,
        ):
            body = await answer.content.read(_MOST_CONFIG_BYTES)
            if answer.status == 200:
                return _hub_object(name, body)
            why = answer.headers.get("X-Error-Code", "")
            raise _hub_refusal(name, revision, answer.status, why, token_env)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        message = f"the hub did not answer for {name}: {str(error) or type(error).__name__}"
        hint = f"Check the network, or run `hf download {name}` where there is one."
        raise ModelError(message, hint=hint) from error


def _hub_object(name: str, body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        message = f"the hub's config.json of {name} is not JSON"
        raise ModelError(message, hint="Download the model and give its folder.") from error
    if not isinstance(content, dict):
        message = f"the hub's config.json of {name} holds no JSON object"
        raise ModelError(message, hint="Download the model and give its folder.")
    return content


def _hub_refusal(name: str, revision: str, status: int, why: str, token_env: str) -> ModelError:
    """What a status of the hub means (huggingface_hub `utils/_http.py`, `hf_raise_for_status`).

    Without a token the hub answers 401 for a repository that does not exist, too; the header
    X-Error-Code tells the two apart.
    """
    if why == "GatedRepo" or (status in {401, 403} and why != "RepoNotFound"):
        message = f"the model {name} is gated or private ({status})"
        hint = f"Accept its terms on the hub and set {token_env} to a token that may read it."
    elif why == "RevisionNotFound":
        message = f"the model {name} has no revision {revision!r}"
        hint = "Leave the revision out for the main branch."
    elif why == "EntryNotFound":
        message = f"the model {name} has no config.json on the hub"
        hint = "autotune reads config.json; choose a repository in the transformers format."
    elif status in {401, 404}:
        message = f"there is no model {name} on the hub"
        hint = f"Check the spelling; a private model needs {token_env}."
    else:
        message = f"the hub answered {status} for {name}"
        hint = f"Try again later, or run `hf download {name}`."
    return ModelError(message, hint=hint)
