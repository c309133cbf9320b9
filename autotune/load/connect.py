"""Opens connections to servers: the `Connector` of the real world."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from autotune.clock import Clock
from autotune.load.client import HttpClient
from autotune.load.runner import InProcessLoad
from autotune.load.workers import ProcessLoad
from autotune.seams.requests import Connection, Connector


def http_connector(
    clock: Clock, *, processes: int | None = None, headers: Mapping[str, str] | None = None
) -> Connector:
    """A connector for OpenAI-compatible servers.

    Args:
        clock: The machine's own; sockets know no virtual time.
        processes: Client processes for loads; None to go by the load, 0 for none of its own.
        headers: Sent with every request (an Authorization, for a server that asks for one).
    """

    @asynccontextmanager
    async def opened(base_url: str, model: str) -> AsyncIterator[Connection]:
        async with HttpClient(
            base_url=base_url, model=model, clock=clock, headers=headers
        ) as client:
            if processes == 0:
                yield Connection(client=client, load=InProcessLoad(client, clock))
                return
            async with ProcessLoad(client, clock, processes=processes) as load:
                yield Connection(client=client, load=load)

    def connect(*, base_url: str, model: str) -> AbstractAsyncContextManager[Connection]:
        return opened(base_url, model)

    return connect
