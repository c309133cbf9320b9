"""The HTTP client of one server: generation, and plain requests."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Self

import aiohttp
import orjson

from autotune.clock import Clock
from autotune.load.completion import (
    Collector,
    excerpt,
    path_of,
    request_body,
    whole_answer,
)
from autotune.load.prompt_logprobs import prompt_token_logprobs, prompt_top_logprobs
from autotune.load.prompts import Vocabulary
from autotune.load.streaming import StreamingClient
from autotune.load.vocabulary import learn_vocabulary
from autotune.seams.requests import (
    GenerationRequest,
    HttpAnswer,
    RequestErrorKind,
    RequestRecord,
)
from autotune.units import BYTES_PER_MIB

_OK: Final = 200
_MOST_BYTES: Final = 64 * BYTES_PER_MIB
"""Of an answer in one piece: log-probabilities of a prompt of 32,768 tokens take some 4 MiB."""


class _TooLongError(ValueError):
    """The server sends more than any answer has; what may have no end is not read to it."""


class HttpClient:
    """Talks to one OpenAI-compatible server; `async with` closes it.

    Streams go through `StreamingClient`; what need not be timed to a fraction of a millisecond
    goes through aiohttp.
    """

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        clock: Clock,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/").removesuffix("/v1")
        self.model = model
        self.headers = dict(headers or {})
        self._clock = clock
        self._streaming = StreamingClient(
            base_url=self.base_url, model=model, clock=clock, headers=self.headers
        )
        self._session: aiohttp.ClientSession | None = None
        self._learning = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        self._streaming.close_connections()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def vocabulary(self) -> Vocabulary:
        """What synthetic prompts are made of; learnt from the server at the first call."""
        async with self._learning:
            if self._streaming.vocabulary is None:
                learnt = await learn_vocabulary(self, model=self.model)
                if not (learnt.token_ids or learnt.words):
                    return learnt  # a server that did not answer may do so later
                self._streaming.vocabulary = learnt
            return self._streaming.vocabulary

    async def generate(
        self, request: GenerationRequest, *, scheduled_ns: int | None = None
    ) -> RequestRecord:
        """Send and follow one request to its end. Raises nothing but cancellation."""
        if request.prompt.text is None and self._streaming.vocabulary is None:
            await self.vocabulary()
        if request.prompt_logprobs is not None:
            return await self._whole(request, scheduled_ns)
        return await self._streaming.stream(request, scheduled_ns=scheduled_ns)

    async def prepare(self, requests: Sequence[GenerationRequest], connections: int) -> None:
        """Learn the vocabulary, encode requests and open connections before a load."""
        await self.vocabulary()
        await self._streaming.prepare(requests, connections)

    async def get(self, path: str, *, timeout_s: float = 10.0) -> HttpAnswer | None:
        """GET a path such as /metrics; None if nobody answers."""
        return await self._plain("GET", path, None, timeout_s)

    async def post(
        self, path: str, body: Mapping[str, Any], *, timeout_s: float = 30.0
    ) -> HttpAnswer | None:
        """POST JSON to a path; None if nobody answers."""
        return await self._plain("POST", path, orjson.dumps(dict(body)), timeout_s)

    async def _plain(
        self, method: str, path: str, body: bytes | None, timeout_s: float
    ) -> HttpAnswer | None:
        try:
            async with self._http().request(
                method,
                self.base_url + path,
                data=body,
                headers={"Content-Type": "application/json"} if body is not None else None,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
                allow_redirects=False,
            ) as answer:
                text = (await _body(answer)).decode("utf-8", "replace")
                return HttpAnswer(status=answer.status, text=text)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return None

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers={**self.headers, "Accept-Encoding": "identity"},
                auto_decompress=False,  # a few KiB may unfold to more than the host has
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def _whole(self, request: GenerationRequest, scheduled_ns: int | None) -> RequestRecord:
        """A request whose answer comes in one piece, for vLLM streams no `prompt_logprobs`."""
        now = self._clock.now_ns()
        collector = Collector(request, scheduled_ns=now if scheduled_ns is None else scheduled_ns)
        collector.sent_ns = now
        prompt = self._streaming.prompt_payload(request.prompt)
        if prompt is None:
            collector.fail(RequestErrorKind.MALFORMED, "the server's tokens are not known")
            return collector.record(end_ns=now)
        body = request_body(request, model=self.model, prompt=prompt, stream=False)
        raw: dict[str, Any] = {}
        try:
            async with self._http().post(
                self.base_url + path_of(request),
                data=body,
                headers={
                    "Content-Type": "application/json",
                    "X-Request-Id": request.request_id,
                },
                timeout=aiohttp.ClientTimeout(total=request.timeout_s),
                allow_redirects=False,
            ) as response:
                payload = await _body(response)
            if response.status != _OK:
                message = f"{response.status}: {excerpt(payload)}"
                collector.fail(RequestErrorKind.STATUS, message, status=response.status)
            else:
                answer = whole_answer(collector, payload, self._clock.now_ns())
                raw = _of_prompt(answer, request.prompt_logprobs or 0) if answer else {}
        except TimeoutError:
            collector.fail(RequestErrorKind.TIMEOUT, f"no answer after {request.timeout_s:g} s")
        except aiohttp.ClientConnectorError as error:
            collector.fail(RequestErrorKind.REFUSED, f"no connection: {error}")
        except (aiohttp.ClientError, OSError) as error:
            collector.fail(RequestErrorKind.CUT_OFF, f"the connection broke: {error}")
        except _TooLongError as error:
            collector.fail(RequestErrorKind.MALFORMED, str(error))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            collector.fail(RequestErrorKind.MALFORMED, f"strange log-probabilities: {error!r}")
        record = collector.record(end_ns=self._clock.now_ns())
        return replace(record, raw={**record.raw, **raw}) if raw else record


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    """The whole of a body.

    Raises:
        _TooLongError: There is too much of it.
    """
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > _MOST_BYTES:
            message = f"the answer has more than {_MOST_BYTES // BYTES_PER_MIB} MiB"
            raise _TooLongError(message)
    return bytes(body)


def _of_prompt(answer: Mapping[str, Any], count: int) -> dict[str, Any]:
    """For the record's `raw`: of the prompt's own tokens, and of the likeliest if asked for."""
    own = {"prompt_logprobs": prompt_token_logprobs(answer)}
    return own | ({"prompt_top_logprobs": prompt_top_logprobs(answer, count)} if count else {})
