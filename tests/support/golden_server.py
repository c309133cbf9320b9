"""An OpenAI-compatible server whose every answer is known beforehand.

It runs in a process of its own, takes nothing from the product, and tells the truth about itself:
token counts follow from the request, chunk boundaries from the script, and the time at which each
chunk was really sent (CLOCK_MONOTONIC, the same in every process) is kept and can be asked for.
So a client's counts can be held against it at zero tolerance, and its stamps against what the
server *did*, not against what it had planned. A request that carries `"golden": {...}` in its
body overrides the server's script for itself.

    python -m tests.support.golden_server --port 0 --script '{"ttft_ms": 20}'

prints one line of JSON with its port, once it has checked itself.

    GET  /golden/requests   what was asked and when it was answered, one row per request
    GET  /golden/brief      the same without the times of single chunks
    POST /golden/script     change the script for requests to come
    POST /golden/reset      forget requests and cached prefixes
"""

import argparse
import asyncio
import gc
import json
import sys
import time  # noqa: TID251 - a witness takes its clock from the system, not from the product
from dataclasses import asdict, fields
from typing import Any

from tests.support.golden_script import (
    STREAM_HEAD,
    Frames,
    Script,
    Seen,
    State,
    chunk,
    logprob,
    prompt_ids,
    whole_answer,
    word_id,
    words_for,
)


class GoldenProtocol(asyncio.Protocol):
    """One connection: reads requests, answers them by the script."""

    def __init__(self, state: State, frames: Frames) -> None:
        self._state = state
        self._frames = frames
        self._data = b""
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None:
            self._answer.stop()

    def data_received(self, data: bytes) -> None:
        # Stamped at once; answered after every connection that is ready has been stamped.
        self._data += data
        self._loop.call_soon(self._read, time.monotonic_ns())

    def _read(self, received_ns: int) -> None:
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            line, *rows = self._data[:end].decode("latin-1").split("\r\n")
            headers = {n.lower(): v.strip() for n, _, v in (row.partition(":") for row in rows)}
            length = int(headers.get("content-length", "0"))
            if len(self._data) < end + 4 + length:
                return
            body = self._data[end + 4 : end + 4 + length]
            self._data = self._data[end + 4 + length :]
            method, path, _ = line.split(" ", 2)
            parsed = json.loads(body) if body else {}
            if method == "POST" and path in {"/v1/completions", "/v1/chat/completions"}:
                self._generate(path, headers, parsed, received_ns)
            else:
                self._plain(path, parsed)

    def _generate(
        self, path: str, headers: dict[str, str], body: dict[str, Any], received: int
    ) -> None:
        state = self._state
        script = state.script.updated(body.get("golden", {}))
        ids = prompt_ids(body, script)
        if isinstance(body.get("prompt"), list) and not script.token_ids:
            self.respond(400, {"error": {"message": "prompts are text here"}})
            return
        seen = Seen(
            request_id=headers.get("x-request-id", ""), path=path, received_ns=received,
            number=len(state.seen) + 1,
            prompt_tokens=len(ids), cached_tokens=state.prefix_hit(ids), fault=script.fault,
        )  # fmt: skip
        state.seen.append(seen)
        assert self._transport is not None
        if script.fault == "hang_up":
            self._transport.abort()
        elif script.fault == "status":
            self.respond(script.status, {"error": {"message": "as scripted"}})
        elif body.get("stream"):
            self._answer = Answer(
                state, self._frames, self._transport, script=script, body=body, ids=ids, seen=seen
            )
            self._answer.start()
        else:
            seen.output_tokens = int(body["max_tokens"])
            self.respond(200, whole_answer(state, script, body, ids))
            seen.ended_ns = time.monotonic_ns()

    def _plain(self, path: str, body: dict[str, Any]) -> None:
        state = self._state
        match path:
            case "/health":
                self.respond(200, "")
            case "/version":
                self.respond(200, {"version": "golden"})
            case "/v1/models":
                card = {"id": state.model, "object": "model", "max_model_len": 40_960}
                self.respond(200, {"object": "list", "data": [card]})
            case "/metrics":
                self.respond(200, state.metrics())
            case "/tokenize" if state.script.tokenize and "prompt" in body:
                ids = [word_id(word) for word in str(body["prompt"]).split()]
                self.respond(200, {"count": len(ids), "max_model_len": 40_960, "tokens": ids})
            case "/golden/requests":
                self.respond(200, [asdict(seen) for seen in state.seen])
            case "/golden/brief":
                self.respond(200, [seen.brief() for seen in state.seen])
            case "/golden/script":
                gc.collect()
                state.script = state.script.updated(body)
                self.respond(200, asdict(state.script))
            case "/golden/reset":
                gc.collect()
                state.seen.clear()
                state.blocks.clear()
                state.queries = state.hits = 0
                self.respond(200, {})
            case _:
                self.respond(404, {"error": {"message": "no such path"}})

    def respond(self, status: int, answer: object) -> None:
        """A plain answer."""
        body = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        kind = "text/plain" if isinstance(answer, str) else "application/json"
        head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
        assert self._transport is not None
        self._transport.write(head.encode() + body)


class Answer:
    """One stream, sent chunk by chunk at the times that the script gives."""

    def __init__(
        self,
        state: State,
        frames: Frames,
        transport: asyncio.Transport,
        *,
        script: Script,
        body: dict[str, Any],
        ids: list[int],
        seen: Seen,
    ) -> None:
        self._state, self._frames, self._transport = state, frames, transport
        self._script, self._body, self._seen = script, body, seen
        self._chat = "messages" in body
        asked = int(body["max_tokens"])
        tokens = asked if body.get("ignore_eos") else max(1, int(asked * script.cut_share))
        if script.fault == "wrong_length":
            tokens = max(1, tokens - 1)
        self._tokens = 0 if script.fault == "empty" else tokens
        self._chunks = -(-self._tokens // script.tokens_per_chunk)
        self._words = words_for(body, script, ids)
        self._has_logprobs = body.get("logprobs") not in {None, False}
        if self._has_logprobs:
            number = len(state.seen)
            self._content = frames.with_logprobs(
                self._words, chat=self._chat, count=self._chunks,
                value=lambda i: logprob(len(ids), i, number, script, len(ids)),
            )  # fmt: skip
        else:
            self._content = frames.content(
                self._words, chat=self._chat, count=self._chunks, size=script.tokens_per_chunk
            )
        self._sent = 0
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        """Send the head, and the first chunk when it is due."""
        self._state.running += 1
        self._write(STREAM_HEAD)
        if self._chat:
            role = self._frames.event(chat=True, text="", number=self._seen.number)
            role["choices"][0]["delta"]["role"] = "assistant"
            self._write(chunk(role))
        for _ in range(self._script.empty_chunks):
            empty = self._frames.event(chat=self._chat, text="", number=self._seen.number)
            self._write(chunk(empty))
        self._timer = self._loop.call_at(self._due_s(0), self._step)

    def stop(self) -> None:
        """The client is gone."""
        if self._timer is not None:
            self._timer.cancel()
        self._over()

    def _due_s(self, index: int) -> float:
        start_ms = self._seen.received_ns / 1e6 + self._script.ttft_ms
        due_ms = start_ms + index * self._script.itl_ms
        step = self._script.itl_ms
        if self._script.lockstep and step > 0:
            due_ms = -(-due_ms // step) * step
        return due_ms / 1e3

    def _step(self) -> None:
        """Send every chunk that is due, then wait for the next."""
        script, now = self._script, self._loop.time()
        while self._sent < self._chunks:
            if script.fault and self._sent == script.fault_after and self._fault():
                return
            due = self._due_s(self._sent)
            if due > now + 5e-5:
                self._timer = self._loop.call_at(due, self._step)
                return
            frame = self._content[self._sent]
            if self._sent in {0, self._chunks - 1} and not self._has_logprobs:
                frame = self._own(self._sent)
            sent_ns = time.monotonic_ns()
            self._seen.sends_ns.append(sent_ns)
            self._write(frame)
            self._seen.late_ns = max(self._seen.late_ns, sent_ns - round(due * 1e9))
            self._sent += 1
        if script.fault in {"", "empty", "wrong_length", "no_usage", "truncated_prompt"} or (
            not self._fault()
        ):
            spread_s = script.end_spread_ms / 1e3
            wait_s = (self._seen.number * 0.618034 % 1) * spread_s
            self._timer = self._loop.call_later(wait_s, self._end)

    def _own(self, index: int) -> bytes:
        """The first chunk, which tells the answer's number, or the last, which says why it ends."""
        size = self._script.tokens_per_chunk
        end = min((index + 1) * size, self._tokens)
        words = self._words.joined(index * size, end)
        finish = "length" if index == self._chunks - 1 else None
        number = self._seen.number
        event = self._frames.event(chat=self._chat, text=words, finish=finish, number=number)
        return chunk(event)

    def _fault(self) -> bool:
        """Do what the script says goes wrong; whether that ends the stream."""
        match self._script.fault:
            case "cut_off":
                self._transport.close()
            case "no_end_mark":
                self._write(b"0\r\n\r\n")
            case "error_in_stream":
                self._write(chunk({"error": {"message": "as scripted", "code": 500}}))
                self._write(chunk("[DONE]") + b"0\r\n\r\n")
            case "stall":
                pass
            case "malformed":
                self._write(chunk('{"choices": [') + chunk("[DONE]") + b"0\r\n\r\n")
            case "malformed_http":
                self._write(b"xyz\r\n")
            case _:
                return False
        self._over()
        return True

    def _end(self) -> None:
        """Usage, end mark, end of the body."""
        script, seen = self._script, self._seen
        seen.output_tokens = self._tokens
        counted = seen.prompt_tokens // (2 if script.fault == "truncated_prompt" else 1)
        usage = {
            "prompt_tokens": counted,
            "completion_tokens": self._tokens,
            "total_tokens": counted + self._tokens,
            "prompt_tokens_details": {"cached_tokens": seen.cached_tokens},
        }
        if script.fault == "empty":
            self._write(chunk(self._frames.event(chat=self._chat, text="", finish="stop")))
        wanted = (self._body.get("stream_options") or {}).get("include_usage")
        if wanted and script.fault != "no_usage":
            event = self._frames.event(chat=self._chat, text="")
            self._write(chunk({**event, "choices": [], "usage": usage}))
        self._write(chunk("[DONE]") + b"0\r\n\r\n")
        self._over()

    def _over(self) -> None:
        if not self._seen.ended_ns:
            self._seen.ended_ns = time.monotonic_ns()
            self._state.running -= 1

    def _write(self, data: bytes) -> None:
        size = self._script.split_bytes
        for start in range(0, len(data), size) if size else ():
            self._transport.write(data[start : start + size])
        if not size:
            self._transport.write(data)


async def check_itself(port: int, model: str) -> None:
    """Ask one question over a plain socket and count the answer by hand."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    asked = {"model": model, "prompt": [5, 6, 7], "max_tokens": 4, "stream": True,
             "ignore_eos": True, "stream_options": {"include_usage": True}}  # fmt: skip
    body = json.dumps(asked).encode()
    head = f"POST /v1/completions HTTP/1.1\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    async with asyncio.timeout(10):
        answer = await reader.readuntil(b"0\r\n\r\n")
    writer.close()
    texts = [answer.count(f'"text":" w{i}"'.encode()) for i in range(4)]
    assert texts == [1, 1, 1, 1], answer
    assert b'"prompt_tokens":3,"completion_tokens":4' in answer, answer
    assert answer.count(b"data: ") == 6, answer


async def serve(port: int, script: Script, model: str) -> None:
    """Serve until stdin is closed: an orphan ends by itself."""
    state = State(Script(ttft_ms=0, itl_ms=0), model)
    frames = Frames(model)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: GoldenProtocol(state, frames), "127.0.0.1", port, backlog=4096
    )
    bound = int(server.sockets[0].getsockname()[1])
    await check_itself(bound, model)
    state.script = script
    state.seen.clear()
    state.blocks.clear()
    state.queries = state.hits = 0
    sys.stdout.write(json.dumps({"port": bound}) + "\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--model", default="golden")
    parser.add_argument("--script", default="{}", help="fields of Script as JSON")
    arguments = parser.parse_args()
    known = {f.name for f in fields(Script)}
    values = json.loads(arguments.script)
    assert set(values) <= known, f"unknown: {set(values) - known}"
    gc.disable()  # a collection stops every stream; it waits for another script, or for a reset
    asyncio.run(serve(arguments.port, Script(**values), arguments.model))


if __name__ == "__main__":
    main()
