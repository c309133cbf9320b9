"""Options that several commands share, and how they change a study file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from autotune.cli.stored import study_names
from autotune.engines import vocabulary
from autotune.errors import UsageError
from autotune.paths import declared_file
from autotune.spec.bounds import MOST_SECONDS
from autotune.spec.files import read_yaml
from autotune.spec.matrix import MatrixSpec, read_matrix
from autotune.spec.study import (
    DeployerName,
    EngineName,
    Preference,
    StudySpec,
    require_measured,
    study_from,
)

StudyArgument = Annotated[
    str, typer.Argument(help="A declared study: a name in studies/ or a path.")
]


def names_like(incomplete: str) -> list[str]:
    """Studies here whose name begins so: what the shell completes."""
    return [name for name in study_names() if name.startswith(incomplete)]


NameArgument = Annotated[
    str,
    typer.Argument(help="Name of a study that was run.", autocompletion=names_like),
]
TrialsOption = Annotated[
    int | None, typer.Option("--trials", min=1, help="How many trials, those before included.")
]
ModelOption = Annotated[str | None, typer.Option("--model", help="Hub id or folder.")]
EngineOption = Annotated[
    EngineName | None, typer.Option("--engine", help="Default: by the machine that is found.")
]
DeployerOption = Annotated[
    DeployerName | None, typer.Option("--deployer", help="How servers are started.")
]
ImageOption = Annotated[str | None, typer.Option("--image", help="Container image for Docker.")]
NameOption = Annotated[
    str | None, typer.Option("--name", help="Name of the results; default: the study's.")
]
SeedOption = Annotated[int | None, typer.Option("--seed", min=0, help="Of sampler and prompts.")]
TimeoutOption = Annotated[
    str | None,
    typer.Option(
        "--timeout",
        help="End after 90m, 2h, 3600s, in a trial too; each run counts anew. A simulated "
        "study counts its virtual time.",
    ),
]
PreferOption = Annotated[
    Preference | None, typer.Option("--prefer", help="Which end of the front is recommended.")
]
FromOption = Annotated[
    str | None,
    typer.Option(
        "--from", help="Measure this earlier study's best first.", autocompletion=names_like
    ),
]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Take nothing from earlier studies.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Only the result.")]

OPTIONS: Final[Mapping[str, str]] = {
    "budget.trials": "--trials",
    "model": "--model",
    "engine.name": "--engine",
    "engine.deployer": "--deployer",
    "engine.image": "--image",
    "name": "--name",
    "seed": "--seed",
    "budget.timeout_s": "--timeout",
    "prefer": "--prefer",
    "from": "--from",
    "fresh": "--fresh",
}
"""Keys of a study file that an option lies over."""

_CELLS: Final = "configurations"
"""The key by which a matrix file is known."""

_OTHER: Final[Mapping[str, str]] = {"from": "fresh", "fresh": "from"}
"""An option and what it puts an end to in the file."""

_UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds_from(text: str) -> float:
    """Seconds out of "90m", "2h", "45s", "1.5h" or a bare number of seconds.

    Raises:
        UsageError: If that is no time.
    """
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS_S else (text, "s")
    try:
        seconds = float(number) * _UNITS_S[unit]
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= MOST_SECONDS:
        message = f"--timeout {text!r} is no time"
        raise UsageError(message, hint="Write it like 90m, 2h or 3600.")
    return seconds


def load_study(study: str, overrides: Mapping[str, Any]) -> StudySpec:
    """A declared study with the command line's options laid over it.

    Args:
        study: Name or path.
        overrides: Dotted key ("engine.image") to value; None leaves the file's.

    Raises:
        UsageError: If there is no such file.
        SpecError: If the file or an option's value is wrong.
    """
    path = declared_file("studies", study, but=is_matrix)
    raw = read_yaml(path)
    raw = {} if raw is None else raw
    if isinstance(raw, dict) and _CELLS in raw:
        message = f"{path} is a matrix, and a study is wanted"
        raise UsageError(message, hint=f"`autotune matrix --matrix {study}` measures its cells.")
    if isinstance(raw, dict):
        raw.setdefault("name", path.stem)
        given = {key: value for key, value in overrides.items() if value is not None}
        if given.get("engine.name") and not given.get("engine.deployer"):
            _forget_deployer(raw, str(given["engine.name"]))
        for key, other in _OTHER.items():
            if given.get(key):
                raw.pop(other, None)
        for key, value in given.items():
            _lay_over(raw, key.split("."), value)
        if isinstance(raw.get("model"), str):
            raw["model"] = absolute_model(raw["model"])
    options = {key: OPTIONS[key] for key, value in overrides.items() if value is not None}
    spec = study_from(raw, where=str(path), options=options)
    require_measured(spec, where=str(path))
    known = vocabulary()
    known.check(spec.baseline, where=f"{path}: baseline")
    for field, named in (("seeds", spec.seeds), ("hints", spec.hints)):
        for index, values in enumerate(named):
            known.check(values, where=f"{path}: {field} -> {index}")
    return spec


def load_matrix(matrix: str) -> MatrixSpec:
    """A declared matrix.

    Raises:
        UsageError: If there is no such file.
        SpecError: If the file is wrong.
    """
    path = declared_file("studies", matrix, but=lambda other: not is_matrix(other))
    return read_matrix(path, vocabulary())


def is_matrix(path: Path) -> bool:
    """Whether a declared file is a matrix, by the key that no study has."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return any(line.startswith(f"{_CELLS}:") for line in text.splitlines())


def _forget_deployer(raw: dict[str, Any], engine: str) -> None:
    """The file's deployer belongs to the file's engine, not to the one that is asked for."""
    section = raw.get("engine")
    if isinstance(section, dict) and (section.get("deployer") == "simulated") != (
        engine == "simulated"
    ):
        section.pop("deployer", None)


def _lay_over(raw: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        nested = raw.setdefault(key, {})
        if not isinstance(nested, dict):
            return  # the file itself is wrong there, and its check will say so
        raw = nested
    raw[keys[-1]] = value


def study_overrides(  # noqa: PLR0917 - one per option, in the command's own order
    trials: int | None,
    model: str | None,
    engine: EngineName | None,
    deployer: DeployerName | None,
    image: str | None,
    name: str | None,
    seed: int | None,
    timeout: str | None,
    prefer: Preference | None,
) -> dict[str, Any]:
    """Options of `autotune study` as keys of its file."""
    return {
        "budget.trials": trials,
        "model": model,
        "engine.name": engine,
        "engine.deployer": deployer,
        "engine.image": image,
        "name": name,
        "seed": seed,
        "budget.timeout_s": None if timeout is None else seconds_from(timeout),
        "prefer": prefer,
    }


def source_overrides(source: str | None, *, fresh: bool) -> dict[str, Any]:
    """What a study takes from earlier ones, as keys of its file.

    Raises:
        UsageError: If both are asked for.
    """
    if source is not None and fresh:
        message = f"--from {source} and --fresh contradict each other"
        raise UsageError(message, hint="--fresh takes nothing from earlier studies.")
    return {"from": source, "fresh": fresh or None}


def absolute_model(model: str) -> str:
    """A folder by its absolute path, a hub's id as it is.

    The engine serves a folder under its absolute path, and a study goes on from anywhere.
    """
    folder = Path(model).expanduser()
    return str(folder.resolve()) if model and folder.is_dir() else model
