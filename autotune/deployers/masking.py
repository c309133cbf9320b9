"""Which values of an environment must not reach a log or a record."""

import base64
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import quote, unquote

from autotune.spec.secret_values import is_secret_name

MASK: Final = "[secret]"
_TOKEN: Final = re.compile(r"TOKEN(?!S|IZ)", re.IGNORECASE)
_USER_INFO: Final = re.compile(r"://(?:[^\s/@:]*:(?P<password>[^\s/@]+)|(?P<token>[^\s/@:]{20,}))@")
"""Of a URL (RFC 3986, section 3.2.1): `https://user:password@host`, `https://token@host`."""
_SHORTEST: Final = 8
"""A shorter value is no secret worth the name, and masking it would spoil the log."""
_SHORTEST_LINE: Final = 16
"""Of a secret of several lines, a private key say, which a log may show line by line."""


def secrets_of(environment: Mapping[str, str], passed_on: Collection[str] = ()) -> tuple[str, ...]:
    """Values to mask, sorted.

    Args:
        environment: What a server gets.
        passed_on: Names of variables that are handed over because they hold secrets.
    """
    found: set[str] = set()
    for name, value in environment.items():
        is_secret = name in passed_on or is_secret_name(name) or _TOKEN.search(name)
        if is_secret and len(value) >= _SHORTEST:
            found.add(value)
            lines = value.splitlines()
            found.update(line for line in lines if len(line) >= _SHORTEST_LINE)
        found.update(_passwords(value))
    return tuple(sorted(found))


def spellings(secrets: Iterable[str]) -> tuple[str, ...]:
    """Secrets as programs may write them, the longest first.

    As they are; within a URL (percent-encoded); within JSON or a Python text; in base64, at each
    of the three places at which they may stand in what was encoded (RFC 4648, section 4), as in
    the header of a basic authorization.
    """
    found: set[str] = set()
    for secret in secrets:
        found |= {secret, quote(secret, safe=""), *_escaped(secret)}
        if len(secret) >= _SHORTEST:
            found.update(_in_base64(secret.encode(errors="surrogateescape")))
    return tuple(sorted(filter(None, found), key=lambda spelling: (-len(spelling), spelling)))


def masked(text: str, spelt: Iterable[str]) -> str:
    """A text in which nothing is left of secrets, given by their `spellings`."""
    for spelling in spelt:
        text = text.replace(spelling, MASK)
    return text


def _passwords(value: str) -> Iterator[str]:
    """Of every URL in a value, as written and as meant; a short one with what stands around it."""
    for match in _USER_INFO.finditer(value):
        written = match["password"] or match["token"]
        for password in {written, unquote(written)}:
            yield password if len(password) >= _SHORTEST else f":{password}@"


def _escaped(secret: str) -> Iterator[str]:
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]


def _in_base64(secret: bytes) -> Iterator[str]:
    """What of the encoded text depends on the secret alone, wherever it stands in the whole."""
    for before in range(3):
        whole = base64.b64encode(bytes(before) + secret).decode().rstrip("=")
        is_cut = (before + len(secret)) % 3 != 0
        inner = whole[(0, 2, 3)[before] : -1 if is_cut else None]
        yield inner
        yield inner.replace("+", "-").replace("/", "_")
