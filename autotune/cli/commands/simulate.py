"""`autotune simulate`: the simulated engine as a server, in real time."""

from pathlib import Path
from typing import Annotated, Final

import typer

from autotune.engines.simulated.card import DEFAULT_CARD, card_named, card_names
from autotune.engines.simulated.faults import Fault
from autotune.engines.simulated.options import parse
from autotune.engines.simulated.refusals import StartRefused
from autotune.engines.simulated.release import DEFAULT_RELEASE, release_named
from autotune.engines.simulated.serve import run as serve
from autotune.report.table import SIMULATED

CONTEXT: Final = {"ignore_unknown_options": True, "allow_extra_args": True}

MODEL: Final = "Qwen/Qwen2.5-7B-Instruct-AWQ"
"""What is served where no model is named; it fits the default card."""

LOOPBACK: Final = "127.0.0.1"


def simulate(
    context: typer.Context,
    card: Annotated[
        str, typer.Option(help=f"{', '.join(card_names())}, or a file.")
    ] = DEFAULT_CARD,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any.")] = 8000,
    release: Annotated[str, typer.Option(help="Of vLLM, 0.6.0 to 0.33.0.")] = DEFAULT_RELEASE,
    speed: Annotated[float, typer.Option(min=0.01, help="So many times as fast.")] = 1.0,
    boot_speed: Annotated[
        float, typer.Option(min=0.01, help="The start, so many times as fast.")
    ] = 20.0,
    host_memory: Annotated[
        float | None, typer.Option(min=0.5, help="Of the host, GiB; default: the card's.")
    ] = None,
    model_config: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, readable=True, help="The model's config.json."),
    ] = None,
    fault: Annotated[
        Fault | None, typer.Option(metavar="FAULT", help=f"What goes wrong: {', '.join(Fault)}.")
    ] = None,
) -> int:
    """Serve a simulated vLLM over HTTP: autotune simulate [OPTIONS] [MODEL] [options of vLLM].

    MODEL is a Hub id or a folder with a config.json; all further options are those of
    `vllm serve`. It listens on 127.0.0.1 unless --host says otherwise.

    Example: autotune simulate --card h100 --port 8000 --max-num-seqs 64
    """
    own = {
        "--card": card,
        "--release": release,
        "--speed": speed,
        "--boot-speed": boot_speed,
        "--host-memory": host_memory,
        "--model-config": model_config,
        "--fault": fault,
        "--port": port,
    }
    given = [
        part for name, value in own.items() if value is not None for part in (name, str(value))
    ]
    card_named(card)  # said in our words, before the server speaks in vLLM's
    rest = vllm_arguments(context.args, release)
    typer.echo(
        f"{SIMULATED}: what this server answers is made up, at the pace of a model", err=True
    )
    return serve([*given, *rest])


def vllm_arguments(arguments: list[str], release: str) -> list[str]:
    """The command line of `vllm serve`, with the model and the address of this program.

    Raises:
        SpecError: If there is no such release.
    """
    known = release_named(release)
    try:
        parsed = parse(arguments, known)
    except StartRefused:
        return arguments  # refused when it starts, in vLLM's words
    model = [] if parsed.model or parsed.text("model") else [MODEL]
    host = [] if parsed.text("host") else ["--host", LOOPBACK]
    return [*model, *host, *arguments]
