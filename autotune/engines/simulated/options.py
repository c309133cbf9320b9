"""The options of `vllm serve` that the simulated server takes, with the releases that have them.

Ranges are those of `engine/arg_utils.py` in the releases. An option that none of this table knows
is refused as argparse refuses it: with the usage and exit code 2.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from autotune.engines.simulated.refusals import StartRefused, usage
from autotune.engines.simulated.release import Release

Value = str | int | float | bool


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        kind: "int", "float", "text" or "flag" (which also has a `--no-` form).
        first: The release that brought it.
        gone: The first release without it; None while it lives.
        choices: Legal values by release; None for any.
    """

    kind: str
    first: tuple[int, int, int] = (0, 6, 0)
    gone: tuple[int, int, int] | None = None
    choices: Callable[[Release], tuple[str, ...] | None] | None = None

    def is_in(self, release: Release) -> bool:
        """Whether a release has it."""
        return self.first <= release.version and (self.gone is None or release.version < self.gone)


def _block_sizes(release: Release) -> tuple[str, ...] | None:
    sizes = release.block_sizes
    return None if sizes is None else tuple(str(size) for size in sizes)


OPTIONS: Final = {
    "model": Option("text"),
    "tokenizer": Option("text"),
    "served-model-name": Option("text"),
    "revision": Option("text"),
    "host": Option("text"),
    "port": Option("int"),
    "api-key": Option("text"),
    "seed": Option("int"),
    "dtype": Option("text"),
    "quantization": Option("text"),
    "load-format": Option("text"),
    "download-dir": Option("text"),
    "trust-remote-code": Option("flag"),
    "enforce-eager": Option("flag"),
    "max-model-len": Option("text"),
    "max-num-seqs": Option("int"),
    "max-num-batched-tokens": Option("text"),
    "gpu-memory-utilization": Option("float"),
    "kv-cache-memory-bytes": Option("text", first=(0, 10, 2)),
    "kv-cache-dtype": Option("text", choices=lambda release: release.kv_dtypes),
    "block-size": Option("int", choices=_block_sizes),
    "swap-space": Option("float", gone=(0, 18, 0)),
    "cpu-offload-gb": Option("float"),
    "num-gpu-blocks-override": Option("int"),
    "enable-prefix-caching": Option("flag"),
    "enable-chunked-prefill": Option("flag"),
    "num-scheduler-steps": Option("int", gone=(0, 10, 1)),
    "multi-step-stream-outputs": Option("text", first=(0, 6, 6), gone=(0, 10, 1)),
    "async-scheduling": Option("flag", first=(0, 10, 0)),
    "attention-backend": Option("text", first=(0, 13, 0)),
    "kv-offloading-size": Option("float", first=(0, 11, 1)),
    "kv-offloading-backend": Option(
        "text", first=(0, 11, 1), choices=lambda _release: ("native", "lmcache")
    ),
    "kv-transfer-config": Option("text", first=(0, 7, 0)),
    "disable-hybrid-kv-cache-manager": Option("flag", first=(0, 9, 2)),
    "long-prefill-token-threshold": Option("int", first=(0, 7, 3)),
    "stream-interval": Option("int", first=(0, 11, 1)),
    "performance-mode": Option(
        "text",
        first=(0, 17, 0),
        choices=lambda _release: ("balanced", "interactivity", "throughput"),
    ),
    "optimization-level": Option("int", first=(0, 12, 0)),
    "compilation-config": Option("text", first=(0, 6, 6)),
    "cudagraph-capture-sizes": Option("text", first=(0, 11, 1)),
    "max-cudagraph-capture-size": Option("int", first=(0, 11, 1)),
    "scheduling-policy": Option("text", choices=lambda _release: ("fcfs", "priority")),
    "tensor-parallel-size": Option("int"),
    "pipeline-parallel-size": Option("int"),
    "disable-log-stats": Option("flag"),
    "disable-log-requests": Option("flag", gone=(0, 17, 0)),
    "enable-log-requests": Option("flag", first=(0, 10, 1)),
    "disable-uvicorn-access-log": Option("flag"),
    "uvicorn-log-level": Option("text"),
    "chat-template": Option("text"),
    "generation-config": Option("text", first=(0, 6, 6)),
    "override-generation-config": Option("text", first=(0, 7, 3)),
    "limit-mm-per-prompt": Option("text"),
    "enable-server-load-tracking": Option("flag", first=(0, 8, 0)),
    "safetensors-load-strategy": Option("text", first=(0, 10, 2)),
    "enable-prompt-tokens-details": Option("flag"),
}
_SHORT: Final = {"-O": "optimization-level", "-tp": "tensor-parallel-size", "-cc":
                 "compilation-config", "-ac": "attention-config", "-q": "quantization",
                 "-pp": "pipeline-parallel-size"}  # fmt: skip


def names_in(release: Release) -> frozenset[str]:
    """Every option of a release, without leading dashes, `no-` forms included."""
    known = {name for name, option in OPTIONS.items() if option.is_in(release)}
    negated = {f"no-{name}" for name in known if OPTIONS[name].kind == "flag"}
    return frozenset(known | (negated if release.since(0, 8, 5) else set()))


@dataclass(frozen=True)
class Parsed:
    """A command line, split.

    Attributes:
        model: The positional argument; None if it is missing.
        values: Option to value, as given.
    """

    model: str | None
    values: dict[str, Value]

    def text(self, name: str) -> str | None:
        """A value as text; None if it was not given."""
        value = self.values.get(name)
        return None if value is None else str(value)

    def integer(self, name: str, default: int) -> int:
        """A number, or the default."""
        value = self.values.get(name)
        return default if value is None else int(value)

    def real(self, name: str, default: float) -> float:
        """A number, or the default."""
        value = self.values.get(name)
        return default if value is None else float(value)

    def flag(self, name: str) -> bool | None:
        """True, False, or None if neither form was given."""
        value = self.values.get(name)
        return None if value is None else bool(value)


def parse(arguments: list[str], release: Release) -> Parsed:
    """Read options as `FlexibleArgumentParser` does: underscores, `=`, unique prefixes.

    Raises:
        StartRefused: With the usage and exit code 2.
    """
    known = names_in(release)
    model: str | None = None
    values: dict[str, Value] = {}
    unknown: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            if model is None and not unknown:
                model = word
            else:
                unknown.append(word)
            continue
        if re.fullmatch(r"-O\d", word):  # a short option with its value attached
            rest.insert(0, word[2:])
            word = "-O"
        written, equals, given = word.partition("=")
        name = _full_name(written, known)
        if name is None:
            unknown.append(word)
            continue
        if _is_flag(name):
            values[name.removeprefix("no-")] = not name.startswith("no-")
            continue
        if not equals:
            if not rest:
                raise StartRefused(usage(f"argument --{name}: expected one argument"))
            given = rest.pop(0)
        values[name] = _convert(name, given, release)
    if unknown:
        raise StartRefused(usage(f"unrecognized arguments: {' '.join(unknown)}"))
    return Parsed(model, values)


def _is_flag(name: str) -> bool:
    option = OPTIONS.get(name.removeprefix("no-")) or OPTIONS[name]
    return option.kind == "flag"


def _full_name(written: str, known: frozenset[str]) -> str | None:
    if written in _SHORT:
        return _SHORT[written] if _SHORT[written] in known else None
    if not written.startswith("--"):
        return None
    name = written[2:].replace("_", "-")
    if name in known:
        return name
    longer = [other for other in known if other.startswith(name)]
    return longer[0] if len(longer) == 1 else None


def _convert(name: str, given: str, release: Release) -> Value:
    option = OPTIONS[name]
    value: Value = given
    try:
        if option.kind == "int":
            value = int(given)
        elif option.kind == "float":
            value = float(given)
    except ValueError:
        text = f"argument --{name}: invalid {option.kind} value: {given!r}"
        raise StartRefused(usage(text)) from None
    choices = option.choices(release) if option.choices is not None else None
    if choices is not None and str(value) not in choices:
        listed = ", ".join(choices)
        text = f"argument --{name}: invalid choice: {given!r} (choose from {listed})"
        raise StartRefused(usage(text))
    return value
