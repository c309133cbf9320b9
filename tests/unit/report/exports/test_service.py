"""From a trial to a service."""

from dataclasses import replace

import pytest

from autotune.errors import UsageError
from autotune.records import Configuration, TrialKind
from autotune.report.exports.command_line import split_command
from autotune.report.exports.service import Service, service_from
from autotune.seams.deployment import LaunchPlan
from autotune.spec.study import EngineModel, StudySpec
from autotune.units import BYTES_PER_GIB
from tests.support.launches import CONFIGURATION, DOCKER, MODEL, PROCESS
from tests.support.records import record


def service(
    launch: LaunchPlan = DOCKER,
    *,
    spec: StudySpec | None = None,
    config: Configuration = CONFIGURATION,
    simulated: bool = False,
) -> Service:
    """The service of a trial."""
    trial = record(5, config=config, simulated=simulated)
    reasons = {"kv_cache_dtype": "Context capacity twice that of auto"}
    return service_from(trial, launch, spec or StudySpec(), reasons=reasons)


def test_what_only_the_measuring_needed_stays_behind() -> None:
    """No development endpoints, no debug log, no cache of autotune's, not the trial's port."""
    made = service()
    assert "VLLM_CACHE_ROOT" not in made.env
    assert [mount.target for mount in made.mounts] == ["/root/.cache/huggingface"]
    assert "VLLM_SERVER_DEV_MODE" not in made.env
    assert "VLLM_LOGGING_LEVEL" not in made.env
    assert "--port" not in {option.flag for option in made.options}
    assert made.port == 8000


def test_a_harness_variable_that_the_user_set_stays() -> None:
    """The study file's own environment is the user's wish."""
    spec = StudySpec(engine=EngineModel(env={"VLLM_LOGGING_LEVEL": "DEBUG"}))
    assert service(spec=spec).env["VLLM_LOGGING_LEVEL"] == "DEBUG"


def test_every_option_has_a_reason() -> None:
    """The recommendation's where there is one, else what the option is."""
    reasons = {option.flag: option.reason for option in service().options}
    assert reasons["--kv-cache-dtype"] == "KV cache type: Context capacity twice that of auto"
    assert reasons["--max-model-len"].startswith("longest request")
    assert all(reasons.values())


def test_options_are_traced_to_their_parameters() -> None:
    """Also where the option has another name, or is a switch that says no."""
    parameters = {option.flag: option.parameter for option in service().options}
    assert parameters["--kv-offloading-size"] == "kv_offload_gib"
    assert parameters["--kv-offloading-backend"] == "kv_offload_gib"
    assert parameters["--no-async-scheduling"] == "async_scheduling"


def test_values_may_be_changed_in_the_env_file_and_switches_not() -> None:
    """The names are those of an ordinary vLLM `.env`."""
    variables = {option.flag: option.variable for option in service().options}
    assert variables["--max-model-len"] == "MAX_MODEL_LEN"
    assert variables["--kv-offloading-size"] == "KV_OFFLOAD_SIZE"
    assert not variables["--no-async-scheduling"]


def test_an_option_that_only_comes_along_says_so() -> None:
    """It has no variable: alone it would make no sense to change."""
    backend = next(o for o in service().options if o.flag == "--kv-offloading-backend")
    assert (backend.reason, backend.variable) == ("goes with --kv-offloading-size", "")


def test_the_image_is_pinned_only_by_a_digest_that_can_be_pulled() -> None:
    """NAME@sha256 pins; the id of a local image does not; without a digest the tag stays."""
    assert service().pinned_image == "vllm/vllm-openai:v0.33.0@sha256:" + "ab12" * 16
    trial = record(5, config=CONFIGURATION)
    local = replace(trial, environment={"image_digest": "sha256:" + "ab12" * 16})
    made = service_from(local, DOCKER, StudySpec())
    assert made.pinned_image == "vllm/vllm-openai:v0.33.0"


def test_the_study_decides_who_reaches_the_port() -> None:
    """127.0.0.1 unless asked otherwise."""
    assert service().bind_host == "127.0.0.1"
    opened = service(spec=StudySpec(bind_host="0.0.0.0", port=9000))
    assert (opened.bind_host, opened.port) == ("0.0.0.0", 9000)


def test_a_simulated_trial_is_marked() -> None:
    """In the first line of every export."""
    assert service(simulated=True).header[0].startswith("SIMULATED")
    assert "SIMULATED" not in " ".join(service().header)


@pytest.mark.parametrize(
    ("argv", "options"),
    [
        (("vllm", "serve", "m", "--a", "1", "--b"), (("--a", "1"), ("--b", None))),
        (("vllm", "serve", "m", "--a=1=2"), (("--a", "1=2"),)),
        (("vllm", "serve", "m", "--a", "-1"), (("--a", "-1"),)),
        (("vllm", "serve", "m", "--a", '{"b": 1}', "-O2"), (("--a", '{"b": 1}'), ("-O2", None))),
        (("vllm", "serve", "m"), ()),
    ],
)
def test_a_command_is_split_into_options(
    argv: tuple[str, ...], options: tuple[tuple[str, str | None], ...]
) -> None:
    """Values after a blank or an equals sign, switches, negative numbers."""
    assert split_command(argv) == (("vllm", "serve"), "m", options)


def test_a_module_that_is_run_by_python_has_its_model_behind_serve() -> None:
    """Its `-m` is Python's own option."""
    argv = ("python3", "-m", "vllm.entrypoints.cli.main", "serve", "m", "--port", "1")

    assert split_command(argv) == (argv[:4], "m", (("--port", "1"),))


def test_a_command_without_a_model_is_refused() -> None:
    """What cannot be exported says so."""
    with pytest.raises(UsageError, match="names no model"):
        split_command(("python", "--model", "m"))


def test_the_trial_of_a_verification_is_not_exported() -> None:
    """Its command is that of exported files."""
    trial = replace(record(5, config=CONFIGURATION), kind=TrialKind.VERIFY)
    with pytest.raises(UsageError, match="another trial was exported"):
        service_from(trial, DOCKER, StudySpec())


def test_the_model_is_what_was_served() -> None:
    """As in the trial's command."""
    assert service().model == MODEL


@pytest.mark.parametrize(
    ("launch", "seen_gib", "room_gib"),
    [(PROCESS, 64, 65), (PROCESS, 63.2, 65), (PROCESS, None, 94),
     (replace(DOCKER, shm_bytes=129 * BYTES_PER_GIB), 64, 65)],
)  # fmt: skip
def test_shared_memory_is_never_larger_than_the_machine(
    launch: LaunchPlan, seen_gib: float | None, room_gib: int
) -> None:
    """64 GiB of offload may be rounded to 128: on 94 GiB it gets what the trial needed."""
    seen = None if seen_gib is None else seen_gib * BYTES_PER_GIB
    trial = record(
        5, config=CONFIGURATION.updated({"kv_offload_gib": 64}), metrics={"shm_peak_bytes": seen}
    )
    here = {**trial.environment, "host_memory_bytes": str(94 * BYTES_PER_GIB)}
    made = service_from(replace(trial, environment=here), launch, StudySpec())
    assert made.shm_bytes == room_gib * BYTES_PER_GIB
