"""What the simulated engine says of configurations that were measured, or are about to be.

    python -m benchmarks.gpu.predict --card h100 --commit 751be95 OUT.json
    python -m benchmarks.gpu.predict --later --card h100 --commit 3668b9a OUT.json
    python -m benchmarks.gpu.predict --ahead benchmarks/gpu/ahead.yaml --models FOLDER \
        --commit 751be95 OUT.json

Every record of the first day is replayed on a card, or with --later of the days since; the file
keeps each metric's prediction, so that a table of "said before, measured, said after" can be made
of files alone. With --ahead nothing needs to have been measured: the servers are those of a file.
To ask an earlier state of the simulator, run this in a checkout of it, with these scripts and the
records copied there.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autotune.engines.model_shape import shape_of
from autotune.engines.simulated.card import Card, card_named
from autotune.engines.simulated.refusals import StartRefused
from autotune.engines.simulated.release import release_named
from autotune.engines.simulated.replay import Replay, replayed_metrics, whole_load
from autotune.seams.engine import ModelFacts
from autotune.spec.files import read_yaml
from autotune.spec.workload import Workload
from benchmarks.gpu.published import FIRST, SECOND, PublishedStudy

Predictions = dict[str, dict[str, dict[str, Any]]]
"""Study, then record or server, to its metrics."""


def main() -> None:
    """Write the predictions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--card", default="h100")
    parser.add_argument("--commit", required=True, help="state of the program, for the file")
    parser.add_argument("--later", action="store_true", help="records made after the first day")
    parser.add_argument("--ahead", type=Path, help="servers that nobody has measured yet")
    parser.add_argument("--models", type=Path, help="folder of the models' config.json")
    asked = parser.parse_args()
    card = card_named(asked.card)
    if asked.ahead is None:
        predictions = of_records(card, SECOND if asked.later else FIRST)
    elif asked.models is None:
        parser.error("--ahead needs --models")
    else:
        predictions = of_servers(card, read_yaml(asked.ahead), asked.models)
    calibrated = None if card.calibrated is None else card.calibrated.date
    content = {"commit": asked.commit, "card": card.name, "calibrated": calibrated,
               "predictions": predictions}  # fmt: skip
    asked.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{sum(map(len, predictions.values()))} predictions: {asked.out}\n")


def of_records(card: Card, studies: Sequence[PublishedStudy]) -> Predictions:
    """Every published record of some studies, by number."""
    predictions: Predictions = {}
    for study in studies:
        for record, observation in study.observed():
            metrics = replayed_metrics(card, observation.replay, study.figures)
            predictions.setdefault(study.called, {})[str(record.number)] = _rounded(metrics)
    return predictions


def of_servers(card: Card, ahead: Any, models: Path) -> Predictions:
    """Every server of an `ahead` file, by name, with its command."""
    predictions: Predictions = {}
    for study, content in ahead["studies"].items():
        config = json.loads((models / content["model"] / "config.json").read_text(encoding="utf-8"))
        shape = shape_of(ModelFacts(name=content["model"], config=config))
        for name, own in content["servers"].items():
            argv = ("vllm", "serve", content["model"], "--load-format", "dummy",
                    *content["arguments"], *own)  # fmt: skip
            replay = Replay(
                argv=argv,
                shape=shape,
                release=release_named(ahead["release"]),
                workload=Workload(**ahead["workload"]),
            )
            said = _said(card, replay)
            predictions.setdefault(study, {})[name] = {"command": " ".join(argv), **said}
    return predictions


def _said(card: Card, replay: Replay) -> dict[str, Any]:
    try:
        tokens = replay.memory_on(card).plan().kv_tokens
        metrics = replayed_metrics(card, replay, whole_load)
    except StartRefused as refused:
        return {"refused": str(refused)}
    return {"context_capacity_tokens": tokens, **_rounded(metrics)}


def _rounded(metrics: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in metrics.items()}


if __name__ == "__main__":
    main()
