"""The declared table against what the packages themselves say."""

import pytest

from autotune.engines.vllm.releases import ParameterFacts, parse_release, release_table
from tests.support import vllm_flags

CASES = [
    pytest.param(name, parameter, id=f"{name}-{parameter}")
    for name in (*vllm_flags.RELEASES, vllm_flags.CPU)
    for parameter in release_table().parameters
]


def facts_of(parameter: str) -> ParameterFacts:
    """The table's entry."""
    return release_table().parameters[parameter]


def platform_of(name: str) -> str:
    """The platform that a golden was read for."""
    return "cpu" if name == vllm_flags.CPU else "cuda"


@pytest.mark.parametrize("name", [*vllm_flags.RELEASES, vllm_flags.CPU])
def test_each_golden_holds_a_whole_release(name: str) -> None:
    """A golden that was read from a broken package would lack most options."""
    flags = vllm_flags.flag_names(name)
    assert len(flags) >= 130
    assert {"host", "port", "served-model-name", "revision", "max-model-len"} <= flags
    assert "FLASH_ATTN" in vllm_flags.golden(name)["backends"]
    assert "VLLM_CACHE_ROOT" in vllm_flags.golden(name)["environment"]


@pytest.mark.parametrize(("name", "parameter"), CASES)
def test_what_the_table_spells_is_in_the_package(name: str, parameter: str) -> None:
    """Every option or variable that the table names for a release exists in it."""
    release = parse_release(vllm_flags.version(name))
    spelling = facts_of(parameter).spelling(release, platform_of(name))
    if spelling is None:
        return
    negations = {f"no-{flag}" for flag in vllm_flags.golden(name)["options"].get("pair", [])}
    assert set(spelling.flags) <= vllm_flags.flag_names(name) | negations
    if spelling.key is not None:
        assert spelling.key in vllm_flags.golden(name)["compilation_fields"]
    if spelling.env is not None:
        assert spelling.env in vllm_flags.golden(name)["environment"]


@pytest.mark.parametrize(("name", "parameter"), CASES)
def test_what_the_table_says_is_absent_is_absent(name: str, parameter: str) -> None:
    """Where the table has no spelling for a GPU, no spelling of another release works."""
    release = parse_release(vllm_flags.version(name))
    facts = facts_of(parameter)
    if name == vllm_flags.CPU or facts.spelling(release, "cuda") is not None:
        return
    on_gpu = [s for s in facts.spellings if "cuda" in s.platforms]
    options = {s.flags[0] for s in on_gpu if s.flags and s.key is None}
    assert not options & vllm_flags.flag_names(name)
    keys = {s.key for s in on_gpu if s.key is not None}
    assert not keys & set(vllm_flags.golden(name)["compilation_fields"])
    # A variable may still be known and have no effect: VLLM_USE_V1 in 0.11.0.
    if release != parse_release("0.11.0"):
        variables = {s.env for s in on_gpu if s.env}
        assert not variables & set(vllm_flags.golden(name)["environment"])


@pytest.mark.parametrize(("name", "parameter"), CASES)
def test_values_of_the_table_are_listed_by_the_package(name: str, parameter: str) -> None:
    """Every value that the table calls legal is one of the package's own."""
    release = parse_release(vllm_flags.version(name))
    platform = platform_of(name)
    spelling = facts_of(parameter).spelling(release, platform)
    legal = facts_of(parameter).legal_values(release, platform)
    if spelling is None or legal is None:
        return
    if parameter == "attention_backend":
        assert set(legal) <= set(vllm_flags.golden(name)["backends"])
    elif spelling.flag is not None and spelling.flag in vllm_flags.golden(name)["listed"]:
        assert set(legal) <= set(vllm_flags.golden(name)["listed"][spelling.flag])


PACKAGE_MEANS = {
    ("async_scheduling", None): True,  # "auto" from 0.14.0: on unless something forbids it
    ("kv_offload_gib", None): 0,
    ("enforce_eager", None): False,
    ("optimization_level", "OptimizationLevel.O2"): 2,
}
"""What a default of the package amounts to, where it is not the value itself."""


@pytest.mark.parametrize("name", vllm_flags.RELEASES)
def test_defaults_of_the_table_are_the_package_s(name: str) -> None:
    """A default that changed between releases changed in the table too."""
    release = parse_release(vllm_flags.version(name))
    written = vllm_flags.golden(name)["defaults"]
    assert len(written) >= 7
    for parameter, value in written.items():
        default = facts_of(parameter).default(release, "cuda")
        assert default is not None, parameter
        assert default.value == PACKAGE_MEANS.get((parameter, value), value), parameter
