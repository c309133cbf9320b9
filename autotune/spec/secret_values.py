"""What must not be in a study file, for it is recorded, reported and exported."""

import re
from collections.abc import Iterator
from typing import Any, Final

_NAME: Final = re.compile(
    r"SECRET|PASSW(OR)?D|PASSPHRASE|CREDENTIAL|(API|ACCESS|PRIVATE|SIGNING|ENCRYPTION)_?KEY"
    r"|TOKEN$|_(PASS|PWD|KEY)$",
    re.IGNORECASE,
)
"""TOKENIZERS_PARALLELISM is none, nor are PWD and what vLLM calls ..._TOKEN_THRESHOLD."""

_VALUE: Final = re.compile(
    r"://[^\s/@:]*:[^\s/@]+@"  # a password in a URL (RFC 3986, section 3.2.1)
    r"|://[^\s/@:]{20,}@"  # a token in a user's place
    r"|\bhf_[A-Za-z0-9]{30,}"  # a token of Hugging Face's
    r"|\bsk-[A-Za-z0-9_-]{20,}"  # a key of OpenAI's and its kin
    r"|\b(gh[opsur]_|github_pat_|glpat-)[A-Za-z0-9_-]{20,}"  # a token of GitHub's or GitLab's
)


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name holds a secret."""
    return _NAME.search(name) is not None


def hidden(text: str) -> str:
    """A text for a terminal, in which nothing is left that looks like a secret."""
    return _VALUE.sub("[secret]", text)


def secrets_in(raw: Any, place: str = "") -> Iterator[str]:
    """Places of texts that look like secrets, never the texts."""
    if isinstance(raw, str):
        if _VALUE.search(raw):
            yield place
    elif isinstance(raw, dict):
        for key, value in raw.items():
            yield from secrets_in(value, f"{place} -> {key}".removeprefix(" -> "))
    elif isinstance(raw, list | tuple):
        for value in raw:
            yield from secrets_in(value, place)
