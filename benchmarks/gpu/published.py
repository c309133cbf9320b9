"""The published records of the H100, and the load's figures as they were computed on their day."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from autotune.cli.commands.calibrate import load_figures
from autotune.engines.simulated import calibrate as calibration
from autotune.engines.simulated.calibrate import observation_from
from autotune.engines.simulated.card import Card
from autotune.engines.simulated.fitting import Observation, Play, kind_of
from autotune.load.formulas import Window
from autotune.paths import StudyPaths
from autotune.probes.throughput import load_metrics
from autotune.records import TrialRecord
from autotune.seams.engine import ModelFacts
from autotune.seams.requests import RequestRecord
from autotune.store import TrialStore, read_stored_study

PAGES: Final = Path(__file__).resolve().parents[2] / "docs" / "results"
RESULTS: Final = PAGES / "2026-11-h100"
LATER: Final = PAGES / "2026-11-26-h100"
SECOND_RUN: Final = PAGES / "2026-11-26-h100-second"
OTHER_MACHINE: Final = SECOND_RUN / "second-machine"
STUDIES: Final = ("hopper-1.5b", "hopper-7b", "small-card")

_CARDS_KEPT: Final = 12
_BLOCK_TOKENS: Final = 16

Figures = Callable[[Sequence[RequestRecord]], Mapping[str, float | None]]


def figures_then(records: Sequence[RequestRecord]) -> dict[str, float | None]:
    """A load's figures by the window of the day on which the first records were made.

    Frozen on purpose. A closed loop was measured until the first end after the last start, which
    of three waves leaves out the third one's decoding; `autotune.load.formulas` measures so short
    a loop whole since. The records hold no single requests, so their output_tokens_per_s,
    total_tokens_per_s and requests_per_s cannot be computed anew: what is simulated to be
    compared with them must be cut in the same way. Latencies do not depend on the window.
    """
    return load_metrics(records, _window_then(records))


@dataclass(frozen=True, kw_only=True)
class PublishedStudy:
    """One study's records.

    Attributes:
        folder: Where the study lies.
        title: How pages call it; None for its name.
        figures: How its loads were cut.
        machines: Number of the first trial on each machine that it ran on.
        session: Studies of one session on one machine have one name; None for the study alone.
    """

    folder: Path
    title: str | None = None
    figures: Figures = load_figures
    machines: tuple[int, ...] = (0,)
    session: str | None = None

    @property
    def name(self) -> str:
        """The study's name."""
        return self.folder.name

    @property
    def called(self) -> str:
        """How pages call it."""
        return self.title or self.name

    def machine_of(self, number: int) -> int:
        """Which of the study's machines a trial ran on, from 0."""
        return sum(number >= first for first in self.machines) - 1

    def records(self) -> tuple[TrialRecord, ...]:
        """The study's records, by number."""
        return TrialStore(StudyPaths(self.folder), self.name).records()

    def config(self) -> dict[str, Any]:
        """The model's config.json, which lies with the day's records or with the first day's."""
        spec, _ = read_stored_study(StudyPaths(self.folder))
        folders = (self.folder.parent, RESULTS)
        path = next(p for f in folders if (p := f / spec.model / "config.json").is_file())
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return config

    def observed(self) -> Iterator[tuple[TrialRecord, Observation]]:
        """Every record that a card can be fitted to, with its machine as its study."""
        spec, _ = read_stored_study(StudyPaths(self.folder))
        model = ModelFacts(name=spec.model, config=self.config())
        records = self.records()
        for record in records:
            asked = replace(record, command=_server_command(record, records))
            observation = observation_from(asked, model, spec.workload)
            if observation is not None:
                machine = self.machine_of(record.number)
                here = f"{self.called}, machine {machine + 1}" if self.machines[1:] else self.called
                name = f"{self.called} {record.label or record.number}"
                on = self.session or here
                yield record, replace(observation, name=name, study=here, machine=on)


FIRST: Final = tuple(
    PublishedStudy(folder=RESULTS / study, figures=figures_then, session="2026-11-24")
    for study in STUDIES
)
"""Measured on 2026-11-24; the simulated H100 of that day was fitted to them."""
SECOND: Final = (PublishedStudy(folder=LATER / "small-card-study", machines=(0, 8, 21)),)
"""Measured on 2026-11-26, on three machines."""
THIRD: Final = tuple(
    PublishedStudy(
        folder=SECOND_RUN / study, title=f"second {study}", session="2026-11-26, evening"
    )
    for study in ("hopper-0.5b", "hopper-1.5b", "small-card-awq", "small-card-awq-20k")
)
"""Measured on 2026-11-26 in the evening: a third size, AWQ, FLASHINFER, combinations."""
FOURTH: Final = (
    PublishedStudy(
        folder=OTHER_MACHINE / "hopper-1.5b",
        title="second machine hopper-1.5b",
        session="2026-11-26, second machine",
    ),
)
"""The same evening on another machine: FLASHINFER without quantization."""
DAYS: Final[Mapping[str, tuple[PublishedStudy, ...]]] = {
    "2026-11-24": FIRST,
    "2026-11-26": SECOND,
    "2026-11-26, evening": THIRD,
    "2026-11-26, second machine": FOURTH,
}


def records_of(study: str) -> tuple[TrialRecord, ...]:
    """The records of a study of the first day, by number."""
    return next(s for s in FIRST if s.name == study).records()


def observed(
    studies: Sequence[PublishedStudy] = FIRST,
) -> Iterator[tuple[TrialRecord, Observation]]:
    """Every record that a card can be fitted to."""
    for study in studies:
        yield from study.observed()


class Player:
    """Replays observations, each with its day's figures; repeats on one card are played once.

    Args:
        studies: That the observations are of.
    """

    def __init__(self, studies: Sequence[PublishedStudy]) -> None:
        self._plays = {s.called: calibration.player(s.figures) for s in studies}
        self._known: list[tuple[Card, dict[object, dict[str, float] | None]]] = []

    def __call__(self, card: Card, observation: Observation) -> dict[str, float] | None:
        """What the card says of an observation; None if its server would not come up."""
        known = self._known_of(card)
        study = observation.study.partition(",")[0]
        key = (study, kind_of(card, observation), _that_matter(observation))
        if key not in known:
            known[key] = self._plays[study](card, observation)
        return known[key]

    def _known_of(self, card: Card) -> dict[object, dict[str, float] | None]:
        for other, known in self._known:
            if other is card:
                return known
        self._known = [(card, {}), *self._known[:_CARDS_KEPT]]
        return self._known[0][1]


def _that_matter(observation: Observation) -> int | None:
    """KV tokens of a server; None where all requests fit at once, for then no play meets an end."""
    tokens, load = observation.kv_tokens, observation.replay.workload
    at_once = load.concurrency * (load.prompt_tokens + load.output_tokens + _BLOCK_TOKENS)
    ample = tokens is not None and tokens > max(at_once, *load.long_context_tokens) + _BLOCK_TOKENS
    return None if ample else tokens


def player_of(studies: Sequence[PublishedStudy]) -> Play:
    """Replays the observations of some studies."""
    return Player(studies)


def _server_command(record: TrialRecord, records: Sequence[TrialRecord]) -> tuple[str, ...]:
    """The server's own command: an exported script runs that of its configuration's trials."""
    if "serve" in record.command:
        return record.command
    alike = (r for r in records if r.configuration == record.configuration)
    return next((r.command for r in alike if "serve" in r.command), record.command)


def _window_then(records: Sequence[RequestRecord]) -> Window:
    start = min(r.sent_ns for r in records)
    last_end = max(r.end_ns for r in records)
    last_sent = max(r.sent_ns for r in records)
    end = min((r.end_ns for r in records if r.end_ns >= last_sent), default=last_end)
    if (end - start) * 2 < last_end - start:
        end = last_end
    return Window(start_ns=start, end_ns=end)
