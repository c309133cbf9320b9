"""What a verification would start, and for how long; nothing is started."""

import shlex
from dataclasses import dataclass
from statistics import fmean

from autotune.cli.verify.exported import ExportedFiles
from autotune.records import Configuration, TrialRecord
from autotune.report.quantities import duration_text
from autotune.report.untrusted import one_line
from autotune.units import s_from_ns


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A verification before it is run.

    Attributes:
        command: The server's, as the files start it.
        default: What it is compared with; None: the engine's default, planned when it starts.
        repeats: Deployments of each.
        trial_s: What a trial of the study took, start to end; None where none was measured.
    """

    files: ExportedFiles
    command: tuple[str, ...]
    default: Configuration | None
    repeats: int
    trial_s: float | None

    @property
    def lines(self) -> tuple[str, ...]:
        """For people."""
        names = " with ".join(path.name for path in self.files.files)
        arms = f"{names} (trial {self.files.trial}) and the default"
        told = [
            f"would start {arms} in turn, {self.repeats} of each",
            f"files:   {one_line(shlex.join(self.command))}",
            f"default: {self.default or 'engine defaults'}",
        ]
        if self.trial_s is not None:
            whole = duration_text(2 * self.repeats * self.trial_s)
            told.append(f"time:    about {whole}, at {duration_text(self.trial_s)} a deployment")
        told.append(f"would write the proof to {self.files.start.parent}; nothing was started")
        return tuple(told)

    def as_json(self) -> dict[str, object]:
        """For machines."""
        return {
            "event": "preview",
            "files": [str(path) for path in self.files.files],
            "trial": self.files.trial,
            "command": list(self.command),
            "default": None if self.default is None else self.default.values,
            "deployments": 2 * self.repeats,
            "expected_s": None if self.trial_s is None else 2 * self.repeats * self.trial_s,
        }


def usual_trial_s(records: tuple[TrialRecord, ...]) -> float | None:
    """Mean time of the trials that were measured whole, in seconds of the study's clock."""
    took = [s_from_ns(sum(p.duration_ns for p in r.phases)) for r in records if r.is_measured]
    return fmean(took) if took else None
