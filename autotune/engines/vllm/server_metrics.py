"""Reading vLLM's /metrics into engine-neutral figures."""

import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Final, Literal

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from pydantic import Field

from autotune.spec.files import StrictModel, read_yaml, validate

NAMES_FILE: Final = Path(__file__).with_name("metric_names.yaml")
_MOST_CHARACTERS: Final = 4 * 1024**2
_MOST_LINES: Final = 10_000
"""Of an exposition, and of the lines of it that are read: a server of vLLM's has some 300 KiB."""


class WireName(StrictModel):
    """A sample's name and the releases that have it (None: no bound)."""

    name: str
    first: str | None = None
    last: str | None = None


class Figure(StrictModel):
    """Names behind one figure, newest first."""

    combine: Literal["sum", "max"] = "sum"
    names: tuple[WireName, ...] = Field(min_length=1)


class MetricNames(StrictModel):
    """The whole of `metric_names.yaml`."""

    figures: dict[str, Figure]
    cache_config: str


@cache
def metric_names() -> MetricNames:
    """The declared table, read once."""
    return validate(MetricNames, read_yaml(NAMES_FILE), where=NAMES_FILE.name)


def gauges(metrics_text: str) -> Mapping[str, float | None]:
    """Engine-neutral figures out of /metrics; what the release does not give is None.

    Text that is no Prometheus exposition gives None for every figure, for a server that answers
    with an error page must not end a trial.
    """
    values = _values(samples(_only(metrics_text, _wire_names())))
    return {key: _figure(figure, values) for key, figure in metric_names().figures.items()}


def cache_config(metrics_text: str) -> Mapping[str, str]:
    """Labels of `vllm:cache_config_info`: the resolved cache configuration as strings.

    Empty where the release or the text does not give it.
    """
    wanted = metric_names().cache_config
    found = samples(_only(metrics_text, frozenset({wanted})))
    return next((s.labels for s in found if s.name == wanted), {})


@cache
def _wire_names() -> frozenset[str]:
    return frozenset(w.name for figure in metric_names().figures.values() for w in figure.names)


def _only(metrics_text: str, names: frozenset[str]) -> str:
    """The lines of some samples.

    An exposition has hundreds of lines, most of them buckets of histograms, and is read twice a
    second: parsing all of them took a third of a simulated study's time.
    """
    lines = islice(_lines_of(names).finditer(metrics_text, 0, _MOST_CHARACTERS), _MOST_LINES)
    return "".join(f"{line[0]}\n" for line in lines)


@cache
def _lines_of(names: frozenset[str]) -> re.Pattern[str]:
    return re.compile(rf"^(?:{'|'.join(map(re.escape, sorted(names)))})[{{ \t].*$", re.MULTILINE)


def samples(metrics_text: str) -> tuple[Sample, ...]:
    """Every sample of an exposition; those before the first broken line if it is broken."""
    found: list[Sample] = []
    try:
        for family in text_string_to_metric_families(metrics_text):
            found += family.samples
    except Exception:  # noqa: BLE001 - the parser raises whatever a broken line makes of it
        return tuple(found)
    return tuple(found)


def _values(found: Iterable[Sample]) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for sample in found:
        if math.isfinite(sample.value):
            values.setdefault(sample.name, []).append(float(sample.value))
    return values


def _figure(figure: Figure, values: Mapping[str, list[float]]) -> float | None:
    for wire in figure.names:
        engines = values.get(wire.name)
        if engines:
            return max(engines) if figure.combine == "max" else sum(engines)
    return None
