"""Every file name of a study and a trial, and where declared files are found."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from autotune.errors import UsageError

_PACKAGE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class TrialPaths:
    """Files of one trial."""

    root: Path

    @property
    def record(self) -> Path:
        """The trial record; its presence is what makes a trial finished."""
        return self.root / "trial.json"

    @property
    def log(self) -> Path:
        """The engine's stdout and stderr."""
        return self.root / "engine.log"

    @property
    def telemetry(self) -> Path:
        """One JSON object per look at the machine."""
        return self.root / "telemetry.jsonl"

    @property
    def launch(self) -> Path:
        """What was started."""
        return self.root / "launch.json"


@dataclass(frozen=True)
class StudyPaths:
    """Files of one study."""

    root: Path

    @property
    def name(self) -> str:
        """The study's name."""
        return self.root.name

    @property
    def spec(self) -> Path:
        """The study as resolved."""
        return self.root / "study.yaml"

    @property
    def resolution(self) -> Path:
        """What was taken out of the declared space, and what is fragile in it."""
        return self.root / "resolved.json"

    @property
    def preference(self) -> Path:
        """Which end of the front the user chose after the study, if any."""
        return self.root / "preference"

    @property
    def lock(self) -> Path:
        """Held while somebody runs the study."""
        return self.root / "lock"

    @property
    def database(self) -> Path:
        """Optuna's; can be rebuilt from the records."""
        return self.root / "optuna.db"

    @property
    def artifacts(self) -> Path:
        """What optuna-dashboard shows beside trials."""
        return self.root / "artifacts"

    @property
    def trials(self) -> Path:
        """One folder per trial."""
        return self.root / "trials"

    @property
    def recommended(self) -> Path:
        """The recommendation, ready to start."""
        return self.root / "recommended"

    def trial(self, number: int) -> TrialPaths:
        """Files of a trial."""
        return TrialPaths(self.trials / f"{number:04d}")


def results_root() -> Path:
    """Folder under which results go: `studies/` of the current directory."""
    return Path.cwd() / "studies"


def declared_file(kind: str, name: str, *, but: Callable[[Path], bool] = lambda _: False) -> Path:
    """Find a declared study, matrix or search space.

    Looked for in this order: the path itself, `KIND/NAME.yaml` in the current directory, the
    checkout that this package lies in, the files that came with the installed package.

    Args:
        kind: "studies" or "search_spaces".
        name: A path, or a name without ".yaml".
        but: Files that the hint does not offer, for they are of another kind.

    Raises:
        UsageError: If there is none; the hint lists those that there are.
    """
    roots = (Path.cwd() / kind, _PACKAGE.parent / kind, _PACKAGE / "_declared" / kind)
    candidates = [Path(name)] if name.endswith((".yaml", ".yml")) else []
    candidates += [root / f"{name}.yaml" for root in roots]
    for candidate in candidates:
        if _is_file(candidate):
            return candidate
    if name and _is_folder(Path(name)):
        inside = ", ".join(str(f) for f in sorted(Path(name).glob("*.y*ml"))[:5])
        message = f"{name!r} is a folder, and a file is wanted"
        raise UsageError(message, hint=f"Give the file: {inside or 'there is none in it'}.")
    found = (f for root in roots if root.is_dir() for f in root.glob("*.yaml"))
    known = sorted({f.stem for f in found if not but(f)})
    message = f"there is no file {name!r} in {kind}/"
    raise UsageError(message, hint=f"Known ones: {', '.join(known) or 'none'}.")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _is_file(path: Path) -> bool:
    """Whether there is such a file; a name that the system refuses (too long) is none."""
    try:
        return path.is_file()
    except OSError:
        return False
