"""Whatever is drawn from a resolved space, the release at hand accepts the command line."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.engines.vllm.launch import launch_plan
from autotune.engines.vllm.legality import refusal, settle
from autotune.engines.vllm.releases import release_table
from autotune.engines.vllm.space import resolve_space
from autotune.records import Configuration, Scalar
from autotune.seams.engine import EngineTarget, LaunchContext, ModelFacts
from autotune.seams.telemetry import Gpu, Hardware
from autotune.spec.files import read_yaml
from autotune.spec.space import DEFAULT, Choice, SearchSpace, space_from
from autotune.units import BYTES_PER_GIB
from tests.support import vllm_flags

ROOT = Path(__file__).parents[4]
SPACE = space_from(read_yaml(ROOT / "search_spaces" / "vllm.yaml"), where="vllm.yaml")


def everything() -> SearchSpace:
    """All that the table has: values of every release, and some of none."""
    parameters = []
    for name, facts in release_table().parameters.items():
        values: set[Scalar] = {v for window in facts.values for v in window.values}
        if facts.kind == "choice":
            values |= {"bogus"}
        elif facts.kind == "boolean":
            values = {True, False}
        else:
            values |= {0, 1, 2, 16, 1000} if facts.kind == "integer" else {0.0, 0.5, 0.9, 24.0}
        choices = (DEFAULT, *sorted(values, key=str))
        parameters.append(Choice(name=name, choices=choices))
    return SearchSpace(name="everything", parameters=tuple(parameters))


EVERYTHING = everything()
GPUS = {
    "T4": (7, 5), "A100": (8, 0), "RTX 3090": (8, 6), "L4": (8, 9), "H100": (9, 0),
    "B200": (10, 0), "RTX 5070": (12, 0),
}  # fmt: skip
MODEL = ModelFacts(name="Qwen/Qwen2.5-7B-Instruct-AWQ", config={"max_position_embeddings": 32768})
HOSTS = st.builds(
    lambda capability, host, shm, wsl: Hardware(
        gpus=(
            Gpu(
                index=0, name="gpu", memory_bytes=12 * BYTES_PER_GIB, compute_capability=capability
            ),
        ),
        host_memory_bytes=host * BYTES_PER_GIB,
        shm_bytes=shm * BYTES_PER_GIB,
        is_wsl=wsl,
    ),
    capability=st.sampled_from(list(GPUS.values())),
    host=st.integers(0, 256),
    shm=st.integers(0, 128),
    wsl=st.booleans(),
)


def context_for(name: str, hardware: Hardware, image: str | None) -> LaunchContext:
    """A start of a golden's release."""
    deployer = "process" if image is None else "docker"
    return LaunchContext(
        target=EngineTarget(deployer=deployer, command=("vllm", "serve"), image=image),
        capabilities=vllm_flags.capabilities(name, digest=image),
        hardware=hardware,
        model=MODEL,
        port=8123,
        served_name="model",
        fixed_arguments=("--seed", "1"),
        cache_dir=Path("/cache"),
    )


def draw(data: st.DataObject, space: SearchSpace) -> Configuration:
    """A configuration that the space allows, or any where it allows none of those drawn."""
    raw: dict[str, Scalar] = {
        p.name: data.draw(st.sampled_from(p.grid()), label=p.name) for p in space.parameters
    }
    return space.active(raw)


@pytest.mark.parametrize("name", [*vllm_flags.RELEASES, vllm_flags.CPU])
@settings(max_examples=15)
@given(data=st.data(), hardware=HOSTS, image=st.sampled_from([None, "sha256:0"]))
def test_a_resolved_space_gives_only_accepted_commands(
    name: str, data: st.DataObject, hardware: Hardware, image: str | None
) -> None:
    """Options, values and variables are the release's own, and the engine refuses none of them."""
    context = context_for(name, hardware, image)
    space = resolve_space(SPACE, context.capabilities, hardware, MODEL).space
    configuration = draw(data, space)
    plan = launch_plan(configuration, context)
    vllm_flags.accepted(name, plan.argv[2:], plan.env)
    if space.refusal(configuration) is None:
        assert refusal(configuration, context.capabilities, hardware, MODEL) is None


@pytest.mark.parametrize("name", [*vllm_flags.RELEASES, vllm_flags.CPU])
@settings(max_examples=15)
@given(data=st.data(), hardware=HOSTS)
def test_screening_lets_no_refused_command_through(
    name: str, data: st.DataObject, hardware: Hardware
) -> None:
    """A configuration of anything that vLLM ever had is refused before the start, or accepted."""
    context = context_for(name, hardware, None)
    asked = draw(data, EVERYTHING)
    some = data.draw(st.sets(st.sampled_from(sorted(asked.values) or [""]), max_size=4))
    configuration = Configuration.of({n: v for n, v in asked.items if n in some})
    if refusal(configuration, context.capabilities, hardware, MODEL) is None:
        plan = launch_plan(configuration, context)
        vllm_flags.accepted(name, plan.argv[2:], plan.env)


@pytest.mark.parametrize("name", [*vllm_flags.RELEASES, vllm_flags.CPU])
@settings(max_examples=15)
@given(data=st.data(), hardware=HOSTS)
def test_what_is_settled_can_be_started(name: str, data: st.DataObject, hardware: Hardware) -> None:
    """Settling any configuration leaves one that is accepted, and loses no setting unsaid."""
    context = context_for(name, hardware, None)
    asked = draw(data, EVERYTHING)
    settled = settle(asked, context.capabilities, hardware)
    said = {*settled.configuration.values, *settled.redundant}
    assert {r.parameter for r in settled.left_out} | said == set(asked.values)
    plan = launch_plan(settled.configuration, context)
    vllm_flags.accepted(name, plan.argv[2:], plan.env)
