"""Every error that autotune raises on purpose.

    AutotuneError                1  root; never raised itself
    ├── UsageError               2  the command line asks for something that does not exist
    ├── SpecError                3  a study, space or matrix file is wrong (names the field)
    ├── ModelError               4  the model is missing, gated or not readable
    ├── EngineError              5  the engine at hand cannot be found or understood
    ├── DeployerError            6  Docker or the process deployer cannot do its work
    │   ├── DockerUnavailableError 7  no Docker engine, or no rights on its socket
    │   ├── ImageMissingError    8  the image is neither here nor to be had
    │   └── PortInUseError       9  somebody else listens on the port
    ├── HostError               10  the host lacks something: disk, memory, GPU
    ├── StoreError              11  records or database cannot be read or written
    │   └── StudyConflictError  12  the study exists with another space, or is in use
    ├── ProbeError              13  a server that was asked about does not answer as one should
    ├── NothingFeasibleError    14  the study ended without one feasible trial
    │   └── NothingJudgedError  16  none of its trials ran to an end that tells of its settings
    └── OutputLostError         15  nobody takes what the command writes

A trial that fails is not an error: it is an outcome in a record (`autotune.records`). These
errors end a command. Each carries the process's exit code and a hint: the next step to take.
Everything derives from `Exception`, for Optuna leaves a trial RUNNING for ever after anything
else. 130 is the exit code after Ctrl-C.
"""

from typing import ClassVar

EXIT_INTERRUPTED = 130


class AutotuneError(Exception):
    """Root of the tree.

    Args:
        message: What is wrong, naming the field, file or thing.
        hint: The next step to take; printed on a line of its own.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(AutotuneError):
    """The command line asks for something that does not exist."""

    exit_code = 2


class SpecError(AutotuneError):
    """A study, space or matrix file is wrong."""

    exit_code = 3


class ModelError(AutotuneError):
    """The model is missing, gated or not readable."""

    exit_code = 4


class EngineError(AutotuneError):
    """The engine at hand cannot be found or understood."""

    exit_code = 5


class DeployerError(AutotuneError):
    """A deployer cannot do its work, for a reason that is not the engine's."""

    exit_code = 6


class DockerUnavailableError(DeployerError):
    """There is no Docker engine, or no right to use its socket."""

    exit_code = 7


class ImageMissingError(DeployerError):
    """The image is neither on this machine nor to be had."""

    exit_code = 8


class PortInUseError(DeployerError):
    """Somebody else listens on the port."""

    exit_code = 9


class HostError(AutotuneError):
    """The host lacks something: disk, memory, a GPU."""

    exit_code = 10


class StoreError(AutotuneError):
    """Records or the database cannot be read or written."""

    exit_code = 11


class StudyConflictError(StoreError):
    """The study exists with another space, or somebody else runs it."""

    exit_code = 12


class ProbeError(AutotuneError):
    """A server that was asked about does not answer as one should."""

    exit_code = 13


class NothingFeasibleError(AutotuneError):
    """The study ended without one feasible trial."""

    exit_code = 14


class NothingJudgedError(NothingFeasibleError):
    """Every trial was cut off, interrupted, or failed by no fault of its settings."""

    exit_code = 16


class OutputLostError(AutotuneError):
    """Nobody takes what the command writes: a full disk, a reader or a terminal that has gone."""

    exit_code = 15
