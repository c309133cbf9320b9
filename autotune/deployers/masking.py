"""Which values of an environment must not reach a log."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final
from urllib.parse import unquote

_NAME: Final = re.compile(r"TOKEN|SECRET|PASSW|API_?KEY|CREDENTIAL", re.IGNORECASE)
_USER_INFO: Final = re.compile(r"://[^\s/@:]*:(?P<password>[^\s/@]+)@")
"""Of a URL (RFC 3986, section 3.2.1): `https://user:password@host`."""
_SHORTEST: Final = 8
"""A shorter value is no secret worth the name, and masking it would spoil the log."""


def secrets_of(environment: Mapping[str, str], passed_on: Collection[str] = ()) -> tuple[str, ...]:
    """Values to mask, sorted.

    Args:
        environment: What a server gets.
        passed_on: Names of variables that are handed over because they hold secrets.
    """
    found = set()
    for name, value in environment.items():
        if (name in passed_on or _NAME.search(name)) and len(value) >= _SHORTEST:
            found.add(value)
        found.update(_passwords(value))
    return tuple(sorted(found))


def _passwords(value: str) -> Iterator[str]:
    """Of every URL in a value, as written and as meant; a short one with what stands around it."""
    for match in _USER_INFO.finditer(value):
        for password in {match["password"], unquote(match["password"])}:
            yield password if len(password) >= _SHORTEST else f":{password}@"
