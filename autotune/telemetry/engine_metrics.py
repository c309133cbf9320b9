"""The engine's own /metrics as a source."""

from collections.abc import Callable, Mapping
from typing import Final

from autotune.seams.requests import Client

_KEYS: Final = (
    "kv_usage_ratio",
    "requests_running_count",
    "requests_waiting_count",
    "preemptions_count",
)


class EngineMetricsSource:
    """Asks the server for its metrics.

    Args:
        client: Talks to the server.
        gauges: The engine's translation of its metrics text into engine-neutral names.
        timeout_s: For one answer.
    """

    keys = _KEYS

    def __init__(
        self,
        client: Client,
        gauges: Callable[[str], Mapping[str, float | None]],
        *,
        timeout_s: float = 2.0,
    ) -> None:
        self._client = client
        self._gauges = gauges
        self._timeout_s = timeout_s

    async def read(self) -> Mapping[str, float | None]:
        """One look; all None while the server does not answer (starting, busy, dead)."""
        answer = await self._client.get("/metrics", timeout_s=self._timeout_s)
        if answer is None or answer.status != 200:
            return dict.fromkeys(_KEYS)
        found = self._gauges(answer.text)
        return {key: found.get(key) for key in _KEYS}
