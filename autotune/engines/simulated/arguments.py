"""From a command line to the settings that a server of one release would run with."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from autotune.engines.model_shape import ModelShape
from autotune.engines.simulated import words
from autotune.engines.simulated.attention import with_backend
from autotune.engines.simulated.card import Card
from autotune.engines.simulated.options import Parsed, parse
from autotune.engines.simulated.refusals import StartRefused, config_error, core_error, usage
from autotune.engines.simulated.release import Release
from autotune.engines.simulated.settings import GraphMode, ServeSettings
from autotune.units import BYTES_PER_GIB

_GIB_BIG_CARD: Final = 70
_GIB_HUGE_CARD: Final = 160
_UNITS: Final = {"k": 1000, "m": 1000**2, "g": 1000**3, "K": 1024, "M": 1024**2, "G": 1024**3}
_QUIET: Final = {"model", "host", "port"}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the server finds."""

    release: Release
    card: Card
    shape: ModelShape
    model_name: str = ""


@dataclass(frozen=True, kw_only=True)
class _Start:
    """What a start brings: options, variables, and what it finds."""

    parsed: Parsed
    environment: Mapping[str, str]
    machine: Machine


def settings_from(
    argv: Sequence[str], environment: Mapping[str, str], machine: Machine
) -> ServeSettings:
    """Read a server's command line as its release would.

    Args:
        argv: The whole command, or only its options.
        environment: Variables that it starts with.
        machine: Release, card and model.

    Raises:
        StartRefused: With the release's own words.
    """
    release = machine.release
    parsed = parse(_options_of(argv), release)
    model = parsed.model or parsed.text("model") or machine.model_name
    settings = ServeSettings(
        release=release,
        model=model,
        served_name=parsed.text("served-model-name") or model,
        port=parsed.integer("port", 8000),
        gpu_memory_utilization=parsed.real("gpu-memory-utilization",
                                           release.gpu_memory_utilization),
        kv_cache_memory_bytes=_human(parsed, "kv-cache-memory-bytes"),
        kv_cache_dtype=parsed.text("kv-cache-dtype") or "auto",
        block_size=parsed.integer("block-size", 16),
        scheduler_steps=parsed.integer("num-scheduler-steps", 1),
        offload_bytes=round(parsed.real("kv-offloading-size", 0.0) * BYTES_PER_GIB),
        long_prefill_tokens=parsed.integer("long-prefill-token-threshold", 0),
        stream_interval=parsed.integer("stream-interval", 1),
        performance_mode=parsed.text("performance-mode") or "balanced",
        dummy_weights=parsed.text("load-format") == "dummy",
        dev_mode=environment.get("VLLM_SERVER_DEV_MODE") == "1",
        debug_log=environment.get("VLLM_LOGGING_LEVEL") == "DEBUG",
        compile_cache_disabled=environment.get("VLLM_DISABLE_COMPILE_CACHE") == "1",
        explicit=tuple((name.replace("-", "_"), value) for name, value in parsed.values.items()
                       if name not in _QUIET),
        seed=parsed.integer("seed", 0),
    )  # fmt: skip
    start = _Start(parsed=parsed, environment=environment, machine=machine)
    for refine in (_engine, _lengths, _batch, _switches, _graphs, _backend, _offload):
        settings = refine(settings, start)
    return settings


def _options_of(argv: Sequence[str]) -> list[str]:
    """What follows `serve`; everything if there is no such word, a program name left out."""
    words = list(argv)
    if "serve" in words:
        return words[words.index("serve") + 1 :]
    if "vllm.entrypoints.openai.api_server" in words:
        return words[words.index("vllm.entrypoints.openai.api_server") + 1 :]
    return words


def _human(parsed: Parsed, name: str) -> int | None:
    """A number that may be written 1k, 2M, 25.6K (`human_readable_int`)."""
    text = parsed.text(name)
    if text is None:
        return None
    match = re.fullmatch(r"(-?\d+(?:\.\d+)?)([kKmMgG]?)", text)
    if match is None:
        raise StartRefused(usage(f"argument --{name}: invalid human_readable_int value: {text!r}"))
    return int(float(match[1]) * _UNITS.get(match[2], 1))


def _engine(settings: ServeSettings, start: _Start) -> ServeSettings:
    """V1, V0, or V0 in silence because of an option (`_is_v1_supported_oracle`, 0.8 to 0.10)."""
    release = settings.release
    asked = start.environment.get("VLLM_USE_V1")
    if not release.has_v0:
        if asked == "0" and not release.since(0, 11, 1):
            raise StartRefused(config_error(words.v1_only()))
        known = () if asked is None or not release.since(0, 17) else ("VLLM_USE_V1",)
        return replace(settings, v1=True, ignored=known)
    if asked == "0" or (asked is None and not release.is_v1):
        return replace(settings, v1=False)
    if settings.scheduler_steps > 1:
        if asked == "1":
            raise StartRefused(config_error(words.not_in_v1("--num-scheduler-steps")))
        warning = ("--num-scheduler-steps is not supported by the V1 Engine. Falling back to V0. ",)
        return replace(settings, v1=False, warnings=warning)
    if (
        settings.fp8_kv
        and not release.since(0, 9, 2)
        and start.machine.card.compute_capability[0] != 9
    ):
        warning = ("--kv-cache-dtype is not supported by the V1 Engine. Falling back to V0. ",)
        return replace(settings, v1=False, warnings=warning)
    return settings


def _lengths(settings: ServeSettings, start: _Start) -> ServeSettings:
    own = start.machine.shape.max_position_tokens
    text = start.parsed.text("max-model-len")
    if text in {"auto", "-1"}:
        if not settings.release.since(0, 14):
            raise StartRefused(usage(f"argument --max-model-len: invalid int value: {text!r}"))
        return replace(settings, max_model_len=own, auto_length=True)
    asked = _human(start.parsed, "max-model-len")
    if asked is None:
        return replace(settings, max_model_len=own)
    if asked < 1:
        raise StartRefused(config_error("ValueError: max_model_len must be a positive integer."))
    if asked > own and start.environment.get("VLLM_ALLOW_LONG_MAX_MODEL_LEN") != "1":
        raise StartRefused(config_error(words.over_length(settings.release, asked, own)))
    return replace(settings, max_model_len=asked)


def _batch(settings: ServeSettings, start: _Start) -> ServeSettings:
    """`_set_default_max_num_seqs_and_batched_tokens_args` and `SchedulerConfig`'s checks."""
    release, card = settings.release, start.machine.card
    gib = card.cuda_memory_bytes / BYTES_PER_GIB
    big = gib >= _GIB_BIG_CARD and "a100" not in card.title.lower()
    double = 2 if settings.performance_mode == "throughput" else 1
    chunked = start.parsed.flag("enable-chunked-prefill")
    asked_sequences = start.parsed.values.get("max-num-seqs")
    asked_budget = _human(start.parsed, "max-num-batched-tokens")
    sequences = release.default_max_num_seqs(big_card=big) * double
    budget = release.default_token_budget(big_card=big, huge_card=gib >= _GIB_HUGE_CARD) * double
    if not settings.v1 or (chunked is False and release.since(0, 11, 1)):
        budget = max(budget, settings.max_model_len)
    if asked_sequences is not None:
        sequences = int(asked_sequences)
    budget = min(budget, sequences * settings.max_model_len)
    if asked_budget is not None:
        budget = asked_budget
    if asked_sequences is None:
        sequences = min(sequences, budget)
    if sequences < 1 or budget < 1:
        problem = "Input should be greater than or equal to 1"
        text = words.invalid_field("SchedulerConfig", "max_num_seqs", problem, sequences)
        raise StartRefused(config_error(text))
    if budget < sequences:
        raise StartRefused(config_error(words.too_few_tokens(budget, sequences)))
    if chunked is False and release.since(0, 11, 1) and budget < settings.max_model_len:
        raise StartRefused(config_error(words.short_batch(budget, settings.max_model_len)))
    return replace(settings, max_num_seqs=sequences, token_budget=budget)


def _switches(settings: ServeSettings, start: _Start) -> ServeSettings:
    share = settings.gpu_memory_utilization
    if not 0 < share <= 1:
        problem = "Input should be greater than 0 and less than or equal to 1"
        text = words.invalid_field("CacheConfig", "gpu_memory_utilization", problem, share)
        raise StartRefused(config_error(text))
    caching = start.parsed.flag("enable-prefix-caching")
    asynchronous = start.parsed.flag("async-scheduling")
    on = settings.release.async_default if asynchronous is None else asynchronous
    return replace(
        settings,
        prefix_caching=settings.v1 if caching is None else caching,
        async_scheduling=on and settings.v1,
        chunked_prefill=settings.v1,
    )


def _graphs(settings: ServeSettings, start: _Start) -> ServeSettings:
    """Graph mode and captured sizes (`_set_cudagraph_sizes`, 0.33.0)."""
    release = settings.release
    level = start.parsed.integer("optimization-level", 2) if release.since(0, 12) else 2
    compilation = _compilation_config(start.parsed)
    named = str(compilation.get("cudagraph_mode", "")).upper()
    eager = start.parsed.flag("enforce-eager") or level == 0 or compilation.get("mode") == 0
    if eager and named in {"", "NONE"}:
        return replace(settings, graph_mode=GraphMode.EAGER, optimization_level=0)
    if named == "NONE":
        return replace(settings, graph_mode=GraphMode.COMPILED, optimization_level=level)
    full = release.full_graphs and level >= 2 and named != "PIECEWISE"
    if not settings.v1:
        full = True  # V0 captured whole decode steps
    largest = min(2 * settings.max_num_seqs, 512)
    largest = start.parsed.integer("max-cudagraph-capture-size", largest)
    sizes = [1, 2, 4, *range(8, 256, 8), *range(256, largest + 1, 16)]
    if settings.performance_mode == "interactivity":
        sizes = sorted({*range(1, 33), *sizes})
    return replace(
        settings,
        graph_mode=GraphMode.FULL if full else GraphMode.PIECEWISE,
        graph_sizes=tuple(size for size in sizes if size <= max(largest, 1)),
        optimization_level=level,
    )


def _compilation_config(parsed: Parsed) -> dict[str, object]:
    text = parsed.text("compilation-config")
    if text is None:
        return {}
    if re.fullmatch(r"[0-3]", text):
        return {"mode": int(text)}
    try:
        loaded = json.loads(text)
    except ValueError:
        loaded = None
    if not isinstance(loaded, dict):
        raise StartRefused(usage(f"argument --compilation-config: invalid loads value: {text!r}"))
    return loaded


def _backend(settings: ServeSettings, start: _Start) -> ServeSettings:
    """The attention backend: by option (0.13.0) or by variable (to 0.14.1)."""
    asked = start.parsed.text("attention-backend")
    if asked is None and settings.release.backend_variable:
        asked = start.environment.get("VLLM_ATTENTION_BACKEND")
    return with_backend(settings, asked, start.machine.card, start.machine.shape)


def _offload(settings: ServeSettings, start: _Start) -> ServeSettings:
    """What each release makes of --kv-offloading-size."""
    release = settings.release
    alone = "kv-offloading-size" not in start.parsed.values
    if alone and start.parsed.text("kv-offloading-backend") and not release.since(0, 14):
        raise StartRefused(config_error(words.offload_without_size()))
    if settings.offload_bytes <= 0:
        return replace(settings, offload_bytes=0)
    if not release.since(0, 14):
        raise StartRefused(core_error(words.offload_unset()))
    if not release.since(0, 21) and not start.parsed.flag("disable-hybrid-kv-cache-manager"):
        raise StartRefused(core_error(words.offload_hma()))
    if "expandable_segments:True" in start.environment.get("PYTORCH_CUDA_ALLOC_CONF", "") \
            and release.since(0, 26):  # fmt: skip
        raise StartRefused(config_error(words.offload_expandable()))
    return settings
