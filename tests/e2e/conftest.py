"""Studies of real vLLM on the CPU: each is run once and looked at by several tests."""

import os
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import docker
import pytest
import yaml

from autotune.records import TrialRecord
from autotune.store.codec import decode
from tests.support import machine
from tests.support.command import Place, processes_of

BASE: Final = Path(__file__).with_name("study.yaml")
ENGINE_VARIABLE: Final = "E2E_ENGINE"
"""Set in an image: the folder of the vLLM that is run there."""


@dataclass(frozen=True, kw_only=True)
class RealStudy:
    """A study file for real vLLM, and where it runs.

    Attributes:
        name: Unlike any other's, so that whatever it leaves behind can be told.
        file: The study file.
    """

    name: str
    deployer: str
    file: Path
    place: Place

    def records(self) -> list[TrialRecord]:
        """Every record on disk, in order."""
        paths = sorted((self.place.folder / "studies" / self.name / "trials").glob("*/trial.json"))
        return [decode(path.read_text(), where=str(path)) for path in paths]

    def left_running(self) -> list[str]:
        """What of it still runs or stands, as processes and containers."""
        found = [f"process {pid}" for pid in processes_of(self.name)]
        if self.deployer == "docker":
            client = docker.from_env()
            label = {"label": f"autotune.study={self.name}"}
            found += [f"container {c.id}" for c in client.containers.list(all=True, filters=label)]
            client.close()
        return found


def real_study(deployer: str, folder: Path, changes: Mapping[str, Any] | None = None) -> RealStudy:
    """Write a study file for the vLLM at hand.

    Args:
        deployer: "process" or "docker".
        folder: Where the command is run.
        changes: Fields of the study to replace; `engine` and `workload` are merged.
    """
    changes = dict(changes or {})
    name = f"e2e-{deployer}-{uuid.uuid4().hex[:8]}"
    environment = machine.vllm_environment().resolve()
    program = polite_vllm(environment, folder)
    raw = yaml.safe_load(BASE.read_text())
    raw["engine"] |= {
        "deployer": deployer,
        "command": [str(program), "serve"],
        **changes.pop("engine", {}),
    }
    raw["workload"] |= changes.pop("workload", {})
    if deployer == "docker":
        # The image brings Debian's libraries; Python and vLLM come from this machine.
        base = Path(sys.base_prefix).resolve()
        others = (other,) if (other := machine.other_vllm()) is not None else ()
        folders = (program.parent, environment, *others, base, python_of(environment))
        raw["engine"] |= {
            "image": machine.IMAGE,
            "mounts": [
                {"source": str(f), "target": str(f), "read_only": True}
                for f in dict.fromkeys(folders)
            ],
        }
    raw |= {"name": name, "model": str(machine.model_folder().resolve()), **changes}
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(raw, sort_keys=False))
    place = Place(
        folder=folder, variables={"XDG_CACHE_HOME": str(folder / "cache"), "HF_TOKEN": ""}
    )
    return RealStudy(name=name, deployer=deployer, file=file, place=place)


def polite_vllm(environment: Path, folder: Path) -> Path:
    """The program `vllm`, at a lower priority than whoever measures it.

    Server and load generator share two cores here. Left to themselves the generator comes late,
    and says so: its figures would be its own and not the server's. An image that sets
    ENGINE_VARIABLE holds another release: the program is that one's there.
    """
    program = folder / "bin" / "vllm"
    program.parent.mkdir(exist_ok=True)
    script = program.with_name("polite.py")
    script.write_text(
        "import os, sys\n"
        "from vllm.entrypoints.cli.main import main\n"
        'if __name__ == "__main__":\n'
        "    os.setpriority(os.PRIO_PROCESS, 0, 10)\n"
        "    sys.exit(main())\n"
    )
    # Inside an image the engine's interpreter is looked for beside its program.
    interpreter = program.with_name("python3")
    python = f'"${{{ENGINE_VARIABLE}:-{environment}}}/bin/python"'
    interpreter.write_text(f'#!/bin/sh\nexec {python} "$@"\n')
    program.write_text(f'#!/bin/sh\nexec {python} {script} "$@"\n')
    for file in (program, interpreter):
        file.chmod(0o755)
    return program


def python_of(environment: Path) -> Path:
    """The installation that a virtual environment's interpreter belongs to."""
    return (environment / "bin" / "python").resolve().parent.parent


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("process", marks=pytest.mark.vllm),
        pytest.param("docker", marks=[pytest.mark.vllm, pytest.mark.docker]),
    ],
)
def deployer(request: pytest.FixtureRequest) -> str:
    """Each way to start vLLM; Docker only where its image is there too."""
    return usable(request.param)


def usable(deployer: str) -> str:
    """A deployer's name, where the machine has what the tests need for it."""
    if deployer == "docker" and (reason := machine.no_image()) is not None:
        pytest.fail(reason)
    return deployer


@pytest.fixture(scope="module")
def folder(deployer: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A current directory for the commands of a module, one for each deployer.

    In a common one the second study would take the best of the first as its seeds.
    """
    made = tmp_path_factory.mktemp(f"e2e-{deployer}")
    yield made
    keep = os.environ.get("AUTOTUNE_E2E_KEEP")
    if (
        keep and (made / "studies").is_dir()
    ):  # records and logs of what was run, for whoever reads a failure
        shutil.copytree(made / "studies", Path(keep) / made.name, dirs_exist_ok=True)
