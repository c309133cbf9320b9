"""Whose servers keep others from the cards."""

from dataclasses import replace
from pathlib import Path

import pytest

from autotune.cli.running import gpu_locks, open_study
from autotune.cli.wiring import Workbench
from autotune.errors import HostError
from autotune.spec.study import study_from


@pytest.fixture
def simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    """A study of a simulated card; locks lie in the test's folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("autotune.deployers.gpu_lock.FOLDER", tmp_path)
    spec = study_from({"engine": {"name": "simulated"}}, where="test")
    return open_study(spec).workbench


def test_two_studies_of_one_card_are_not_run_at_once(simulated: Workbench) -> None:
    """The second is refused while the first runs, whatever their names."""
    target = replace(simulated.context.target, gpus=True)
    real = replace(
        simulated,
        backend=replace(simulated.backend, simulated=False),
        context=replace(simulated.context, target=target),
    )
    with gpu_locks(real), pytest.raises(HostError, match="another autotune"):
        gpu_locks(real).__enter__()
    with gpu_locks(real):
        pass


def test_simulated_studies_run_side_by_side(simulated: Workbench) -> None:
    """They use no card."""
    assert simulated.context.hardware.gpus
    with gpu_locks(simulated), gpu_locks(simulated):
        pass
