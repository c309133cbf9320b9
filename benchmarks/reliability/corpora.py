"""What the fuzz starts from: real files, logs, metrics and streams of this repository's tests."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/golden/data"


def study_files() -> list[bytes]:
    """The declared studies and those of the tests and benchmarks."""
    folders = (ROOT / "studies", ROOT / "tests/e2e", ROOT / "benchmarks/gpu")
    return [path.read_bytes() for folder in folders for path in sorted(folder.glob("*.yaml"))]


def space_files() -> list[bytes]:
    """The declared spaces."""
    return [path.read_bytes() for path in sorted((ROOT / "search_spaces").glob("*.yaml"))]


def logs() -> list[bytes]:
    """Whole logs of real starts, and excerpts of failing ones."""
    whole = [path.read_bytes() for path in sorted(GOLDEN.rglob("*.log"))]
    excerpts = (GOLDEN / "vllm_failures/excerpts.yaml").read_bytes()
    texts = [text for path in sorted((GOLDEN / "vllm_failures").glob("*.json"))
             for text in _texts(json.loads(path.read_text()))]  # fmt: skip
    return [*(log[:32_768] for log in whole), *excerpts.split(b"\n\n"), *texts]


def metrics() -> list[bytes]:
    """A real exposition, whole and in parts."""
    whole = (GOLDEN / "vllm_logs/cpu-0.32.0/metrics.txt").read_bytes()
    blocks = whole.split(b"# HELP ")
    return [whole[:32_768], *(b"# HELP " + block for block in blocks if block)]


def streams() -> list[bytes]:
    """Answers in the form of the OpenAI API, as chunks of HTTP/1.1 and by the connection's end."""
    found = []
    for chat in (True, False):
        events = b"".join(_events(chat=chat))
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
        found.append(head + b"connection: close\r\n\r\n" + events)
        parts = [events[i : i + 90] for i in range(0, len(events), 90)]
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
        found.append(head + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
    error = b'{"error": {"message": "no such model", "code": 404}}'
    found.append(
        b"HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        % len(error)
        + error
    )
    return found


def _events(*, chat: bool) -> Iterator[bytes]:
    for word in ("Hello", " w\u00f6rld", ' "quoted"', "\\n"):
        part: dict[str, Any] = {"delta": {"content": word}} if chat else {"text": word}
        logprobs = {"tokens": [word], "token_logprobs": [-0.5], "top_logprobs": [{word: -0.5}]}
        choice = {"index": 0, **part, "logprobs": logprobs, "finish_reason": None}
        yield _event({"id": "x", "object": "chunk", "choices": [choice]})
    end: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
    yield _event({"id": "x", "choices": [{"index": 0, **end, "finish_reason": "length"}]})
    usage = {"prompt_tokens": 5, "completion_tokens": 4, "prompt_tokens_details": None}
    yield _event({"id": "x", "choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def _event(event: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"


def _texts(found: Any) -> Iterator[bytes]:
    """Every text in a JSON value."""
    if isinstance(found, str):
        yield found.encode()
    elif isinstance(found, dict):
        for value in found.values():
            yield from _texts(value)
    elif isinstance(found, list):
        for value in found:
            yield from _texts(value)
