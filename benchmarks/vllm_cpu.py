"""Real vLLM on the CPU for a benchmark: `.ci/vllm_cpu.sh` makes the environment."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from autotune.clock import Clock
from autotune.deployers.ports import free_port
from autotune.deployers.process import ProcessDeployer
from autotune.deployers.readiness import Ready, wait_ready
from autotune.load.client import HttpClient
from autotune.seams.deployment import Identity, LaunchPlan

NAME: Final = "model"
START_S: Final = 300.0
VARIABLES: Final = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}


@asynccontextmanager
async def vllm_on_cpu(
    environment: Path,
    model: Path,
    options: Sequence[str],
    *,
    clock: Clock,
    log: Path,
    variables: Mapping[str, str] | None = None,
) -> AsyncIterator[str]:
    """The address of a vLLM that serves a folder under the name `NAME`; it ends with the block.

    It has a lower priority than whoever measures it, for both share the processor. `variables` are
    added to its environment.
    """
    port = free_port()
    plan = LaunchPlan(
        argv=(
            *("nice", "-n", "5", str(environment / "bin" / "vllm"), "serve", str(model)),
            *("--served-model-name", NAME, "--host", "127.0.0.1", "--port", str(port)),
            *("--enforce-eager", *options),
        ),
        env={**VARIABLES, **(variables or {})},
        port=port,
    )
    owner = Identity(study="benchmark", trial=port, owner_pid=os.getpid(), owner_start="0")
    async with (
        ProcessDeployer(clock).deploy(plan, identity=owner, log_path=log) as deployment,
        HttpClient(base_url=plan.base_url, model=NAME, clock=clock) as client,
    ):

        async def is_healthy() -> bool:
            answer = await client.get("/health", timeout_s=2)
            return answer is not None and answer.status == 200

        ready = await wait_ready(deployment, is_healthy, clock=clock, timeout_s=START_S)
        assert isinstance(ready, Ready), f"vLLM was not ready: see {log}"
        yield plan.base_url
