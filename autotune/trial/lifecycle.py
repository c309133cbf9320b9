"""The life of one trial.

    preparing -> deploying -> starting -> warming_up -> probe:* -> stopping -> waiting_for_memory
                     |            |           |            |
                     +------------+-----------+------------+--> stopping (failed, classified)

What happens between "deploying" and "stopping" is a race: `autotune.trial.session`. Whoever wins
it, the server is stopped and one record comes back.
"""

import asyncio
import os
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from autotune.errors import (
    AutotuneError,
    DeployerError,
    EngineError,
    HostError,
    ImageMissingError,
    PortInUseError,
)
from autotune.paths import StudyPaths
from autotune.records import Configuration, Failure, FailureKind, TrialRecord
from autotune.seams.deployment import Identity, LaunchPlan
from autotune.seams.engine import Capabilities, LaunchContext, Screening, Settled
from autotune.seams.events import Notice
from autotune.seams.telemetry import Sample
from autotune.seams.trial import TrialRequest
from autotune.spec.study import StudySpec
from autotune.trial.attempt import Attempt
from autotune.trial.evidence import read_log
from autotune.trial.limits import no_room
from autotune.trial.neighbours import OTHER_USERS, neighbours
from autotune.trial.quiet import IdleLevel, look, settled_look
from autotune.trial.session import Session
from autotune.trial.tools import TrialTools
from autotune.trial.unspoken import without_secrets

MEMORY_BACK_TIMEOUT_S: Final = 90.0

_LAUNCH = TypeAdapter(LaunchPlan)


class Trials:
    """Runs the trials of one study (a `TrialRunner`).

    Args:
        spec: The study.
        paths: Where its files go.
        tools: The rooms that a trial walks through.
        owner: Process id and start time of this autotune, for labels.
        measures_all: Whether all trials are run to be compared (a matrix): then the GPU's
            headroom refuses none.
    """

    def __init__(
        self,
        spec: StudySpec,
        paths: StudyPaths,
        tools: TrialTools,
        *,
        owner: tuple[int, str],
        measures_all: bool = False,
    ) -> None:
        self._spec = spec
        self._measures_all = measures_all
        self._paths = paths
        self._tools = tools
        self._owner = owner
        self._idle = IdleLevel(gpu_memory_used_bytes=None)
        self._before: Sample | None = None
        self._neighbours = ""
        self._other_images: dict[str, Capabilities] = {}

    async def prepare(self) -> tuple[str, ...]:
        """Once, before the first trial: end a dead run's leftovers, learn the idle level.

        Returns:
            What was ended.

        Raises:
            HostError: Less of the host's memory is available than must stay so.
        """
        swept = await self._tools.deployer.sweep(self._spec.name)
        sources, clock = self._tools.machine_sources, self._tools.clock
        values = await (settled_look(sources, clock) if swept else look(sources))
        self._before = Sample(at_ns=self._tools.clock.now_ns(), values=values)
        self._idle = IdleLevel.of(values)
        hardware = self._tools.context.hardware
        self._neighbours = neighbours(values, hardware)
        if self._neighbours:
            text = f"the GPU has other users ({self._neighbours}): figures hold beside them"
            self._tools.observer(Notice(text=text, level="warning"))
        too_little = no_room(self._before, self._spec.headroom, hardware)
        if too_little is not None:
            message = f"no trial could run: {too_little}"
            hint = "End other programs, or lower headroom.host_gib in the study file."
            raise HostError(message, hint=hint)
        return swept

    def screen(self, configuration: Configuration) -> Screening:
        """The engine's verdict before a start.

        What others are compared with is started where it would break the GPU's headroom, too.
        """
        screening = self._tools.engine.screen(configuration, self._tools.context)
        if screening.failure is not None or self._is_compared(configuration):
            return screening
        return replace(screening, failure=screening.headroom)

    def _is_compared(self, configuration: Configuration) -> bool:
        asked = Configuration.of(self._spec.baseline)
        return self._measures_all or configuration == self.settle(asked).configuration

    def settle(self, configuration: Configuration) -> Settled:
        """A fixed configuration held against the engine at hand."""
        context = self._tools.context
        return self._tools.engine.settle(configuration, context.capabilities, context.hardware)

    async def run(self, request: TrialRequest) -> TrialRecord:
        """Deploy, measure, stop; exactly one record comes back.

        Raises:
            ImageMissingError: The study's own image; every further trial would miss it too.
            HostError: The trial's files cannot be written.
        """
        attempt = Attempt(
            request=request,
            tools=self._tools,
            study=self._spec.name,
            wall_start=self._tools.clock.wall().isoformat(),
        )
        if self._neighbours:
            attempt.environment[OTHER_USERS] = self._neighbours
        try:
            await self._run(attempt)
        except asyncio.CancelledError:
            message = "stopped by the user"
            if not attempt.is_decided:  # else only the clearing up was hurried
                attempt.fail(
                    Failure(kind=FailureKind.INTERRUPTED, phase=attempt.where, message=message)
                )
        except ImageMissingError as error:
            if request.image is None:
                raise
            attempt.fail(_refused(FailureKind.DEPLOYER_FAULT, attempt, error))
        except EngineError as error:
            attempt.fail(_refused(FailureKind.UNSUPPORTED_COMBINATION, attempt, error))
        except PortInUseError as error:
            attempt.fail(_refused(FailureKind.PORT_IN_USE, attempt, error))
        except DeployerError as error:
            attempt.fail(_refused(FailureKind.DEPLOYER_FAULT, attempt, error))
        except AutotuneError:
            raise
        except OSError as error:
            if isinstance(error, ConnectionError | TimeoutError):
                attempt.fail(_unexpected(attempt, error))
            else:
                message = f"the trial's files cannot be written: {error.strerror or error}"
                hint = "Check rights and free space of that disk."
                raise HostError(message, hint=hint) from error
        except Exception as error:  # noqa: BLE001 - one trial's accident must not lose the others
            attempt.fail(_unexpected(attempt, error))
        record = without_secrets(attempt.record(), os.environ)
        self._learn(record, attempt)
        return record

    def _learn(self, record: TrialRecord, attempt: Attempt) -> None:
        """Teach the memory model, unless the trial ran another image's release."""
        image = attempt.request.image
        if image is None or image == self._tools.context.target.image:
            self._tools.engine.learn(record)

    async def _run(self, attempt: Attempt) -> None:
        files = self._paths.trial(attempt.request.number)
        with attempt.phase("preparing"):
            tools = replace(self._tools, context=await self._context(attempt))
            plan = tools.engine.launch_plan(attempt.request.configuration, tools.context)
            attempt.command = plan.argv
            screening = tools.engine.screen(attempt.request.configuration, tools.context)
            attempt.predicted = dict(screening.predicted)
            files.root.mkdir(parents=True, exist_ok=True)
            files.launch.write_bytes(_LAUNCH.dump_json(plan, indent=1))
            await self._wait_for_memory(attempt)
        identity = Identity(
            study=self._spec.name,
            trial=attempt.request.number,
            owner_pid=self._owner[0],
            owner_start=self._owner[1],
        )
        try:
            with attempt.phase("deploying"):
                deploying = self._tools.deployer.deploy(plan, identity=identity, log_path=files.log)
                deployment = await deploying.__aenter__()
            try:
                session = Session(attempt, self._spec, self._tools, plan, deployment, self._before)
                await session.run(files.telemetry)
                attempt.is_decided = True
            finally:
                with attempt.phase("stopping"):
                    await deploying.__aexit__(None, None, None)
        finally:
            attempt.ledger = self._tools.engine.ledger(read_log(files.log))
        with attempt.phase("waiting_for_memory"):
            await self._wait_for_memory(attempt)

    async def _context(self, attempt: Attempt) -> LaunchContext:
        """The study's, with a port; a cell with an image of its own has that one's release."""
        base, image = self._tools.context, attempt.request.image
        port = self._spec.port or self._tools.free_port(base.bind_host)
        if image is None or image == base.target.image:
            return replace(base, port=port)
        if base.target.deployer == "process":
            message = f"it asks for the image {image}, and this study starts no containers"
            raise EngineError(message, hint="Give --deployer docker, or leave the image out.")
        target = replace(base.target, image=image)
        if image not in self._other_images:
            self._other_images[image] = await self._tools.engine.detect(target)
        found = self._other_images[image]
        attempt.environment.update(
            {"image": image, "image_digest": found.image_digest or "",
             "engine_release": found.release}
        )  # fmt: skip
        return replace(base, port=port, target=target, capabilities=found)

    async def _wait_for_memory(self, attempt: Attempt) -> None:
        left = await self._idle.wait(
            self._tools.machine_sources, self._tools.clock, timeout_s=MEMORY_BACK_TIMEOUT_S
        )
        if left:
            attempt.notes.append(left)
            # Somebody else took it, and will not give it back for the trials that follow either.
            self._idle = IdleLevel.of(await look(self._tools.machine_sources))


def _unexpected(attempt: Attempt, error: Exception) -> Failure:
    """What nobody foresaw, as this trial's failure: its name, and where it came from."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    return Failure(
        kind=FailureKind.AUTOTUNE_FAULT,
        phase=attempt.where,
        message=f"autotune itself failed: {type(error).__name__}: {one_line(error)}",
        evidence=tuple(f"{Path(f.filename).name}:{f.lineno} in {f.name}: {f.line}" for f in frames),
    )


def one_line(error: Exception) -> str:
    """An exception's words without line breaks, 300 characters at most."""
    return " ".join(str(error).split())[:300] or "without words"


def _refused(kind: FailureKind, attempt: Attempt, error: AutotuneError) -> Failure:
    """An error that one trial alone has met, as its failure."""
    return Failure(
        kind=kind,
        phase=attempt.where,
        message=error.message,
        evidence=(error.hint,) if error.hint else (),
    )
