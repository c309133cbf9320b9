"""`autotune probe URL`: run tests against a server that is already running."""

import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import orjson
import typer
from rich.console import Console

from autotune.cli.json_lines import line_of
from autotune.cli.options import JsonOption
from autotune.clock import Clock, MonotonicClock
from autotune.engines import ENGINES
from autotune.engines.simulated.exposition import OWNER as SIMULATED_OWNER
from autotune.errors import EngineError, ProbeError, UsageError
from autotune.load.connect import http_connector
from autotune.probes import PROBES
from autotune.records import Applied, Configuration, ProbeResult, ProbeStatus
from autotune.report.quantities import display, interval, title
from autotune.report.table import SIMULATED, Cell, Column, Table, Tone, to_rich
from autotune.report.untrusted import one_line
from autotune.seams.engine import Capabilities, Engine
from autotune.seams.probe import ProbeContext, Readiness
from autotune.seams.requests import Client, Connector
from autotune.spec.files import validate
from autotune.spec.matrix import tests_from
from autotune.spec.workload import Workload
from autotune.telemetry import machine_sources
from autotune.telemetry.engine_metrics import EngineMetricsSource
from autotune.telemetry.sampler import Sampler
from autotune.trial.unspoken import probe_without_secrets

_URL: Final = re.compile(r"https?://(\[[\da-fA-F:.]+\]|[^/\s:@\[\]]+)(:\d{1,5})?(/\S*)?")
_HOST: Final = re.compile(r"localhost(?![^:/])|[^/]*[.:]")
"""How a server is named without a scheme: with a domain, an address or a port."""


@dataclass(frozen=True, kw_only=True)
class Served:
    """What a server offers.

    Attributes:
        models: Names by which it may be asked, in its order.
        simulated: Whether it says that its answers are made up.
    """

    models: tuple[str, ...]
    simulated: bool


def probe(
    url: Annotated[str, typer.Argument(help="Where the server answers: http://127.0.0.1:8000")],
    model: Annotated[str | None, typer.Option(help="Default: the first that it serves.")] = None,
    tests: Annotated[str, typer.Option(help="Which tests: 2-6, or 3,4.")] = "2-6",
    concurrency: Annotated[int, typer.Option(min=1, help="Requests in flight in test 3.")] = 100,
    requests: Annotated[int, typer.Option(min=1, help="Requests in test 3.")] = 300,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="Prompt length in test 3.")] = 512,
    output_tokens: Annotated[int, typer.Option(min=2, help="Output length in test 3.")] = 128,
    rate: Annotated[
        float | None, typer.Option(help="Test 3 as an open loop: requests/s, Poisson.")
    ] = None,
    dataset: Annotated[
        Path | None, typer.Option(help="Test 3 from ShareGPT's JSON, JSONL or a trace.")
    ] = None,
    client_lag_ms: Annotated[
        float | None, typer.Option(help="How late the client may be; strict if left out.")
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option(help="Variable that holds the key the server asks for.")
    ] = None,
    *,
    capacity: Annotated[
        bool, typer.Option("--capacity", help="Also the highest rate within 2 s TTFT, 0.1 s ITL.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Measure a server that is already running, any OpenAI-compatible one.

    Example: autotune probe http://127.0.0.1:8000 --tests 2-4
    """
    workload = validate(
        Workload,
        {
            "concurrency": concurrency,
            "requests": requests,
            "prompt_tokens": prompt_tokens,
            "output_tokens": output_tokens,
            "arrival": "closed" if rate is None else "poisson",
            "rate_requests_per_s": rate,
            "dataset": None if dataset is None else str(dataset),
            "client_lag_ms": client_lag_ms,
        },
        where="the command line",
        options={"rate_requests_per_s": "--rate", "client_lag_ms": "--client-lag-ms"},
    )
    chosen = set(tests_from(tests))
    if chosen == {1}:
        message = "test 1 times a start, and this server runs already"
        raise UsageError(message, hint="Choose from tests 2 to 6.")
    wanted = [name for name, make in PROBES.items() if make().test in chosen - {1}]
    wanted += ["capacity"] if capacity else []
    base_url = whole_url(url)
    clock = MonotonicClock()
    connect = http_connector(clock, headers=authorization(api_key_env, os.environ))
    served = clock.run(served_by(base_url, connect))
    name = chosen_model(served, model, base_url)
    if not json:
        mark = f"{SIMULATED}: " if served.simulated else ""
        typer.echo(f"{mark}measuring {one_line(name)} at {base_url}", err=True)
    asked = clock.run(_ask(base_url, name, wanted, workload, clock, connect))
    keys = [api_key_env] if api_key_env else []
    results = [probe_without_secrets(result, os.environ, keys) for result in asked]
    if json:
        for result in results:
            typer.echo(_line(result, name, simulated=served.simulated))
    else:
        table = _table(base_url, name, results, simulated=served.simulated)
        console = Console(highlight=False, markup=False)
        console.print(to_rich(table))
        for line in notes_of(results):
            console.print(line)
    require_measured(results)


def whole_url(text: str) -> str:
    """A server's URL without the slash at its end; one without a scheme is plain HTTP.

    Without a scheme it must look like a host: a word alone is a slip of the pen, or the name of
    a study.

    Raises:
        UsageError: If that is no URL.
    """
    text = text.strip()
    url = text if "://" in text else f"http://{text}"
    if not _URL.fullmatch(url) or not ("://" in text or _HOST.match(text)):
        message = f"{text!r} is no URL of a server"
        raise UsageError(message, hint="Write it like http://127.0.0.1:8000.")
    return url.rstrip("/").removesuffix("/v1")


def authorization(variable: str | None, environ: Mapping[str, str]) -> dict[str, str]:
    """What every request carries; a key is sent only where the user names its variable.

    Raises:
        UsageError: If that variable is not set.
    """
    if variable is None:
        return {}
    if not environ.get(variable):
        message = f"--api-key-env: the variable {variable} is not set"
        raise UsageError(message, hint=f"`export {variable}=...` before.")
    return {"Authorization": f"Bearer {environ[variable]}"}


async def served_by(url: str, connect: Connector) -> Served:
    """Ask a server what it serves.

    Raises:
        ProbeError: If nobody answers, or not as an OpenAI-compatible server does.
    """
    async with connect(base_url=url, model="") as connection:
        answer = await connection.client.get("/v1/models")
    if answer is None:
        message = f"nobody answers at {url}"
        raise ProbeError(message, hint="Is the server up, and is the port right?")
    if answer.status in {401, 403}:
        message = f"{url} asks for a key (it answers {answer.status})"
        raise ProbeError(message, hint="Name the variable that holds it: --api-key-env.")
    try:
        models = orjson.loads(answer.text)["data"]
        names = tuple(str(model["id"]) for model in models)
        owners = {model.get("owned_by") for model in models}
        return Served(models=(names[0], *names[1:]), simulated=SIMULATED_OWNER in owners)
    except (orjson.JSONDecodeError, AttributeError, KeyError, IndexError, TypeError) as error:
        message = f"{url}/v1/models answers {answer.status}, not with a list of models"
        raise ProbeError(message, hint="Is this an OpenAI-compatible server?") from error


def chosen_model(served: Served, asked: str | None, url: str) -> str:
    """The model that is asked for; the first where none is.

    Raises:
        ProbeError: If the server does not serve it: it might answer with another one.
    """
    if asked is None or asked in served.models:
        return asked or served.models[0]
    message = f"{url} does not serve {asked!r}"
    raise ProbeError(message, hint=f"It serves: {', '.join(map(one_line, served.models))}.")


def require_measured(results: Sequence[ProbeResult]) -> None:
    """Turn a test that failed into an error line and an exit code.

    Raises:
        ProbeError: Naming the first failure.
    """
    failed = [r for r in results if r.status is ProbeStatus.FAILED]
    if failed:
        count = f"{len(failed)} of {len(results)} tests failed"
        message = f"{count}; {failed[0].probe}: {failed[0].reason}"
        raise ProbeError(message, hint="The server's own log may say more.")


def notes_of(results: Sequence[ProbeResult]) -> list[str]:
    """What the tests noted beside their figures, one line each."""
    return [f"{r.probe}: {one_line(note)}" for r in results for note in r.notes]


def _line(result: ProbeResult, model: str, *, simulated: bool) -> str:
    values = {"event": "probe", "model": model, "simulated": simulated, **asdict(result)}
    return line_of(values)


async def _ask(
    url: str,
    model: str,
    wanted: Sequence[str],
    workload: Workload,
    clock: Clock,
    connect: Connector,
) -> list[ProbeResult]:
    results: list[ProbeResult] = []
    engine = ENGINES["vllm"]()
    async with connect(base_url=url, model=model) as connection:
        client = connection.client
        sources = (*machine_sources(), EngineMetricsSource(client, engine.gauges))
        applied = await _applied(engine, client)
        async with Sampler(sources, clock, workload.telemetry_interval_s) as sampler:
            for make in (PROBES[name] for name in PROBES if name in wanted):
                asked = make()
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


def _table(url: str, model: str, results: Sequence[ProbeResult], *, simulated: bool) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for result in results:
        if result.status is not ProbeStatus.MEASURED:
            why = f"{result.status.value}: {result.reason}"
            rows.append((Cell.of(result.probe), Cell.of(""), Cell.of(why, Tone.BAD)))
        rows += [
            (Cell.of(result.probe), Cell.of(title(tag)), Cell.of(_figure(result, tag, value)))
            for tag, value in result.metrics.items()
            if value is not None
        ]
    columns = (
        Column(head="probe"),
        Column(head="metric"),
        Column(head="value", align="right", fold=True),
    )
    head = f"{one_line(model)} at {url}"
    return Table(title=head, columns=columns, rows=tuple(rows), simulated=simulated)


def _figure(result: ProbeResult, tag: str, value: float) -> str:
    """A figure with its 95% interval, where there is one."""
    between = interval(tag, *result.intervals.get(tag, (None, None)))
    return f"{display(tag, value)} ({between})" if between else display(tag, value)
