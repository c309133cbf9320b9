"""What vLLM's API server spends per token and per chunk of a stream: CPU time of its event loop.

    VLLM_ENVIRONMENT/bin/python benchmarks/gpu/frontend_costs.py MODEL_FOLDER

Runs vLLM's own code (0.26.0) without an engine: `OutputProcessor.process_outputs` and a latency
histogram for every token of 100 streams, and for every chunk what a completion's generator does,
through FastAPI and uvicorn to sockets that another process reads. Only the ratio of the two is used
(`frontend_token_share` of a simulated card), for processors differ. Needs no GPU; the folder is of
any model with a tokenizer.
"""

import asyncio
import multiprocessing
import selectors
import socket
import sys
import time  # noqa: TID251 - runs where autotune is not installed
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from prometheus_client import Histogram
from vllm.entrypoints.openai.completion.protocol import (
    CompletionResponseStreamChoice,
    CompletionStreamResponse,
)
from vllm.sampling_params import RequestOutputKind, SamplingParams
from vllm.tokenizers import get_tokenizer
from vllm.v1.engine import EngineCoreOutput, EngineCoreRequest
from vllm.v1.engine.output_processor import OutputProcessor, RequestOutputCollector
from vllm.v1.metrics.stats import IterationStats

STREAMS = 100
TOKENS = 200
_BUCKETS = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5, 7.5, 10]


def streams(folder: str) -> tuple[OutputProcessor, list[RequestOutputCollector]]:
    """An output processor with as many requests as there are streams, and their queues."""
    processor = OutputProcessor(get_tokenizer(folder), log_stats=True)
    queues = []
    for index in range(STREAMS):
        name = f"cmpl-{index:032d}"
        sampling = SamplingParams(
            max_tokens=TOKENS * 2, ignore_eos=True, output_kind=RequestOutputKind.DELTA
        )
        request = EngineCoreRequest(
            request_id=f"{name}-0", external_req_id=name, prompt_token_ids=list(range(5, 105)),
            sampling_params=sampling, arrival_time=time.time(), mm_features=None,
            pooling_params=None, lora_request=None, cache_salt=None, data_parallel_rank=None,
        )  # fmt: skip
        queues.append(RequestOutputCollector(RequestOutputKind.DELTA, request.request_id))
        processor.add_request(request, None, None, 0, queues[-1])
    return processor, queues


async def chunks(queue: RequestOutputCollector) -> AsyncIterator[str]:
    """As `completion_stream_generator` does, without what only some requests ask for."""
    for _ in range(TOKENS):
        result = queue.get_nowait() or await queue.get()
        for output in result.outputs:
            choice = CompletionResponseStreamChoice(index=0, text=output.text)
            chunk = CompletionStreamResponse(
                id=result.request_id, created=1, model="models/qwen2.5-1.5b", choices=[choice]
            )
            yield f"data: {chunk.model_dump_json(exclude_unset=True)}\n\n"


def read(port: int) -> None:
    """A client of all streams, to their ends."""
    waiting = selectors.DefaultSelector()
    for _ in range(STREAMS):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        waiting.register(connection, selectors.EVENT_READ)
    left = STREAMS
    while left:
        for key, _ in waiting.select():
            data = key.fileobj.recv(65536)  # type: ignore[union-attr]
            if not data or data.endswith(b"0\r\n\r\n"):
                waiting.unregister(key.fileobj)
                left -= 1


async def measure(folder: str) -> tuple[float, float]:
    """Microseconds of CPU per token and per chunk, when no chunks merge."""
    processor, queues = streams(folder)
    names, free = list(processor.request_states), list(queues)
    histogram = Histogram("itl", "s", ["engine"], buckets=_BUCKETS).labels("0")
    app = FastAPI()

    @app.post("/")
    async def answer() -> StreamingResponse:
        return StreamingResponse(chunks(free.pop()), media_type="text/event-stream")

    listening = socket.create_server(("127.0.0.1", 0), backlog=2 * STREAMS)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    port = listening.getsockname()[1]
    client = multiprocessing.get_context("fork").Process(target=read, args=(port,))
    client.start()
    while free:  # noqa: ASYNC110 - the streams run vLLM's code, which sets no event
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)
    on_tokens, began = 0.0, time.thread_time()
    for number in range(TOKENS):
        before = time.thread_time()
        outputs = [EngineCoreOutput(name, [20 + number % 50]) for name in names]
        stats = IterationStats()
        processor.process_outputs(outputs, time.monotonic(), stats)
        for seconds in stats.inter_token_latencies_iter:
            histogram.observe(seconds)
        on_tokens += time.thread_time() - before
        while any(q.output is not None for q in queues):  # noqa: ASYNC110 - the same
            await asyncio.sleep(0)
    await asyncio.sleep(0.2)
    on_chunks = time.thread_time() - began - on_tokens
    client.join(10)
    server.should_exit = True
    await serving
    each = 1e6 / (STREAMS * TOKENS)
    return on_tokens * each, on_chunks * each


if __name__ == "__main__":
    token_us, chunk_us = asyncio.run(measure(sys.argv[1]))
    sys.stdout.write(
        f"{token_us:.1f} us a token, {chunk_us:.1f} us a chunk: {token_us / chunk_us:.2f}\n"
    )
