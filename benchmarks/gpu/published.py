"""The published records of the H100, and the load's figures as they were computed then."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from autotune.engines.simulated.calibrate import observation_from
from autotune.engines.simulated.fitting import Observation
from autotune.load.formulas import Window
from autotune.paths import StudyPaths
from autotune.probes.throughput import load_metrics
from autotune.records import TrialRecord
from autotune.seams.engine import ModelFacts
from autotune.seams.requests import RequestRecord
from autotune.store import TrialStore, read_stored_study

RESULTS: Final = Path(__file__).resolve().parents[2] / "docs" / "results" / "2026-11-h100"
STUDIES: Final = ("hopper-1.5b", "hopper-7b", "small-card")


def records_of(study: str) -> tuple[TrialRecord, ...]:
    """A published study's records, by number."""
    return TrialStore(StudyPaths(RESULTS / study), study).records()


def observed() -> Iterator[tuple[TrialRecord, Observation]]:
    """Every record that a card can be fitted to."""
    for study in STUDIES:
        spec, _ = read_stored_study(StudyPaths(RESULTS / study))
        config = json.loads((RESULTS / spec.model / "config.json").read_text(encoding="utf-8"))
        model = ModelFacts(name=spec.model, config=config)
        for record in records_of(study):
            observation = observation_from(record, model, spec.workload)
            if observation is not None:
                yield record, observation


def figures_then(records: Sequence[RequestRecord]) -> dict[str, float | None]:
    """A load's figures by the window of the day on which these records were made.

    Frozen on purpose. A closed loop was measured until the first end after the last start, which
    of three waves leaves out the third one's decoding; `autotune.load.formulas` measures so short
    a loop whole since. The records hold no single requests, so their output_tokens_per_s,
    total_tokens_per_s and requests_per_s cannot be computed anew: what is simulated to be
    compared with them must be cut in the same way. Latencies do not depend on the window.
    """
    return load_metrics(records, _window_then(records))


def _window_then(records: Sequence[RequestRecord]) -> Window:
    start = min(r.sent_ns for r in records)
    last_end = max(r.end_ns for r in records)
    last_sent = max(r.sent_ns for r in records)
    end = min((r.end_ns for r in records if r.end_ns >= last_sent), default=last_end)
    if (end - start) * 2 < last_end - start:
        end = last_end
    return Window(start_ns=start, end_ns=end)
