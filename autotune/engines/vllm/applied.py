"""Reading back what a running vLLM runs with, and holding it against what was asked.

A setting that was silently ignored or replaced must not be credited to the configuration that
asked for it: vLLM on the CPU serves with its own attention backend whatever is asked, an fp8
KV cache changes the backend, old engines turn chunked prefill on by force.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from autotune.engines.vllm import logs, server_metrics
from autotune.engines.vllm.applied_places import Places, agree, as_scalar, places
from autotune.engines.vllm.releases import Release, parse_release
from autotune.records import Applied, Configuration, Mismatch, Scalar
from autotune.seams.engine import Capabilities
from autotune.seams.requests import Client

JSON_CONFIG_FIRST: Final = Release(0, 11, 0)
SERVER_INFO_TIMEOUT_S: Final = 60.0
"""/server_info also collects the environment (`collect_env`: programs and packages): 1.5 s on two
idle cores, and many times that where others take them."""
ARGUMENTS: Final = "arguments"
"""Where a value is what the server took from its command line, not what it resolved."""
_ARGUMENTS: Final = re.compile(r"\bargs: (?:Namespace\(|\{)([^\n]*)")
_ENUM: Final = re.compile(r"<\w+\.\w+: ?([^>]+)>")
_ENGINE_CONFIG: Final = re.compile(r"LLM engine \(v[^)]*\) with config: (.*)")


@dataclass(frozen=True, kw_only=True)
class Statement:
    """Everything that a server said of itself.

    Attributes:
        config: The resolved configuration as JSON; empty where it is not given.
        text: The same as text.
        labels: Labels of the cache configuration gauge.
        log: The start-up log without colours.
        max_model_len_tokens: From /v1/models.
        sources: Which of these there were.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    log: str = ""
    max_model_len_tokens: int | None = None
    sources: tuple[str, ...] = ()


async def read_back(
    configuration: Configuration, capabilities: Capabilities, client: Client, log: str
) -> Applied:
    """Ask a running server what it runs with, and compare with what was asked.

    Nothing is raised: what cannot be read is `unverified`.
    """
    statement = await _ask(capabilities, client, log)
    return compare(configuration, capabilities, statement)


async def _ask(capabilities: Capabilities, client: Client, log: str) -> Statement:
    release = parse_release(capabilities.release)
    query = "?config_format=json" if release >= JSON_CONFIG_FIRST else ""
    told = await _body(client, f"/server_info{query}", timeout_s=SERVER_INFO_TIMEOUT_S)
    info = _json_object(told)
    config = info.get("vllm_config")
    metrics = await _body(client, "/metrics")
    labels = server_metrics.cache_config(metrics)
    models = _json_object(await _body(client, "/v1/models"))
    plain_log = logs.plain(log)
    written = _ENGINE_CONFIG.search(plain_log)
    text = config if isinstance(config, str) else (written[1] if written else "")
    length = _model_length(models)
    found = {
        "/server_info": bool(config),
        "/metrics": bool(labels),
        "/v1/models": length is not None,
        "log": bool(plain_log.strip()),
    }
    return Statement(
        config=config if isinstance(config, dict) else {},
        text=text,
        labels=labels,
        log=plain_log,
        max_model_len_tokens=length,
        sources=tuple(name for name, there in found.items() if there),
    )


async def _body(client: Client, path: str, *, timeout_s: float = 10.0) -> str:
    answer = await client.get(path, timeout_s=timeout_s)
    return answer.text if answer is not None and answer.status == 200 else ""


def _json_object(text: str) -> dict[str, Any]:
    try:
        content = orjson.loads(text) if text else {}
    except orjson.JSONDecodeError:
        return {}
    return content if isinstance(content, dict) else {}


def _model_length(models: Mapping[str, Any]) -> int | None:
    served = models.get("data")
    first = served[0] if isinstance(served, list) and served else None
    length = first.get("max_model_len") if isinstance(first, dict) else None
    return length if isinstance(length, int) else None


def compare(
    configuration: Configuration, capabilities: Capabilities, statement: Statement
) -> Applied:
    """Hold what a server said against what was asked of it."""
    settings: dict[str, Scalar] = {}
    sources: dict[str, str] = {}
    for name in places().parameters:
        value, source = effective(name, capabilities, statement)
        if value is not None:
            settings[name], sources[name] = value, source
    mismatches, unverified = [], []
    for name, asked in configuration.items:
        if name not in settings:
            unverified.append(name)
        elif not agree(name, asked, settings[name]):
            mismatches.append(
                Mismatch(parameter=name, asked=asked, got=settings[name], source=sources[name])
            )
    length = settings.get("max_model_len")
    return Applied(
        settings=settings,
        mismatches=tuple(mismatches),
        unverified=tuple(unverified),
        kv_cache_tokens=_kv_tokens(statement),
        max_model_len_tokens=statement.max_model_len_tokens
        or (length if isinstance(length, int) else None),
        sources=statement.sources,
    )


def effective(
    name: str, capabilities: Capabilities, statement: Statement
) -> tuple[Scalar | None, str]:
    """A parameter's effective value and where it was read; None where nobody says."""
    if name == "attention_backend" and capabilities.platform == "cpu":
        release = parse_release(capabilities.release)
        own = next(b.name for b in places().cpu_backends if b.covers(release, "cpu"))
        return own, "platform"
    if name == "kv_offload_gib" and statement.config and not _offloads(statement):
        return 0.0, "/server_info"
    if name == "max_model_len" and statement.max_model_len_tokens is not None:
        return statement.max_model_len_tokens, "/v1/models"
    where = places().parameters[name]
    for raw, source in _readings(where, statement):
        value = as_scalar(name, raw, 1 if source == ARGUMENTS else where.scale)
        if value is not None:
            return value, source
    return None, ""


def _readings(where: Places, statement: Statement) -> Iterator[tuple[Any, str]]:
    """Raw values in the order of trust: the log's own choice, the configuration, labels, text."""
    if where.log:
        for found in reversed(list(re.finditer(where.log, statement.log))):
            yield next(group for group in found.groups() if group is not None), "log"
            break
    for path in where.paths:
        yield _at(statement.config, path), "/server_info"
    if where.label:
        yield statement.labels.get(where.label), "/metrics"
    if where.text:
        written = re.search(rf"\b(?:{where.text})=([^,\s)]+)", statement.text)
        yield (written[1] if written else None), "engine configuration"
    if where.argument:
        yield _argument(where, statement.log), ARGUMENTS


def _argument(where: Places, log: str) -> str | None:
    """What the server took for a parameter: "non-default args: {...}", to 0.8.5 all of them."""
    line = _ARGUMENTS.search(log)
    if line is None or (where.argument_with and not re.search(where.argument_with, log)):
        return None
    said = re.search(
        rf"[{{(\s'\"]{where.argument}['\"]?\s?[:=]\s?(<[^>]*>|[^,)}}]+)", " " + line[1]
    )
    if said is None:
        return None
    enum = _ENUM.fullmatch(said[1].strip())
    return (enum[1] if enum else said[1]).strip()


def _at(config: Mapping[str, Any], path: str) -> Any:
    value: Any = config
    for key in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def _offloads(statement: Statement) -> bool:
    """Whether a connector that keeps KV blocks in host memory is at work."""
    return "Offload" in str(_at(statement.config, "kv_transfer_config.kv_connector") or "")


def _kv_tokens(statement: Statement) -> int | None:
    """Tokens of the KV cache: the log, the gauge's label (0.24.0+), or blocks x block size."""
    told = logs.kv_cache_tokens(statement.log)
    if told is not None:
        return told
    labels = statement.labels
    label = labels.get("kv_cache_size_tokens", "")
    if label.isdigit():
        return int(label)
    blocks, size = labels.get("num_gpu_blocks", ""), labels.get("block_size", "")
    return int(blocks) * int(size) if blocks.isdigit() and size.isdigit() else None
