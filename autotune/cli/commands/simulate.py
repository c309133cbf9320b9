"""`autotune simulate`: the simulated engine as a server, in real time."""

from typing import Annotated

import typer

from autotune.engines.simulated.serve import run as serve

CONTEXT = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": ["-h"]}


def simulate(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(help="Known model, or a folder with a config.json.")
    ] = "Qwen/Qwen2.5-7B-Instruct-AWQ",
    port: Annotated[int, typer.Option("--port", min=0, max=65535)] = 8000,
    card: Annotated[
        str, typer.Option("--card", help="Which GPU: rtx-5070, h100, ...")
    ] = "rtx-5070",
) -> int:
    """Serve a simulated vLLM over HTTP; further options are those of `vllm serve`, and --fault.

    Example: autotune simulate --card h100 --port 8000 --max-num-seqs 64
    """
    typer.echo("SIMULATED: what this server answers is made up, at the pace of a model", err=True)
    return serve([model, "--port", str(port), "--card", card, *context.args])
