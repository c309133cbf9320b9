"""Calibrate the simulated H100 with the published records, and say how well that went.

    nice python -m benchmarks.gpu.calibrate_h100

Errors of each metric, all but the last on records that the fit has not seen:
  a third of the records left out by lot (seed 0);
  what was measured on a later day, fitted to the days before;
  each model shape, and each machine, left out wholly, fitted to the others;
  each configuration left out in turn, with its repeats in other studies;
  the records that were fitted.
Fits without some records go on from the common one (`Fitter.without`). Beside all of them stands
what noise leaves possible: each repeat of a configuration predicted by the median of the others
("repeats"). The card that is written is fitted to all records; it, and the machines' factors in the
account, are where the next fit begins, so that running this again goes on where it ended.
`autotune calibrate` fits anybody's trials; this script exists because the first day's throughput
was cut by an older window (`published.figures_then`).
"""

import argparse
import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import geometric_mean
from typing import Any, Final

import numpy as np
from scipy.stats import spearmanr

from autotune.cli.commands.calibrate import LARGE_EFFECT
from autotune.engines.simulated import calibrate as calibration
from autotune.engines.simulated.card import CARDS, Calibration, Card, card_named
from autotune.engines.simulated.card_values import value_of
from autotune.engines.simulated.effects import Effect, effects_of
from autotune.engines.simulated.fit_parameters import on_host
from autotune.engines.simulated.fitting import Fitter, Observation, Play, kind_of
from autotune.engines.simulated.left_out import card_without, left_out_cards
from autotune.engines.simulated.memory_fit import with_fitted_memory
from benchmarks.gpu.published import DAYS, LATER, Player, observed

START: Final = LATER / "h100-start.yaml"
DATE: Final = "2026-11-26"
RELEASE: Final = "0.26.0"
OUT: Final = calibration.THROUGHPUT


def main() -> None:
    """Fit, compare, write the card and the account of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--card", type=Path, default=CARDS / "h100.yaml")
    parser.add_argument("--account", type=Path, default=LATER / "calibration.json")
    asked = parser.parse_args()
    start = card_named(str(START))
    days = {day: [o for _, o in observed(studies)] for day, studies in DAYS.items()}
    observations = [o for day in days.values() for o in day]
    play = Player([study for studies in DAYS.values() for study in studies])
    accounts = calibration.accounts_of(start, observations)
    near, factors = card_named(str(asked.card)), {}
    if asked.account.is_file():
        factors = json.loads(asked.account.read_text(encoding="utf-8"))["host_factors"]
    remembered = with_fitted_memory(start, accounts)
    fitter = Fitter(remembered, observations, play, near=near, near_factors=factors)
    card = fitter.improve()
    _say("fitted to all")
    unseen = Unseen(fitter, start, observations, play)
    account: dict[str, Any] = {
        "start": START.name,
        "records": len(observations),
        "repeats": calibration.summary_of(repeats_of(start, observations)),
        "fitted": calibration.summary_of(calibration.errors_of(card, observations, play)),
        "rank_correlation": calibration.rank_correlation(card, observations, play),
        "effects": told(
            [
                effect
                for effect in effects_of(card, observations, play)
                if abs(effect.measured) > LARGE_EFFECT or not effect.settings
            ]
        ),
        "parameters": {
            name: [value_of(start, name), value_of(card, name)] for name in fitter.names
        },
        "host_factors": fitter.host_factors,
        "left_out": unseen.of(by_lot(len(observations))),
        "shapes": {shape: unseen.of(indices) for shape, indices in by_shape(observations).items()},
        "machines": {m: unseen.of(indices) for m, indices in by_machine(observations).items()},
        "later_days": {day: unseen.of(indices) for day, indices in later(days)},
    }
    _say(f"a third left out: {account['left_out']}")
    _say(f"later days left out: {account['later_days']}")
    _say(f"shapes left out: {account['shapes']}")
    _say(f"machines left out: {account['machines']}")
    account["cross_validated"], account["unseen_effects"] = left_out_in_turn(
        fitter, start, observations, play
    )
    _say(f"cross-validated: {account['cross_validated']}")
    summary = account["cross_validated"]
    calibrated = Calibration(
        date=DATE,
        release=RELEASE,
        records=len(observations),
        held_out_records=len(observations),
        method="each configuration left out in turn; the card is fitted to all",
        median_error=summary["median_error"],
        p90_error=summary["p90_error"],
    )
    calibration.write_card(card.model_copy(update={"calibrated": calibrated}), asked.card)
    asked.account.write_text(json.dumps(account, indent=1) + "\n", encoding="utf-8")
    _say(f"written: {asked.card}, {asked.account}")


class Unseen:
    """Errors on records that a fit has not seen.

    Args:
        fitter: Has run over all observations.
        start: Where it started.
        observations: All.
        play: As the fitter plays them.
    """

    def __init__(
        self, fitter: Fitter, start: Card, observations: Sequence[Observation], play: Play
    ) -> None:
        self._fitter, self._start = fitter, start
        self._observations, self._play = observations, play

    def of(self, left_out: Collection[int]) -> dict[str, Any]:
        """Errors on some observations, by their positions, of a card fitted without them."""
        outside = [o for i, o in enumerate(self._observations) if i in left_out]
        card = card_without(self._fitter, self._start, self._observations, left_out)
        return {
            "records": [o.name for o in outside],
            "rank_correlation": calibration.rank_correlation(card, outside, self._play),
            **calibration.summary_of(calibration.errors_of(card, outside, self._play)),
        }


def left_out_in_turn(
    fitter: Fitter, start: Card, observations: Sequence[Observation], play: Play
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Each configuration predicted by a card fitted without it and its repeats.

    Returns:
        Errors of all observations, also where the machine's processor is known from its other
        observations, with the rank correlation of configurations (means of repeats); and the
        effects of settings against a base that the card has seen.
    """
    pooled: dict[str, list[float]] = {}
    placed: dict[str, list[float]] = {}
    ranked: list[tuple[float, float]] = []
    placed_ranked: list[tuple[float, float]] = []
    effects: list[Effect] = []
    bases = bases_of(start, observations)
    for outside, card in left_out_cards(fitter, start, observations):
        alike = [observations[i] for i in outside]
        for metric, values in calibration.errors_of(card, alike, play).items():
            pooled.setdefault(metric, []).extend(values)
        there = [on_host(card, fitter.host_factors[one.machine]) for one in alike]
        for its_card, one in zip(there, alike, strict=True):
            for metric, values in calibration.errors_of(its_card, [one], play).items():
                placed.setdefault(metric, []).extend(values)
        ranked += _means([card] * len(alike), alike, play)
        placed_ranked += _means(there, alike, play)
        for study in dict.fromkeys(o.study for o in alike):
            here = [o for o in alike if o.study == study]
            if here[0] not in bases[study]:
                effects += effects_of(card, [*bases[study], *here], play)
    errors, on_machine = (
        calibration.summary_of({m: tuple(values) for m, values in sorted(found.items())})
        for found in (pooled, placed)
    )
    large = [e for e in effects if e.settings and abs(e.measured) > LARGE_EFFECT]
    account = {
        "rank_correlation": _rank(ranked),
        **errors,
        "on_its_machine": {"rank_correlation": _rank(placed_ranked), **on_machine},
    }
    return account, told(large)


def _means(
    cards: Sequence[Card], alike: Sequence[Observation], play: Play
) -> list[tuple[float, float]]:
    """Predicted and measured throughput of one configuration, means of its repeats."""
    pairs = [(played[OUT], o.measured[OUT]) for card, o in zip(cards, alike, strict=True)
             if OUT in o.measured and (played := play(card, o))]  # fmt: skip
    if not pairs:
        return []
    said, measured = zip(*pairs, strict=True)
    return [(geometric_mean(said), geometric_mean(measured))]


def _rank(pairs: Sequence[tuple[float, float]]) -> float:
    return float(spearmanr([p for p, _ in pairs], [m for _, m in pairs]).statistic)


def bases_of(card: Card, observations: Sequence[Observation]) -> dict[str, list[Observation]]:
    """Each study's plainest configuration, with its repeats."""
    found = {}
    for study in dict.fromkeys(o.study for o in observations):
        here = [o for o in observations if o.study == study]
        kind = kind_of(card, min(here, key=lambda o: len(o.settings)))
        found[study] = [o for o in here if kind_of(card, o) == kind]
    return found


def told(effects: Sequence[Effect]) -> list[dict[str, Any]]:
    """Effects as the account holds them."""
    return [{**asdict(effect), "sign_is_right": effect.sign_is_right} for effect in effects]


def by_lot(count: int, *, share: float = 1 / 3, seed: int = 0) -> list[int]:
    """Positions of the records left out by lot."""
    order = np.random.default_rng(seed).permutation(count)
    return sorted(int(i) for i in order[: round(count * share)])


def by_shape(observations: Sequence[Observation]) -> dict[str, list[int]]:
    """Positions of the records of each model."""
    found: dict[str, list[int]] = {}
    for index, observation in enumerate(observations):
        argv = observation.replay.argv
        model = argv[argv.index("serve") + 1]
        found.setdefault(Path(model).name, []).append(index)
    return found


def by_machine(observations: Sequence[Observation]) -> dict[str, list[int]]:
    """Positions of the records of each machine."""
    found: dict[str, list[int]] = {}
    for index, observation in enumerate(observations):
        found.setdefault(observation.machine, []).append(index)
    return found


def later(days: Mapping[str, Sequence[Observation]]) -> Iterator[tuple[str, list[int]]]:
    """Each day after the first, and the positions of its and all later records."""
    first, total = 0, sum(len(seen) for seen in days.values())
    for day, seen in days.items():
        if first:
            yield day, list(range(first, total))
        first += len(seen)


def repeats_of(card: Card, observations: Sequence[Observation]) -> calibration.Errors:
    """Errors of the median of a configuration's other repeats, taken as a prediction of each."""
    kinds: dict[object, list[Observation]] = {}
    for observation in observations:
        kinds.setdefault(kind_of(card, observation), []).append(observation)
    errors: dict[str, list[float]] = {}
    for alike in kinds.values():
        for one in alike:
            for metric, value in one.measured.items():
                others = [o.measured[metric] for o in alike
                          if o is not one and metric in o.measured]  # fmt: skip
                if others:
                    miss = abs(float(np.median(others)) - value) / value
                    errors.setdefault(metric, []).append(miss)
    return {metric: tuple(values) for metric, values in sorted(errors.items())}


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
