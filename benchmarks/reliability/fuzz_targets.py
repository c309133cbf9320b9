"""Readers of what comes from outside: each may refuse in its own words and do nothing else."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from autotune.engines.vllm.failures import explain
from autotune.engines.vllm.logs import kv_cache_tokens, ledger, milestones
from autotune.engines.vllm.server_metrics import cache_config, gauges
from autotune.errors import AutotuneError
from autotune.load.completion import Collector
from autotune.load.http1 import ResponseParser
from autotune.load.sse import SseParser
from autotune.paths import StudyPaths
from autotune.report.untrusted import clean, log_tail
from autotune.seams.deployment import ExitEvidence
from autotune.seams.engine import Evidence
from autotune.seams.requests import GenerationRequest, Prompt, Segment
from autotune.spec.files import read_yaml
from autotune.spec.space import space_from
from autotune.spec.study import read_study
from autotune.store.study_file import read_stored_study, write_study
from autotune.study.distributions import distributions_of
from benchmarks.reliability import corpora
from benchmarks.reliability.mutate import pieces

SPACE = {"name": "small", "parameters": {"max_num_seqs": {"choices": [8, 16]}}}
"""For a study that names a declared space."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A reader.

    Attributes:
        corpus: Makes good inputs.
        read: Reads one; an exception that escapes is a broken promise.
    """

    corpus: Callable[[], list[bytes]]
    read: Callable[[bytes, Path, random.Random], None]


def study_file(data: bytes, folder: Path, _rng: random.Random) -> None:
    """A study that is accepted can be written down and read back as the same."""
    path = folder / "study.yaml"
    path.write_bytes(data)
    try:
        spec = read_study(path)
        space = space_from(spec.space if isinstance(spec.space, dict) else SPACE, where="fuzz")
    except AutotuneError as error:
        _worded(error)
        return
    paths = StudyPaths(folder / "stored")
    write_study(paths, spec, space)
    back, space_back = read_stored_study(paths)
    assert back.model_copy(update={"space": spec.space}) == spec, (spec, back)
    assert space_back == space, (space, space_back)


def space_file(data: bytes, folder: Path, _rng: random.Random) -> None:
    """A space that is accepted has an order, and distributions for its sampler."""
    path = folder / "space.yaml"
    path.write_bytes(data)
    try:
        space = space_from(read_yaml(path), where="fuzz")
    except AutotuneError as error:
        _worded(error)
        return
    assert len(space.in_order()) == len(space.parameters)
    distributions_of(space)


def engine_log(data: bytes, _folder: Path, rng: random.Random) -> None:
    """Whatever an engine prints is read, named or not, and clean for a terminal."""
    log = data.decode("utf-8", errors="replace")
    assert all(value >= 0 for value in milestones(log).values())
    tokens = kv_cache_tokens(log)
    assert tokens is None or tokens >= 0
    ledger(log)
    ended = rng.choice(
        (None, ExitEvidence(exit_code=1), ExitEvidence(exit_code=137, signal=9, oom_killed=True))
    )
    healthy = rng.random() < 0.5
    failure = explain(Evidence(phase="starting", healthy_once=healthy, exit=ended, log=log))
    if failure is not None:
        assert failure.message
        assert all(len(line) <= 600 for line in failure.evidence)
    for shown in (clean(log), log_tail(log)):
        assert not set(shown) & {"\x1b", "\x07", "\x00", "\u202e", "\x9b"}, shown


def stream(data: bytes, _folder: Path, rng: random.Random) -> None:
    """Whatever a server sends ends in one record, cut as it may be."""
    chat = rng.random() < 0.5
    prompt = (
        Prompt(text="Hello", chat=True) if chat else Prompt(segments=(Segment(seed=1, tokens=5),))
    )
    request = GenerationRequest(
        request_id="fuzz", prompt=prompt, max_tokens=4, logprobs=rng.choice((None, 1))
    )
    collector = Collector(request, scheduled_ns=0)
    parser, sse = ResponseParser(), SseParser()
    for number, piece in enumerate(pieces(data, rng)):
        for payload in sse.feed(parser.feed(piece)):
            collector.event(payload, number)
    parser.eof()
    record = collector.record(end_ns=len(data))
    assert record.error is not None or record.output_tokens is not None, record


def metrics_text(data: bytes, _folder: Path, _rng: random.Random) -> None:
    """Every figure is there or None, and never negative infinity or no number."""
    text = data.decode("utf-8", errors="replace")
    for name, value in gauges(text).items():
        assert value is None or math.isfinite(value), (name, value)
    assert all(isinstance(value, str) for value in cache_config(text).values())


def _worded(error: AutotuneError) -> None:
    """A refusal says what and what next, on one line each."""
    assert error.message, error
    assert error.hint, error


TARGETS: dict[str, Target] = {
    "study": Target(corpus=corpora.study_files, read=study_file),
    "space": Target(corpus=corpora.space_files, read=space_file),
    "log": Target(corpus=corpora.logs, read=engine_log),
    "sse": Target(corpus=corpora.streams, read=stream),
    "metrics": Target(corpus=corpora.metrics, read=metrics_text),
}
