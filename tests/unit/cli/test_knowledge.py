"""What a study starts from: the simulated card, the matrix, and earlier studies."""

from dataclasses import replace
from pathlib import Path

import pytest

from autotune.cli.knowledge import knowledge_for
from autotune.cli.options import load_study
from autotune.cli.running import open_study
from autotune.cli.wiring import Workbench, environment_of
from autotune.errors import UsageError
from autotune.records import Configuration, Outcome, OutcomeStatus, TrialKind, TrialRecord
from autotune.seams.telemetry import Hardware
from autotune.store import TrialStore, write_study

GOOD = Configuration.of({"max_num_seqs": 64, "gpu_memory_utilization": 0.9})


def workbench_of(name: str, *, prior: str = "auto") -> Workbench:
    """A simulated study of this name."""
    spec = load_study("default", {"engine.name": "simulated", "name": name})
    search = spec.search.model_copy(update={"prior": prior})
    spec = spec.model_copy(update={"search": search})
    return open_study(spec, hardware=Hardware()).workbench


def run_before(name: str, release: str = "0.32.0", gpu: str | None = None) -> None:
    """A study of one good trial lies on the disk."""
    workbench = workbench_of(name)
    spec = workbench.spec
    write_study(workbench.paths, spec, workbench.space.space)
    environment = environment_of(workbench.context) | {"engine_release": release}
    environment |= {} if gpu is None else {"gpu": gpu}
    trial = TrialRecord(
        study=name,
        number=0,
        kind=TrialKind.SEARCH,
        configuration=GOOD,
        outcome=Outcome(status=OutcomeStatus.MEASURED),
        metrics={o.metric: 1000.0 for o in spec.objectives},
        environment=environment,
        simulated=True,
    )
    TrialStore(workbench.paths, spec.name).append(trial)


def test_the_search_starts_from_the_card_of_its_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every objective is predicted, and the user is told by what."""
    monkeypatch.chdir(tmp_path)
    workbench = workbench_of("new")
    known = knowledge_for(workbench, source=None, fresh=False)
    predicted = known.prior(Configuration())
    assert predicted is not None
    assert {o.metric for o in workbench.spec.objectives} <= predicted.keys()
    assert known.said == ("the search starts from the simulated NVIDIA GeForce RTX 5070",)


def test_the_memory_model_alone_is_enough_where_that_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """search.prior: memory predicts context capacity and no throughput."""
    monkeypatch.chdir(tmp_path)
    known = knowledge_for(workbench_of("new", prior="memory"), source=None, fresh=False)
    predicted = known.prior(Configuration()) or {}
    assert "context_capacity_tokens" in predicted
    assert "output_tokens_per_s" not in predicted


def test_an_earlier_study_of_the_model_is_measured_first_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its best configuration is a seed, after the study's own."""
    monkeypatch.chdir(tmp_path)
    run_before("old")
    workbench = workbench_of("new")
    known = knowledge_for(workbench, source=None, fresh=False)
    own = workbench.spec.model_copy(update={"seeds": [{"max_num_seqs": 16}]})
    assert known.seeded(own).seeds == [{"max_num_seqs": 16}, dict(GOOD.values)]
    assert any(
        line.startswith("1 good configuration of study old (simulated 0.32.0")
        for line in known.said
    )


def test_a_fresh_study_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--fresh."""
    monkeypatch.chdir(tmp_path)
    run_before("old")
    known = knowledge_for(workbench_of("new"), source=None, fresh=True)
    assert (known.seeds, known.earlier) == ((), None)


def test_a_study_that_is_asked_for_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--from with a wrong name says so."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no study 'none'"):
        knowledge_for(workbench_of("new"), source="none", fresh=False)


def test_regressions_against_the_earlier_study_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half the throughput with the new release: named with the study it was better in."""
    monkeypatch.chdir(tmp_path)
    run_before("old")
    workbench = workbench_of("new")
    known = knowledge_for(workbench, source="old", fresh=False)
    assert known.earlier is not None
    then = known.earlier.records[0]
    slower = {**then.metrics, "output_tokens_per_s": 500.0}
    told = known.regressions(workbench.spec, [replace(then, study="new", metrics=slower)])
    assert len(told) == 1
    assert "0.50 times" in told[0]
    assert "worse than in old (simulated 0.32.0" in told[0]


def test_the_studys_own_file_names_what_was_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it runs again as it was, whatever becomes of the earlier study."""
    monkeypatch.chdir(tmp_path)
    run_before("old")
    workbench = workbench_of("new")
    own = workbench.spec.model_copy(update={"seeds": [{"max_num_seqs": 16}], "source": "old"})
    named = knowledge_for(workbench, source="old", fresh=False).named(own)
    assert named.seeds == [{"max_num_seqs": 16}, dict(GOOD.values)]
    assert (named.source, named.fresh) == (None, True)
    before = own.model_copy(update={"seeds": [{"max_num_seqs": 32}]})
    again = knowledge_for(workbench, source="old", fresh=False).named(own, before)
    assert again.seeds == [{"max_num_seqs": 32}, {"max_num_seqs": 16}, dict(GOOD.values)]


def test_hints_of_the_file_are_among_the_candidates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the matrix's, and only what the space holds."""
    monkeypatch.chdir(tmp_path)
    workbench = workbench_of("new")
    hints = [dict(GOOD.values), {"max_num_seqs": 17}]
    hinted = replace(workbench, spec=workbench.spec.model_copy(update={"hints": hints}))
    known = knowledge_for(hinted, source=None, fresh=True)
    assert known.hints[0] == GOOD
    assert Configuration.of({"max_num_seqs": 17}) not in known.hints
    assert len(known.hints) > 1


def test_what_did_well_on_another_machine_is_a_hint_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a candidate and no seed; the file says so by its values."""
    monkeypatch.chdir(tmp_path)
    run_before("old", gpu="NVIDIA H100")
    workbench = workbench_of("new")
    known = knowledge_for(workbench, source=None, fresh=False)
    assert known.seeds == ()
    assert known.hints[0] == GOOD
    assert known.named(workbench.spec).hints == [dict(GOOD.values)]
