"""Settings in few characters, for tables that must fit 80 columns; the page has them in full."""

from collections.abc import Iterable, Mapping
from typing import Final

from autotune.records import Configuration, Outcome, Scalar

DEFAULTS: Final = "defaults"
"""What a configuration is called that sets nothing; with room, `Configuration` has it longer."""

SHORT: Final[Mapping[str, str]] = {
    "attention_backend": "attn",
    "async_scheduling": "async",
    "block_size": "block",
    "enable_prefix_caching": "prefix",
    "enforce_eager": "eager",
    "gpu_memory_utilization": "util",
    "kv_cache_dtype": "kv",
    "kv_offload_gib": "offload",
    "max_model_len": "len",
    "max_num_batched_tokens": "batch",
    "max_num_seqs": "seqs",
    "performance_mode": "mode",
    "scheduler_steps": "steps",
}
"""Parameter to its short name; others keep their own."""


def brief_settings(configuration: Configuration, against: Configuration | None = None) -> str:
    """What differs from a reference, short: "attn=FLASHINFER seqs=64 prefix=off".

    Where nothing is set, and where nothing differs, the configuration's own name: "defaults"
    beside a default that was lowered, which is "util=0.9".
    """
    if not configuration.items:
        return DEFAULTS
    other = {} if against is None else against.values
    mine = configuration.values
    parts = [f"{_name(n)}={_value(v)}" for n, v in mine.items() if other.get(n) != v]
    parts += [f"{_name(n)}=default" for n in other if n not in mine]
    return " ".join(parts) or brief_settings(configuration)


def brief_outcome(outcome: Outcome) -> str:
    """What went wrong in two or three words; "ok" if nothing did."""
    if outcome.failure is None:
        return "ok"
    return outcome.failure.kind.value.replace("_", " ")


def legend(configurations: Iterable[Configuration]) -> str:
    """The short names that these configurations use, with what they stand for."""
    used = {name for c in configurations for name, _ in c.items} & set(SHORT)
    return ", ".join(f"{SHORT[name]} {name}" for name in sorted(used))


def _name(parameter: str) -> str:
    return SHORT.get(parameter, parameter)


def _value(value: Scalar) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)
