"""The engine and the connection of exported files."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from autotune.cli.verify.arms import ExportedEngine, asking, served_name
from autotune.clock import VirtualClock
from autotune.records import Applied, Configuration, Failure, FailureKind
from autotune.seams.deployment import LaunchPlan
from autotune.seams.engine import EngineTarget, Evidence, LaunchContext, ModelFacts
from autotune.seams.requests import (
    Connection,
    GenerationRequest,
    HttpAnswer,
    LoadPlan,
    LoadResult,
    Prompt,
    RequestRecord,
)
from autotune.seams.telemetry import Hardware
from tests.support.fakes import CAPABILITIES, FakeEngine


@dataclass
class Server:
    """Serves under some names; answers once it is up."""

    names: list[str] = field(default_factory=list)
    answer: str | None = None
    opened: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def connect(self, *, base_url: str, model: str) -> AsyncIterator[Connection]:
        """A connection that remembers the name it was opened for."""
        self.opened.append(model)
        yield Connection(client=FakeClient(self, model), load=FakeLoad(model))
        self.closed.append(model)


@dataclass
class FakeClient:
    """Says in its answers which model was asked for."""

    server: Server
    model: str

    async def generate(
        self, request: GenerationRequest, *, scheduled_ns: int | None = None
    ) -> RequestRecord:
        """The model's name as text."""
        return RequestRecord(request_id=request.request_id, scheduled_ns=scheduled_ns or 0,
                             sent_ns=0, text=self.model)  # fmt: skip

    async def get(self, path: str, *, timeout_s: float = 10.0) -> HttpAnswer | None:
        """The list of models."""
        assert path == "/v1/models"
        if self.server.answer is not None:
            return HttpAnswer(status=200, text=self.server.answer)
        if not self.server.names:
            return None
        listed = {"data": [{"id": name} for name in self.server.names]}
        return HttpAnswer(status=200, text=json.dumps(listed))

    async def post(
        self, path: str, body: Mapping[str, Any], *, timeout_s: float = 30.0
    ) -> HttpAnswer | None:
        """Echo."""
        return HttpAnswer(status=200, text=f"{path} {dict(body)}")


@dataclass
class FakeLoad:
    """Says which model was asked for."""

    model: str

    async def run(self, plan: LoadPlan) -> LoadResult:
        """The name in place of a verdict."""
        return LoadResult(records=(), start_ns=0, end_ns=0, client_bound=self.model)


QUESTION = GenerationRequest(request_id="q", prompt=Prompt(text="?"), max_tokens=1)


def test_the_server_is_asked_for_its_name() -> None:
    """Files may serve under another name than the trials did; it is found once."""
    server = Server()

    async def main() -> None:
        async with asking(server.connect)(base_url="http://x", model="org/model") as connection:
            server.names = ["alias"]  # only now is it up
            assert (await connection.client.generate(QUESTION)).text == "alias"
            assert (await connection.client.generate(QUESTION)).text == "alias"
            plan = LoadPlan(requests=(QUESTION,))
            assert (await connection.load.run(plan)).client_bound == "alias"
            answer = await connection.client.post("/tokenize", {"a": 1})
            assert answer is not None
            assert answer.text == "/tokenize {'a': 1}"

    VirtualClock().run(main())
    assert server.opened == ["org/model", "alias"]
    assert server.closed == ["alias", "org/model"]


def test_the_name_of_the_trials_is_kept_where_it_is_served() -> None:
    """Among others, whatever their order; no second connection is opened."""
    server = Server(names=["alias", "org/model"])

    async def main() -> None:
        async with asking(server.connect)(base_url="http://x", model="org/model") as connection:
            assert (await connection.client.generate(QUESTION)).text == "org/model"

    VirtualClock().run(main())
    assert server.opened == ["org/model"]


@pytest.mark.parametrize(
    "answer", ["", "not JSON", "[]", '{"data": []}', '{"data": [{}]}', '{"data": 3}', "null"]
)
def test_a_server_that_does_not_tell_is_asked_for_the_known_name(answer: str) -> None:
    """The request itself then shows what is wrong."""
    server = Server(answer=answer)
    found = VirtualClock().run(served_name(FakeClient(server, "m"), "org/model"))
    assert found == "org/model"


def test_the_engine_starts_the_files_and_answers_for_the_rest() -> None:
    """Port and patience are the trial's, the command is the files'."""
    told = Failure(kind=FailureKind.GPU_OOM, phase="starting", message="oom")
    engine = FakeEngine(applied=Applied(sources=("log",)), told=told)
    ports: list[int] = []

    def plan_at(port: int) -> LaunchPlan:
        ports.append(port)
        return LaunchPlan(argv=("sh", "serve.sh"), port=port)

    wrapped = ExportedEngine(engine, plan_at)
    context = LaunchContext(
        target=EngineTarget(deployer="process", command=("vllm", "serve")),
        capabilities=CAPABILITIES,
        hardware=Hardware(),
        model=ModelFacts(name="m"),
        port=1234,
        startup_timeout_s=77.0,
    )
    plan = wrapped.launch_plan(Configuration.of({"max_num_seqs": 1}), context)
    assert (plan.argv, plan.port, plan.startup_timeout_s) == (("sh", "serve.sh"), 1234, 77.0)
    assert ports == [1234]
    assert wrapped.name == "fake"
    assert wrapped.explain(Evidence(phase="starting")) == told
    client = FakeClient(Server(), "m")
    reading = wrapped.read_back(Configuration(), CAPABILITIES, client, "")
    assert VirtualClock().run(reading) == engine.applied
    assert wrapped.screen(Configuration(), context).predicted == {"kv_cache_tokens": 1000.0}
