"""Learning a server's vocabulary, so that synthetic prompts have exact lengths."""

from collections.abc import Iterable, Sequence
from typing import Final

import orjson

from autotune.load.prompts import MIN_VOCABULARY, WORDS, Vocabulary
from autotune.seams.requests import Client, GenerationRequest, Prompt

_OK: Final = 200
_GROUP_WORDS: Final = 16


async def learn_vocabulary(client: Client, *, model: str) -> Vocabulary:
    """Ask /tokenize for the ids of plain words; where there is none, calibrate text by usage.

    Whether /v1/completions takes token ids is tried with one request.
    """
    ids = await _tokenized(client, model)
    if len(ids) >= MIN_VOCABULARY and await _takes_token_ids(client, model, ids):
        return Vocabulary(token_ids=ids, source="/tokenize")
    return await _calibrated(client)


async def _tokenized(client: Client, model: str) -> tuple[int, ...]:
    """Ids of the words, by vLLM's /tokenize or llama.cpp's."""
    text = " " + " ".join(WORDS)
    bodies: tuple[dict[str, object], ...] = (
        {"model": model, "prompt": text, "add_special_tokens": False},
        {"content": text, "add_special": False},
    )
    for body in bodies:
        answer = await client.post("/tokenize", body)
        if answer is None or answer.status != _OK:
            continue
        tokens = _json_field(answer.text, "tokens")
        ids = [t for t in tokens if isinstance(t, int) and not isinstance(t, bool)]
        if ids:
            return tuple(dict.fromkeys(ids))
    return ()


def _json_field(text: str, name: str) -> list[object]:
    try:
        answer = orjson.loads(text)
    except orjson.JSONDecodeError:
        return []
    value = answer.get(name) if isinstance(answer, dict) else None
    return value if isinstance(value, list) else []


async def _takes_token_ids(client: Client, model: str, ids: Sequence[int]) -> bool:
    """Whether a prompt of token ids is counted as exactly so many tokens."""
    sent = list(ids[:MIN_VOCABULARY])
    body = {"model": model, "prompt": sent, "max_tokens": 1, "temperature": 0.0}
    answer = await client.post("/v1/completions", body, timeout_s=120.0)
    if answer is None or answer.status != _OK:
        return False
    try:
        usage = orjson.loads(answer.text).get("usage") or {}
    except (orjson.JSONDecodeError, AttributeError):
        return False
    return bool(usage.get("prompt_tokens") == len(sent))


async def _calibrated(client: Client) -> Vocabulary:
    """Words of which each adds one token by the server's usage, and what the server adds."""
    one, two = await _usage(client, WORDS[:1]), await _usage(client, (WORDS[0],) * 2)
    if one is None or two is None or two - one != 1:
        return Vocabulary(source="no /tokenize, and usage does not tell single-token words")
    added = one - 1
    words: list[str] = []
    for start in range(0, len(WORDS), _GROUP_WORDS):
        group = WORDS[start : start + _GROUP_WORDS]
        if await _usage(client, group) == len(group) + added:
            words.extend(group)
    return Vocabulary(words=tuple(words), added_tokens=added, source="usage of known words")


async def _usage(client: Client, words: Iterable[str]) -> int | None:
    prompt = Prompt(text=" " + " ".join(words))
    request = GenerationRequest(
        request_id="calibration", prompt=prompt, max_tokens=1, ignore_eos=False, timeout_s=120.0
    )
    return (await client.generate(request)).prompt_tokens
