"""What the dashboard is given to show beside Optuna's own, drawn by the report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from autotune.records import TrialRecord


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """A file on a trial's page.

    Attributes:
        read: Gives its content when somebody looks.
    """

    name: str
    mimetype: str
    read: Callable[[], bytes]


@dataclass(frozen=True, kw_only=True)
class TrialPage:
    """What a trial's page shows beside Optuna's own.

    Attributes:
        note: Markdown; text from elsewhere must be escaped already.
    """

    note: str = ""
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StudyPage:
    """What a study's page shows beside Optuna's own.

    Attributes:
        figures: Name to a plotly figure as JSON.
        front: Numbers of the best trials; None leaves them to Optuna.
        values: Number of a trial to what is shown as its objectives, in the ledger's units; the
            page finds its own front by them.
        infeasible: Number of a trial that broke a limit to what it measured nevertheless, in the
            same units; optuna-dashboard greys out as infeasible only what is complete.
    """

    note: str = ""
    figures: Mapping[str, str] = field(default_factory=dict)
    front: Sequence[int] | None = None
    values: Mapping[int, Sequence[float]] = field(default_factory=dict)
    infeasible: Mapping[int, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Pages:
    """Draws what is shown; given by the command, for it is the report's business.

    Attributes:
        importances: For each objective, parameter to its share, the greatest first; empty where
            nothing is known. None leaves them to Optuna.
        mark: Stands behind the study's name at the head of every page, and so over every plot.
    """

    trial: Callable[[TrialRecord], TrialPage]
    study: Callable[[Sequence[TrialRecord]], StudyPage]
    importances: Callable[[Sequence[TrialRecord]], Sequence[Mapping[str, float]]] | None = None
    mark: str = ""
