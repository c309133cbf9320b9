"""A simulated vLLM as a process of its own, in real time, with real sockets.

    python -m autotune.engines.simulated.serve --card h100 MODEL --port 8000 [vllm serve options]

Options of its own come first or last, everything else is `vllm serve`'s:

    --card NAME         which card (a name in cards/ or a path)
    --release X.Y.Z     which release of vLLM is imitated
    --model-config FILE config.json, where the model is neither a folder nor a known name
    --host-memory GIB   memory of the host
    --boot-speed F      the start takes 1/F of its time (default 20)
    --speed F           iterations take 1/F of their time (default 1)
    --fault NAME        what goes wrong (`faults.Fault`)

It writes vLLM's log, refuses in vLLM's words and ends with its exit codes, so deployers,
supervision and classification can be tested on it without a GPU.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from aiohttp import web

from autotune.clock import Clock, MonotonicClock
from autotune.engines.model_shape import shape_of
from autotune.engines.models import read_model
from autotune.engines.simulated import refusals, words
from autotune.engines.simulated.arguments import Machine, settings_from
from autotune.engines.simulated.boot import AfterPhase, Boot, Caches
from autotune.engines.simulated.card import DEFAULT_CARD, Card, card_named, card_names
from autotune.engines.simulated.enginelog import API, EngineLog
from autotune.engines.simulated.faults import Fault, StartFault, start_fault
from autotune.engines.simulated.http_app import HttpFace
from autotune.engines.simulated.memory import MemoryTruth
from autotune.engines.simulated.memory_plan import HostRoom
from autotune.engines.simulated.options import parse
from autotune.engines.simulated.refusals import Refusal, StartRefused
from autotune.engines.simulated.release import DEFAULT_RELEASE, release_named
from autotune.engines.simulated.server import SimulatedServer
from autotune.errors import AutotuneError
from autotune.seams.engine import ModelFacts
from autotune.units import bytes_from_gib

_WATCHDOG_S: Final = 2.0
"""From the engine's death to the server's end; vLLM's watchdog looks every 5 s."""
_SLOW: Final = 10.0
_FLOOD_LINES: Final = 2000
_FLOOD_PAUSE_S: Final = 0.2


def own_options() -> ArgumentParser:
    """The options that are not vLLM's."""
    parser = ArgumentParser(
        prog="autotune simulate",
        usage="autotune simulate [options] MODEL [options of vllm serve]",
        description="A simulated vLLM server. It predicts; it measures nothing.",
        allow_abbrev=False,
    )
    parser.add_argument("--card", default=DEFAULT_CARD, help=", ".join(card_names()))
    parser.add_argument("--release", default=DEFAULT_RELEASE, help="of vLLM, 0.6.0 to 0.33.0")
    parser.add_argument("--model-config", type=Path, help="config.json of the model")
    parser.add_argument("--host-memory", type=float, help="of the host, GiB")
    parser.add_argument("--boot-speed", type=float, default=20.0, help="of the start")
    parser.add_argument("--speed", type=float, default=1.0, help="of the iterations")
    parser.add_argument("--fault", type=Fault, choices=tuple(Fault), help="what goes wrong")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Serve until a signal or a fault ends it; returns the exit code."""
    own, rest = own_options().parse_known_args(list(arguments))
    clock = MonotonicClock()
    try:
        return clock.run(_Process(own, rest, clock).main())
    except KeyboardInterrupt:
        return 130
    except AutotuneError as error:
        sys.stderr.write(f"{error.message}\n{error.hint}\n")
        return error.exit_code


class _Process:
    """One server process from its start to its end."""

    def __init__(self, own: Namespace, rest: list[str], clock: Clock) -> None:
        self._own, self._rest, self._clock = own, rest, clock
        self._fault: Fault | None = own.fault
        self._ended = asyncio.Event()
        self._exit_code = 0
        started_ns = clock.now_ns()
        self._journal = EngineLog(None, lambda: clock.now_ns() - started_ns, echo=_print)

    async def main(self) -> int:
        """Start, serve, end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_end)
        random = np.random.default_rng(0)
        working = asyncio.create_task(self._work(random))
        ended = asyncio.create_task(self._ended.wait())
        done, _ = await asyncio.wait({working, ended}, return_when=asyncio.FIRST_COMPLETED)
        code = self._exit_code
        if working in done:
            code = working.result()
        for task in (working, ended):
            task.cancel()
        await asyncio.gather(working, ended, return_exceptions=True)
        return code

    def _asked_to_end(self) -> None:
        if self._fault is Fault.IGNORES_SIGTERM:
            self._journal.raw("INFO:     a signal that is ignored")
            return
        self._journal.raw("INFO:     Shutting down")
        self._ended.set()

    # ---- the start ----

    async def _work(self, random: np.random.Generator) -> int:
        machine, weights_bytes = await self._machine()
        slowdown = (_SLOW if self._fault is Fault.SLOW_START else 1.0) / self._own.boot_speed
        boot = Boot(
            machine.card,
            machine.shape,
            self._journal,
            self._clock,
            random=random,
            caches=Caches(),
            slowdown=slowdown,
            after_phase=_failing(start_fault(self._fault, machine.release)),
        )
        await boot.imports(machine.release.name)
        try:
            settings = settings_from(self._rest, os.environ, machine)
            listener = self._bound(settings.port)
            truth = MemoryTruth(machine.card, machine.shape, settings, self._room(machine.card),
                                weights_bytes)  # fmt: skip
            memory = await boot.engine(settings, truth)
        except StartRefused as refused:
            return self._refused(refused.refusal)
        if self._fault is Fault.NEVER_HEALTHY:
            await asyncio.Event().wait()
        server = SimulatedServer(
            machine.card, machine.shape, settings, memory, self._clock, random=random, streams=True
        )
        await self._serve(server, listener)
        boot.serving(settings, f"{listener.getsockname()[0]}:{settings.port}")
        if self._fault is Fault.LOG_FLOOD:
            await self._flood()
        await asyncio.Event().wait()
        return 0

    async def _machine(self) -> tuple[Machine, int | None]:
        card = faster(card_named(self._own.card), self._own.speed)
        release = release_named(self._own.release)
        facts = await self._model(parse_model(self._rest, release.name))
        machine = Machine(release=release, card=card, shape=shape_of(facts), model_name=facts.name)
        return machine, facts.weights_bytes

    async def _model(self, name: str) -> ModelFacts:
        path: Path | None = self._own.model_config
        if path is None:
            return await read_model(name)
        config = json.loads(path.read_text(encoding="utf-8"))  # noqa: ASYNC240 - before serving
        return ModelFacts(name=name, config=config)

    def _bound(self, port: int) -> socket.socket:
        """Bind before the engine starts, as vLLM does; it listens once the engine is up."""
        host = parse(self._rest, release_named(self._own.release)).text("host") or "0.0.0.0"  # noqa: S104 - vLLM's default
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            text = f"OSError: [Errno {error.errno}] {error.strerror}"
            raise StartRefused(refusals.config_error(text)) from error
        return listener

    def _room(self, card: Card) -> HostRoom:
        host = bytes_from_gib(self._own.host_memory or card.host_memory_gib)
        return HostRoom(memory_bytes=host, shm_bytes=host // 2)

    def _refused(self, refusal: Refusal) -> int:
        self._journal.refused(refusal)
        if refusal.exit_code == refusals.EXIT_KILLED:
            self._kill()
        return refusal.exit_code

    # ---- serving ----

    async def _serve(self, server: SimulatedServer, listener: socket.socket) -> None:
        face = HttpFace(
            server,
            fault=self._fault,
            dies=lambda fault: self._engine_dies(server, fault),
            kill=self._kill,
        )
        runner = web.AppRunner(face.application(), access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        await web.SockSite(runner, listener).start()

    def _engine_dies(self, server: SimulatedServer, fault: Fault) -> None:
        """The engine core ends; the API server follows with exit code 0 (vLLM issue 48966)."""
        if server.core.is_stopped:
            return
        text = words.cuda_crash()
        if fault is Fault.OOM_UNDER_LOAD:
            plan = server.plan
            text = words.cuda_oom(plan.activation, plan.total, plan.activation / 8, plan.total)
        for line in ("EngineCore encountered a fatal error.",
                     *refusals.core_error(text, frame="execute_model").lines):  # fmt: skip
            self._journal.error("core.py:1145", line)
        self._journal.error("async_llm.py:708", words.ENGINE_DEAD, process=API)
        server.die()
        asyncio.get_running_loop().call_later(_WATCHDOG_S, self._ended.set)

    @staticmethod
    def _kill() -> None:
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    async def _flood(self) -> None:
        while True:
            for number in range(_FLOOD_LINES):
                self._journal.info("loggers.py:259", f"Engine 000: flood {number} " + "x" * 60)
            await self._clock.sleep(_FLOOD_PAUSE_S)


def _failing(fault: StartFault | None) -> AfterPhase | None:
    if fault is None:
        return None

    def check(phase: str) -> None:
        if phase == fault.phase:
            raise StartRefused(fault.refusal)

    return check


def parse_model(rest: Sequence[str], release: str) -> str:
    """The model that a command line names; the default one where it does not parse."""
    try:
        parsed = parse(list(rest), release_named(release))
    except StartRefused:
        return "Qwen/Qwen2.5-7B-Instruct"
    return parsed.model or parsed.text("model") or "Qwen/Qwen2.5-7B-Instruct"


def faster(card: Card, factor: float) -> Card:
    """A card on which everything takes 1/factor of its time; for tests that cannot wait."""
    if factor == 1.0:
        return card
    host = {name: value / factor for name, value in card.host.model_dump().items()
            if name.endswith("_us")}  # fmt: skip
    gpu = card.gpu.model_copy(update={"layer_us": card.gpu.layer_us / factor,
                                      "iteration_us": card.gpu.iteration_us / factor})  # fmt: skip
    fp8 = card.tflops.fp8
    return card.model_copy(
        update={
            "bandwidth_gb_per_s": card.bandwidth_gb_per_s * factor,
            "pcie_gb_per_s": card.pcie_gb_per_s * factor,
            "tflops": card.tflops.model_copy(
                update={
                    "bf16": card.tflops.bf16 * factor,
                    "fp8": None if fp8 is None else fp8 * factor,
                }
            ),
            "host": card.host.model_copy(update=host),
            "gpu": gpu,
        }
    )


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
