"""Calibrate the simulated H100 with the published records, and say how well that went.

    nice python -m benchmarks.gpu.calibrate_h100 [--cross-validate]

Three numbers for each metric, the first two on records that the fit has not seen:
  a third of the records left out by lot (seed 0);
  each configuration left out in turn, with its repeats in other studies (--cross-validate);
  the records that were fitted.
The card that is written is fitted to all of them. `autotune calibrate` does the first part for
anybody's trials; this script exists because these records' throughput was cut by an older window
(`published.figures_then`).
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from autotune.cli.commands.calibrate import LARGE_EFFECT
from autotune.engines.simulated import calibrate as calibration
from autotune.engines.simulated.card import CARDS, Calibration, card_named
from autotune.engines.simulated.card_values import value_of
from autotune.engines.simulated.effects import effects_of
from autotune.engines.simulated.fitting import Fitter
from autotune.engines.simulated.memory_fit import with_fitted_memory
from benchmarks.gpu.published import RESULTS, figures_then, observed

START: Final = RESULTS / "h100-start.yaml"
DATE: Final = "2026-11-24"
RELEASE: Final = "0.26.0"


def main() -> None:
    """Fit, compare, write the card and the account of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cross-validate", action="store_true", help="takes minutes")
    parser.add_argument("--card", type=Path, default=CARDS / "h100.yaml")
    parser.add_argument("--account", type=Path, default=RESULTS / "calibration.json")
    asked = parser.parse_args()
    start = card_named(str(START))
    observations = [observation for _, observation in observed()]
    play = calibration.player(figures_then)
    split = calibration.calibrate(
        observations, start, date=DATE, release=RELEASE, figures=figures_then
    )
    account: dict[str, Any] = {
        "start": START.name,
        "records": len(observations),
        "left_out": {
            "records": split.left_out,
            "rank_correlation": split.rank_correlation,
            **calibration.summary_of(split.errors),
        },
    }
    _say(f"a third left out: {account['left_out']}")
    accounts = calibration.accounts_of(start, observations)
    fitter = Fitter(with_fitted_memory(start, accounts), observations, play)
    card = fitter.run()
    account["fitted"] = calibration.summary_of(calibration.errors_of(card, observations, play))
    account["rank_correlation"] = calibration.rank_correlation(card, observations, play)
    account["effects"] = [
        {**asdict(effect), "sign_is_right": effect.sign_is_right}
        for effect in effects_of(card, observations, play)
        if abs(effect.measured) > LARGE_EFFECT or not effect.settings
    ]
    account["parameters"] = {
        name: [value_of(start, name), value_of(card, name)] for name in fitter.names
    }
    unseen, method = split.errors, f"{len(split.left_out)} left out by lot"
    if asked.cross_validate:
        unseen = calibration.cross_validated(fitter, start, observations, play)
        account["cross_validated"] = calibration.summary_of(unseen)
        method = "each configuration left out in turn"
        _say(f"cross-validated: {account['cross_validated']}")
    summary = calibration.summary_of(unseen)
    calibrated = Calibration(
        date=DATE,
        release=RELEASE,
        records=len(observations),
        held_out_records=len(observations) if asked.cross_validate else len(split.left_out),
        method=f"{method}; the card is fitted to all",
        median_error=summary["median_error"],
        p90_error=summary["p90_error"],
    )
    calibration.write_card(card.model_copy(update={"calibrated": calibrated}), asked.card)
    asked.account.write_text(json.dumps(account, indent=1) + "\n", encoding="utf-8")
    _say(f"written: {asked.card}, {asked.account}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
