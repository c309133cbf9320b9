"""`autotune probe URL`: run tests against a server that is already running."""

import secrets
from typing import Annotated

import orjson
import typer
from rich.console import Console

from autotune.cli.options import JsonOption
from autotune.clock import Clock, MonotonicClock
from autotune.engines import ENGINES
from autotune.errors import EngineError, ProbeError, UsageError
from autotune.load.connect import http_connector
from autotune.probes import PROBES
from autotune.records import Applied, Configuration, ProbeResult, ProbeStatus
from autotune.report.quantities import display, title
from autotune.report.table import Cell, Column, Table, Tone, to_rich
from autotune.seams.engine import Capabilities, Engine
from autotune.seams.probe import ProbeContext, Readiness
from autotune.seams.requests import Client
from autotune.spec.matrix import tests_from
from autotune.spec.workload import Workload
from autotune.telemetry import machine_sources
from autotune.telemetry.engine_metrics import EngineMetricsSource
from autotune.telemetry.sampler import Sampler


def probe(
    url: Annotated[str, typer.Argument(help="Where the server answers: http://127.0.0.1:8000")],
    model: Annotated[str | None, typer.Option(help="Default: the first that it serves.")] = None,
    tests: Annotated[str, typer.Option(help="Which tests: 2-6, or 3,4.")] = "2-6",
    concurrency: Annotated[int, typer.Option(min=1, help="Requests in flight in test 3.")] = 100,
    requests: Annotated[int, typer.Option(min=1, help="Requests in test 3.")] = 300,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="Prompt length in test 3.")] = 512,
    output_tokens: Annotated[int, typer.Option(min=2, help="Output length in test 3.")] = 128,
    *,
    json: JsonOption = False,
) -> int:
    """Measure a server that is already running, any OpenAI-compatible one.

    Example: autotune probe http://127.0.0.1:8000 --tests 2-4
    """
    workload = Workload(
        concurrency=concurrency,
        requests=requests,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
    )
    chosen = set(tests_from(tests))
    if chosen == {1}:
        message = "test 1 times a start, and this server runs already"
        raise UsageError(message, hint="Choose from tests 2 to 6.")
    clock = MonotonicClock()
    results = clock.run(_ask(url.rstrip("/"), model, chosen - {1}, workload, clock))
    if json:
        for result in results:
            typer.echo(orjson.dumps(result, option=orjson.OPT_NON_STR_KEYS).decode())
    else:
        Console(highlight=False).print(to_rich(_table(url, results)))
    return 0 if all(r.status is not ProbeStatus.FAILED for r in results) else ProbeError.exit_code


async def _ask(
    url: str, model: str | None, tests: set[int], workload: Workload, clock: Clock
) -> list[ProbeResult]:
    async with http_connector(clock)(base_url=url, model=model or "") as connection:
        name = model or await served_model(connection.client, url)
    results: list[ProbeResult] = []
    engine = ENGINES["vllm"]()
    async with http_connector(clock)(base_url=url, model=name) as connection:
        client = connection.client
        sources = (*machine_sources(), EngineMetricsSource(client, engine.gauges))
        applied = await _applied(engine, client)
        async with Sampler(sources, clock, workload.telemetry_interval_s) as sampler:
            for make in PROBES.values():
                asked = make()
                if asked.test not in tests:
                    continue
                context = ProbeContext(
                    client=client,
                    load=connection.load,
                    clock=clock,
                    workload=workload,
                    configuration=Configuration(),
                    applied=applied,
                    readiness=Readiness(started_ns=clock.now_ns(), healthy_ns=clock.now_ns()),
                    timeline=sampler.timeline,
                    gauges=engine.gauges,
                    seed=secrets.randbits(31),
                    finished=tuple(results),
                )
                results.append(await asked.run(context))
    return results


async def served_model(client: Client, url: str) -> str:
    """The first model that a server says it serves.

    Raises:
        ProbeError: If nobody answers, or not as an OpenAI-compatible server does.
    """
    answer = await client.get("/v1/models")
    if answer is None:
        message = f"nobody answers at {url}"
        raise ProbeError(message, hint="Is the server up, and is the port right?")
    try:
        return str(orjson.loads(answer.text)["data"][0]["id"])
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError) as error:
        message = f"{url}/v1/models answers {answer.status}, not with a list of models"
        raise ProbeError(message, hint="Is this an OpenAI-compatible server?") from error


async def _applied(engine: Engine, client: Client) -> Applied:
    """What the server says it runs with: vLLM tells much, another engine nothing."""
    answer = await client.get("/version")
    if answer is None or answer.status != 200:
        return Applied()
    try:
        release = str(orjson.loads(answer.text)["version"])
        capabilities = Capabilities(engine="vllm", release=release, platform="unknown")
        return await engine.read_back(Configuration(), capabilities, client, "")
    except (orjson.JSONDecodeError, KeyError, TypeError, EngineError):
        return Applied()  # some other engine's version: the probes ask it all the same


def _table(url: str, results: list[ProbeResult]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for result in results:
        if result.status is not ProbeStatus.MEASURED:
            why = f"{result.status.value}: {result.reason}"
            rows.append((Cell.of(result.probe), Cell.of(""), Cell.of(why, Tone.BAD)))
        rows += [
            (Cell.of(result.probe), Cell.of(title(tag)), Cell.of(display(tag, value)))
            for tag, value in result.metrics.items()
            if value is not None
        ]
    columns = (
        Column(head="probe"),
        Column(head="metric"),
        Column(head="value", align="right", fold=True),
    )
    return Table(title=f"Measured at {url}", columns=columns, rows=tuple(rows))
