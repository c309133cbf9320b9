"""The simulated engine is vLLM: only finding out what it can do differs."""

from dataclasses import replace

from autotune.engines.simulated.release import Release
from autotune.engines.vllm.capabilities import declared
from autotune.engines.vllm.engine import VllmEngine
from autotune.seams.engine import Capabilities, EngineTarget


class SimulatedEngine(VllmEngine):
    """vLLM of one release, without a GPU.

    Args:
        release: Which release is imitated.
    """

    name = "simulated"

    def __init__(self, release: Release) -> None:
        super().__init__()
        self._release = release

    async def detect(self, target: EngineTarget) -> Capabilities:
        """What the release can do, by the declared table: there is nothing to scan."""
        del target
        return replace(
            declared(self._release.name),
            engine=self.name,
            source=f"simulated vLLM {self._release.name}",
        )
