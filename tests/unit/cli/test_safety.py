"""Room on the machine, and who may ask the servers."""

import pytest

from autotune.cli.safety import authorization, exposure, key_variable, require_room
from autotune.cli.wiring import target_of
from autotune.errors import SpecError, UsageError
from autotune.seams.telemetry import Gpu, Hardware
from autotune.spec.study import StudySpec, study_from

GIB = 1024**3
MACHINE = Hardware(
    gpus=(Gpu(index=0, name="g", memory_bytes=12 * GIB, compute_capability=(12, 0)),),
    host_memory_bytes=94 * GIB,
)
KEY = {"VLLM_API_KEY": "abc123abc123"}


def study(**fields: object) -> StudySpec:
    """A study of these fields."""
    return study_from(fields, where="test")


@pytest.mark.parametrize(
    ("headroom", "says"),
    [
        (
            {"host_gib": 94},
            "headroom -> host_gib: 94 GiB shall stay free, and this machine has 94.0",
        ),
        ({"host_gib": 300}, "has 94.0 GiB of memory"),
        ({"gpu_gib": 12}, "headroom -> gpu_gib: 12 GiB shall stay free"),
    ],
)
def test_a_headroom_that_leaves_nothing_is_refused(headroom: dict[str, int], says: str) -> None:
    """Every trial would break it, one after the other."""
    with pytest.raises(SpecError) as caught:
        require_room(study(headroom=headroom), MACHINE)
    assert says in caught.value.message


def test_a_headroom_within_the_machine_is_fine() -> None:
    """And one for a GPU where there is none."""
    require_room(study(headroom={"gpu_gib": 11, "host_gib": 93}), MACHINE)
    require_room(study(headroom={"gpu_gib": 80}), Hardware(host_memory_bytes=94 * GIB))


def test_a_key_is_taken_from_the_variable_that_the_study_names() -> None:
    """Its value is in no file; a variable that is not set is an error that names it."""
    spec = study(engine={"deployer": "docker", "api_key_env": "VLLM_API_KEY"})
    assert authorization(spec, KEY) == {"Authorization": "Bearer abc123abc123"}
    with pytest.raises(UsageError) as caught:
        authorization(spec, {})
    assert "VLLM_API_KEY is not set" in caught.value.message
    assert "abc123abc123" not in spec.model_dump_json()


def test_a_process_has_the_key_of_the_environment_that_it_inherits() -> None:
    """Else autotune's own requests would be refused; a container inherits nothing."""
    assert authorization(study(engine={"deployer": "process"}), KEY) != {}
    assert authorization(study(engine={"deployer": "docker"}), KEY) == {}
    assert authorization(study(engine={"deployer": "process"}), {}) == {}


def test_servers_that_others_reach_ask_for_a_key_that_is_made_for_the_run() -> None:
    """One that the user has set is used; what is made is long, new each time, and in no file."""
    spec = study(bind_host="0.0.0.0", engine={"deployer": "docker"})
    made: list[str] = []
    for _ in range(2):
        environ: dict[str, str] = {}
        asked = authorization(spec, environ)
        made.append(environ["VLLM_API_KEY"])
        assert asked == {"Authorization": f"Bearer {made[-1]}"}
    assert made[0] != made[1]
    assert min(map(len, made)) >= 32
    assert key_variable(spec) == "VLLM_API_KEY"
    assert authorization(spec, KEY) == {"Authorization": "Bearer abc123abc123"}
    assert key_variable(study(bind_host="127.0.0.1")) is None
    assert target_of(spec, MACHINE).api_key_env == "VLLM_API_KEY"


def test_trials_on_an_open_address_are_warned_of() -> None:
    """A key keeps nobody from /health and /metrics."""
    (warning,) = exposure(study(bind_host="0.0.0.0"))
    assert "0.0.0.0" in warning
    assert "VLLM_API_KEY" in warning
    keyed = study(bind_host="0.0.0.0", engine={"api_key_env": "VLLM_API_KEY"})
    assert exposure(keyed) == exposure(study()) == ()
