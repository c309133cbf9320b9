"""`autotune calibrate`: from folders of real trials to a card's file and what it is worth."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.cli.commands.calibrate import (
    calibrate,
    effects_table,
    load_figures,
    measured_in,
)
from autotune.engines.model_shape import shape_of
from autotune.engines.simulated.card import card_named
from autotune.engines.simulated.card_values import with_values
from autotune.engines.simulated.effects import Effect
from autotune.engines.simulated.release import release_named
from autotune.engines.simulated.replay import Replay, replayed_metrics
from autotune.errors import UsageError
from autotune.paths import StudyPaths
from autotune.records import (
    Applied,
    Configuration,
    Outcome,
    OutcomeStatus,
    Scalar,
    TrialKind,
    TrialRecord,
)
from autotune.spec.space import space_from
from autotune.spec.study import StudySpec
from autotune.spec.workload import Workload
from autotune.store import TrialStore, write_study
from tests.unit.engines.simulated.rig import QWEN_1B5

_WORKLOAD = Workload(
    requests=12,
    concurrency=6,
    prompt_tokens=128,
    output_tokens=12,
    warmup_requests=0,
    ttft_max_tokens=8,
    long_context_tokens=(8192,),
)
_CELLS: Mapping[str, tuple[tuple[str, ...], dict[str, Scalar]]] = {
    "base": ((), {}),
    "eager": (("--enforce-eager",), {"enforce_eager": True}),
    "sync": (("--no-async-scheduling",), {"async_scheduling": False}),
    "seqs-2": (("--max-num-seqs", "2"), {"max_num_seqs": 2}),
    "again": (("--attention-backend", "FLASH_ATTN"), {"attention_backend": "FLASH_ATTN"}),
}


def _study(root: Path, *, gpu: str = "NVIDIA H100 80GB HBM3", name: str = "real") -> Path:
    """A folder as a study on a real card leaves it; its truth is a slower simulated H100."""
    truth = with_values(card_named("h100"), {"gemm.compute": 0.5, "host.iteration_us": 3000.0})
    models = root / "models" / "small"
    models.mkdir(parents=True, exist_ok=True)
    (models / "config.json").write_text(json.dumps(QWEN_1B5.config), encoding="utf-8")
    paths = StudyPaths(root / name)
    spec = StudySpec(name=name, model="models/small", workload=_WORKLOAD)
    space = space_from(
        {"name": "s", "parameters": {"max_num_seqs": {"choices": [2, 4]}}}, where="s"
    )
    write_study(paths, spec, space)
    store = TrialStore(paths, name)
    for number, (label, (options, values)) in enumerate(_CELLS.items()):
        argv = ("vllm", "serve", "models/small", *options)
        replay = Replay(argv=argv, shape=shape_of(QWEN_1B5), release=release_named("0.26.0"),
                        workload=_WORKLOAD)  # fmt: skip
        record = TrialRecord(
            study=name,
            number=number,
            kind=TrialKind.MATRIX,
            label=label,
            configuration=Configuration.of(values),
            outcome=Outcome(status=OutcomeStatus.MEASURED),
            metrics=dict(replayed_metrics(truth, replay, load_figures)),
            applied=Applied(),
            command=argv,
            wall_start=f"2026-11-2{number}T08:00:00+00:00",
            environment={"engine_release": "0.26.0", "gpu": gpu},
        )
        store.append(record)
    return paths.root


def test_a_card_is_fitted_to_a_folder_of_trials_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file says when, on what release and how well; the effects have their signs."""
    folder, out = _study(tmp_path), tmp_path / "mine.yaml"
    calibrate([str(folder)], card="h100", out=out, left_out=0.2, json=True)
    told = json.loads(capsys.readouterr().out)
    card = card_named(str(out))
    assert card.calibrated is not None
    assert (card.calibrated.date, card.calibrated.release) == ("2026-11-24", "0.26.0")
    assert (card.calibrated.records, card.calibrated.held_out_records) == (4, 1)
    assert len(told["left_out"]["records"]) == 1
    assert told["fitted"]["median_error"]["output_tokens_per_s"] < 0.05
    again = next(e for e in told["effects"] if e["name"] == "real again")
    assert again["settings"] == []
    eager = next(e for e in told["effects"]
                 if e["name"] == "real eager" and e["metric"] == "output_tokens_per_s")  # fmt: skip
    assert eager["measured"] < -0.1
    assert eager["sign_is_right"]


def test_the_table_of_effects_tells_right_from_wrong_and_from_noise() -> None:
    """Large effects have a verdict, repeats of a server are noise, small effects are left out."""

    def effect(name: str, measured: float, predicted: float, *settings: str) -> Effect:
        return Effect(study="s", name=name, metric="ttft_8k_ns", settings=settings,
                      measured=measured, predicted=predicted)  # fmt: skip

    table = effects_table(
        [
            effect("right", -0.4, -0.2, "a=1"),
            effect("wrong", 0.3, -0.1, "b=2"),
            effect("small", 0.04, -0.1, "c=3"),
            effect("again", 0.15, 0.0),
        ]
    )
    verdicts = {row[0].text: row[-1].text for row in table.rows}
    assert verdicts == {"right": "right", "wrong": "wrong", "again": "the same server: noise"}


def test_what_a_folder_measured_knows_its_model_date_and_release(tmp_path: Path) -> None:
    """The model is the folder beside the study's; the date is that of the last trial."""
    measured = measured_in([_study(tmp_path)])
    assert [o.name for o in measured.observations] == [f"real {label}" for label in _CELLS]
    assert measured.observations[0].replay.shape == shape_of(QWEN_1B5)
    assert (measured.date, measured.release) == ("2026-11-24", "0.26.0")


def test_trials_of_two_cards_are_not_mixed(tmp_path: Path) -> None:
    """The message names both."""
    folders = [_study(tmp_path), _study(tmp_path, gpu="NVIDIA H200", name="other")]
    with pytest.raises(UsageError, match="NVIDIA H100 80GB HBM3, NVIDIA H200"):
        measured_in(folders)


def test_simulated_trials_calibrate_nothing(tmp_path: Path) -> None:
    """A card must not be fitted to the simulator's own word."""
    folder = _study(tmp_path)
    for record in TrialStore(StudyPaths(folder), "real").records():
        StudyPaths(folder).trial(record.number).record.unlink()
        TrialStore(StudyPaths(folder), "real").append(replace(record, simulated=True))
    with pytest.raises(UsageError, match="no trial there measured anything"):
        measured_in([folder])


def test_a_study_that_is_not_there_is_named(tmp_path: Path) -> None:
    """With what would help."""
    with pytest.raises(UsageError, match="no study") as caught:
        calibrate([str(tmp_path / "nowhere")], card="h100")
    assert "study.yaml" in caught.value.hint
