"""What the simulated engine says of the configurations that were measured.

    python -m benchmarks.gpu.predict --card h100 --commit 751be95 OUT.json

Every published record is replayed on a card; the file keeps each metric's prediction, so that a
table of "said before, measured, said after" can be made of files alone. To ask an earlier state
of the simulator, run this in a checkout of it, with these scripts and the records copied there.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from autotune.engines.simulated.card import card_named
from autotune.engines.simulated.replay import replayed_metrics
from benchmarks.gpu.published import figures_then, observed


def main() -> None:
    """Write the predictions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--card", default="h100")
    parser.add_argument("--commit", required=True, help="state of the program, for the file")
    asked = parser.parse_args()
    card = card_named(asked.card)
    predictions: dict[str, dict[str, Any]] = {}
    for record, observation in observed():
        metrics = replayed_metrics(card, observation.replay, figures_then)
        at = predictions.setdefault(record.study, {})
        at[str(record.number)] = {name: round(value, 3) for name, value in metrics.items()}
    calibrated = None if card.calibrated is None else card.calibrated.date
    content = {"commit": asked.commit, "card": card.name, "calibrated": calibrated,
               "predictions": predictions}  # fmt: skip
    asked.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{sum(map(len, predictions.values()))} predictions: {asked.out}\n")


if __name__ == "__main__":
    main()
