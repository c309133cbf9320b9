"""One setting held against the engine at hand: can it be asked for, and would it change anything.

`space.py` uses this for every value of a search space, `launch.py` for what it writes.
"""

from dataclasses import dataclass
from typing import Literal

from autotune.engines.vllm.compatibility import Circumstances, rule_book
from autotune.engines.vllm.releases import ParameterFacts, Spelling, release_table
from autotune.records import Scalar
from autotune.seams.engine import Capabilities

Standing = Literal["settable", "default", "lacking"]

SHM_OFFLOAD_FIRST = (0, 27, 0)
"""From this release on offloaded KV blocks lie in /dev/shm (v1/kv_offload/cpu/spec.py)."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What asking for a value amounts to.

    Attributes:
        standing: "settable"; "default" if the engine does it anyway; "lacking" if it cannot.
        reason: Why it is not settable, for people.
    """

    standing: Standing
    reason: str = ""


def judge(name: str, value: Scalar, capabilities: Capabilities, at: Circumstances) -> Judgement:
    """Hold one setting against release, installation, machine and model."""
    facts = release_table().find(name)
    if facts is None:
        return Judgement(standing="lacking", reason=f"vLLM has no parameter {name!r}")
    value = facts.own_name(value, at.release, at.platform)
    if (wrong := facts.out_of_kind(value)) is not None:
        return Judgement(standing="lacking", reason=wrong)
    default = facts.default(at.release, at.platform)
    if default is not None and facts.is_default(value, at.release, at.platform):
        note = default.note or f"{_shown(value)} is what vLLM {at.release} does by default"
        return Judgement(standing="default", reason=note)
    lack = (
        _unspoken(facts, capabilities, at)
        or _defect(facts, value, at)
        or _illegal(name, facts, value, capabilities, at)
        or _too_large(name, value, at)
    )
    if lack:
        return Judgement(standing="lacking", reason=lack)
    return _by_rules(name, value, at)


def spelling(name: str, at: Circumstances) -> Spelling | None:
    """How a parameter is said to the release at hand; None if it cannot be said."""
    facts = release_table().find(name)
    return None if facts is None else facts.spelling(at.release, at.platform)


def _shown(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def _unspoken(facts: ParameterFacts, capabilities: Capabilities, at: Circumstances) -> str | None:
    """Why there is no way to say it: not in the release, or not in this installation."""
    found = facts.spelling(at.release, at.platform)
    if found is None:
        return facts.absence(at.release, at.platform)
    missing = [f for f in found.flags if capabilities.flags and f not in capabilities.flags]
    if missing:
        return f"this installation of vLLM {at.release} has no --{missing[0]}"
    if found.env and capabilities.environment and found.env not in capabilities.environment:
        return f"this installation of vLLM {at.release} does not read {found.env}"
    return None


def _defect(facts: ParameterFacts, value: Scalar, at: Circumstances) -> str | None:
    defect = facts.defect(value, at.release, at.platform)
    return None if defect is None else defect.reason


def _illegal(
    name: str,
    facts: ParameterFacts,
    value: Scalar,
    capabilities: Capabilities,
    at: Circumstances,
) -> str | None:
    """Why a value is none of this release's, by the table and by the installed files."""
    legal = facts.legal_values(at.release, at.platform)
    if legal is not None and value not in legal:
        listed = ", ".join(_shown(v) for v in legal)
        return f"{_shown(value)} is no value of vLLM {at.release} on {at.platform} ({listed})"
    found = capabilities.choices.get(name)
    if found and str(value) not in found:
        return f"the installed files of vLLM {at.release} do not list {_shown(value)}"
    return None


def _too_large(name: str, value: Scalar, at: Circumstances) -> str | None:
    """Why a size is over what host, /dev/shm or model can ever hold."""
    if not isinstance(value, int | float):
        return None
    if name == "max_model_len" and at.model_len_tokens is not None and value > at.model_len_tokens:
        return f"the model's own files allow {at.model_len_tokens} tokens"
    if name not in ("kv_offload_gib", "cpu_offload_gib", "cpu_kv_cache_gib"):
        return None
    reserve = rule_book().host_reserve_gib
    if at.host_gib is not None and value > at.host_gib - reserve:
        return (f"the host has {at.host_gib:.1f} GiB, of which {reserve:g} GiB are for the system "
                "and the engine itself")  # fmt: skip
    if (name == "kv_offload_gib" and at.release >= SHM_OFFLOAD_FIRST
            and at.shm_gib is not None and value > at.shm_gib):  # fmt: skip
        return (f"from 0.27.0 on the offload lies in /dev/shm, which holds {at.shm_gib:.1f} GiB "
                "here")  # fmt: skip
    return None


def _by_rules(name: str, value: Scalar, at: Circumstances) -> Judgement:
    """What the rules about this one setting say."""
    for rule in rule_book().rules:
        is_about_it = list(rule.settings) == [name] and rule.when.holds(at)
        if is_about_it and rule.matches(name, value, at):
            if rule.verdict in ("refused", "ignored"):
                return Judgement(standing="lacking", reason=rule.reason)
            if rule.verdict == "redundant":
                return Judgement(standing="default", reason=rule.reason)
    return Judgement(standing="settable")
