"""Naming a failed start or a dead engine by vLLM's own texts.

The first root cause is printed by a worker or the engine core; what follows are wrappers
("Engine core initialization failed. See root cause above."), which name nothing.
"""

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from autotune.engines.vllm.logs import number, plain
from autotune.engines.vllm.memory_taken import without_room
from autotune.engines.vllm.signatures import Signature, table
from autotune.records import Failure, FailureKind, Scalar
from autotune.seams.engine import Evidence
from autotune.units import BYTES_PER_GIB

_UNITS: Final = {"KiB": 1 / 1024**2, "MiB": 1 / 1024, "GiB": 1.0, "bytes": 1 / BYTES_PER_GIB}
_TRIED: Final = re.compile(
    r"Tried to allocate (?P<needed>[\d.]+) (?P<needed_unit>[KMG]iB|bytes)"
    r".{0,200}?(?:of which (?P<free>[\d.]+) (?P<free_unit>[KMG]iB|bytes) is free"
    r"|; (?P<old_free>[\d.]+) (?P<old_unit>[KMG]iB|bytes) free)",
    re.DOTALL,
)
_FRAME: Final = re.compile(r", line \d+, in (\w+)")
_TRACEBACK: Final = "Traceback (most recent call last)"
_PREFIX: Final = re.compile(
    r"^(?:\([^)\n]*\)\s*)*(?:(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\s+\S+ \S+ \[?\S+\]\s?)?"
)
_EXCEPTION: Final = re.compile(
    r"^(?:[a-zA-Z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Unsupported)(?::|$)"
)
_WRAPPERS: Final = (
    "Engine core initialization failed",
    "WorkerProc initialization failed",
    "EngineDeadError",
    "Engine process failed to start",
    "died unexpectedly",
    "See stack trace",
    "See root cause above",
)
_DEATH: Final = re.compile(
    r"EngineCore encountered a fatal error|EngineDeadError|died unexpectedly|"
    r"EngineCore failed to start|Engine core initialization failed|WorkerProc hit an exception"
)
_KILLED_CHILD: Final = re.compile(r"Failed core proc\(s\): \{[^}]*: -9\b|\(exit code: -9\)")
_EXCERPT_CHARS: Final = 600
_CONTEXT_CHARS: Final = 20_000


@dataclass(frozen=True)
class _Match:
    """A signature found in the log."""

    signature: Signature
    found: re.Match[str]
    context: str

    @property
    def order(self) -> tuple[int, int]:
        """Lowest rank first, then the earliest text."""
        return self.signature.rank, self.found.start()


def explain(evidence: Evidence) -> Failure | None:
    """Name the first root cause that vLLM's texts show; None if they do not tell.

    A pure function of the evidence, so stored trials can be named again. Numbers in the text
    become GiB, with margin = available - needed; what the text says would fit becomes `repair`.
    """
    log = "\n".join(_PREFIX.sub("", line) for line in plain(evidence.log).split("\n"))
    best = min(_matches(log, evidence), key=lambda m: m.order, default=None)
    killed = _killed(log, evidence)
    if best is not None and (best.signature.rank < 2 or killed or evidence.exit is None):
        return _with_exit(without_room(_failure(best, log, evidence), evidence), evidence)
    if killed:
        return _with_exit(_killed_child(log, evidence), evidence)
    return _fallback(log, evidence)


def _matches(log: str, evidence: Evidence) -> list[_Match]:
    """The first place of each signature that may apply at this stage of the trial."""
    stages = {"any", "load" if evidence.healthy_once else "start"}
    matches = []
    for signature in table().signatures:
        if signature.stage not in stages:
            continue
        for found in signature.compiled.finditer(log):
            context = _context(log, found.start())
            if signature.context and not re.search(signature.context, context):
                continue
            matches.append(_Match(signature, found, context))
            break
    return matches


def _context(log: str, position: int) -> str:
    """The traceback that ends in the text at a position; its own line included."""
    line_end = log.find("\n", position)
    window = log[max(0, position - _CONTEXT_CHARS) : line_end if line_end >= 0 else len(log)]
    start = window.rfind(_TRACEBACK)
    return window[start:] if start >= 0 else window[-_EXCERPT_CHARS:]


def _failure(match: _Match, log: str, evidence: Evidence) -> Failure:
    groups = {k: v for k, v in match.found.groupdict().items() if v is not None}
    needed, available = _gib("needed", groups), _gib("available", groups)
    kind, message = match.signature.kind, _message(match.signature, groups)
    if match.signature.family == "gpu_oom":
        needed, available = _tried(match, log)
        phase = start_phase(log, match.found.start(), match.context)
        if kind is FailureKind.GPU_OOM:
            kind = table().gpu_oom_by_phase.get(phase, kind)
            message += f" ({phase})" if phase else ""
        if evidence.healthy_once and kind is not FailureKind.PINNING_REFUSED:
            kind = FailureKind.GPU_OOM_UNDER_LOAD
    if kind is FailureKind.CONTAINER_OOM and evidence.exit is None:
        kind = FailureKind.HOST_OOM
    margin = None if needed is None or available is None else round(available - needed, 4)
    return Failure(
        kind=kind,
        phase=evidence.phase,
        message=message,
        evidence=(_excerpt(match.found),),
        needed_gib=needed,
        available_gib=available,
        margin_gib=margin,
        repair=_repair(match.signature, groups),
    )


def start_phase(log: str, position: int, context: str) -> str:
    """Phase of the start-up in which a text was printed: "weights", "graphs", ... or "".

    Frames of the traceback before the text tell best; else the last log line of the start-up.
    """
    frames = set(_FRAME.findall(context))
    for phase in table().phases:
        if frames & set(phase.frames):
            return phase.phase
    last = {p.phase: max(log.rfind(f, 0, position) for f in p.after) for p in table().phases}
    latest = max(last, key=lambda name: last[name])
    return latest if last[latest] >= 0 else ""


def _tried(match: _Match, log: str) -> tuple[float | None, float | None]:
    """GiB that PyTorch tried to allocate and GiB that were free, near an out-of-memory text."""
    begin = match.found.start() - len(match.context)
    found = _TRIED.search(log, max(0, begin), match.found.end() + _EXCERPT_CHARS)
    if found is None:
        return None, None
    needed = _in_gib(found["needed"], _UNITS[found["needed_unit"]])
    if found["free"] is not None:
        return needed, _in_gib(found["free"], _UNITS[found["free_unit"]])
    return needed, _in_gib(found["old_free"], _UNITS[found["old_unit"]])


def _in_gib(text: str, factor: float) -> float | None:
    value = number(text)
    return None if value is None else round(value * factor, 4)


def _gib(name: str, groups: Mapping[str, str]) -> float | None:
    for suffix, factor in (("gib", 1.0), ("mib", 1 / 1024), ("bytes", 1 / BYTES_PER_GIB)):
        text = groups.get(f"{name}_{suffix}")
        if text is not None:
            return _in_gib(text, factor)
    return None


class _Known(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "an unknown number of"


def _message(signature: Signature, groups: Mapping[str, str]) -> str:
    return signature.message.format_map(_Known(groups)).strip()


def _repair(signature: Signature, groups: Mapping[str, str]) -> dict[str, Scalar]:
    """What the text says would fit; empty where a number is missing or useless."""
    repaired: dict[str, Scalar] = {}
    for parameter, rule in signature.repair.items():
        name, *arguments = rule.split()
        if any(argument not in groups for argument in arguments):
            continue
        value = _rule(name, [groups[argument] for argument in arguments])
        if value is not None:
            repaired[parameter] = value
    return repaired


def _rule(name: str, texts: list[str]) -> Scalar | None:
    """One repair rule; a count of 0 repairs nothing."""
    if name == "false":
        return False
    if name == "one":
        return 1
    if name == "text":
        return texts[0]
    values = [value for text in texts if (value := number(text)) is not None]
    if len(values) < len(texts):
        return None
    if name == "share":  # of the free memory in all of it, rounded down to what vLLM accepts
        share = int(values[0] / values[1] * 100) / 100 if values[1] else 0.0
        return share or None
    return int(values[0]) or None  # "int" and "floor"


def _killed(log: str, evidence: Evidence) -> bool:
    """Whether SIGKILL ended the engine or a process of it, and not by our hand."""
    ended = evidence.exit
    if ended is None or ended.stopped_by_us:
        return False
    by_signal = ended.signal == signal.SIGKILL or ended.exit_code in {-signal.SIGKILL, 137}
    return by_signal or bool(ended.oom_killed) or _KILLED_CHILD.search(log) is not None


def _killed_child(log: str, evidence: Evidence) -> Failure | None:
    """A process of the engine was killed without a text; only a child's death is told here."""
    found = _KILLED_CHILD.search(log)
    if evidence.exit is not None and evidence.exit.oom_killed:
        message = "the container's memory limit killed the engine"
        kind = FailureKind.CONTAINER_OOM
    elif found is not None:
        message = "the kernel killed a process of the engine (SIGKILL): the host ran out of memory"
        kind = FailureKind.HOST_OOM
    else:
        return None
    shown = (_line_of(log, found.start()),) if found is not None else ()
    return Failure(kind=kind, phase=evidence.phase, message=message, evidence=shown)


def _fallback(log: str, evidence: Evidence) -> Failure | None:
    """An exception that the table does not know, or argparse's exit code; None otherwise."""
    ended = evidence.exit
    if ended is None or ended.stopped_by_us:
        return None
    if ended.exit_code == 2 and not evidence.healthy_once:
        lines = [line for line in log.splitlines() if "error:" in line]
        shown = tuple(lines[-1:])
        message = shown[0].partition("error:")[2].strip() if shown else "the command was refused"
        failure = Failure(kind=FailureKind.INVALID_VALUE, phase=evidence.phase, message=message,
                          evidence=shown)  # fmt: skip
        return _with_exit(failure, evidence)
    line = _first_exception(log)
    if line is None and _DEATH.search(log) is None:
        return None
    kind = FailureKind.DIED_UNDER_LOAD if evidence.healthy_once else FailureKind.CRASHED_AT_START
    message = (line or "the engine died without naming a reason")[:_EXCERPT_CHARS]
    shown = (line[:_EXCERPT_CHARS],) if line else ()
    failure = Failure(kind=kind, phase=evidence.phase, message=message, evidence=shown)
    return _with_exit(failure, evidence)


def _first_exception(log: str) -> str | None:
    """The first exception line of the log that is no wrapper."""
    for line in log.splitlines():
        text = line.strip()
        if _EXCEPTION.match(text) and not any(w in text for w in _WRAPPERS):
            return text
    return None


def _with_exit(failure: Failure | None, evidence: Evidence) -> Failure | None:
    """Add the exit code to what is shown."""
    ended = evidence.exit
    if failure is None or ended is None or ended.exit_code is None:
        return failure
    return replace(failure, evidence=(*failure.evidence, f"exit code {ended.exit_code}"))


def _excerpt(found: re.Match[str]) -> str:
    """The whole lines that a match lies in, at most 600 characters from where they begin."""
    log = found.string
    begin = log.rfind("\n", 0, found.start()) + 1
    end = log.find("\n", found.end())
    begin = max(begin, found.start() - _EXCERPT_CHARS // 2)
    return log[begin : end if end >= 0 else len(log)][:_EXCERPT_CHARS].strip()


def _line_of(log: str, position: int) -> str:
    begin, end = log.rfind("\n", 0, position) + 1, log.find("\n", position)
    return log[begin : end if end >= 0 else len(log)][:_EXCERPT_CHARS].strip()
