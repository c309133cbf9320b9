"""Numbers of a file, within what can be meant.

The upper ends are far beyond any machine of today. They are there so that a slip of the pen
(1e300 GiB, a time in nanoseconds) is named when the file is read, and not met later as an
arithmetic error.
"""

from typing import Annotated, Final

from pydantic import Field

MOST_GIB: Final = 100_000
MOST_SECONDS: Final = 10_000_000
MOST_TOKENS: Final = 100_000_000

Gib = Annotated[float, Field(ge=0, le=MOST_GIB)]
GibAboveZero = Annotated[float, Field(gt=0, le=MOST_GIB)]
SecondsAboveZero = Annotated[float, Field(gt=0, le=MOST_SECONDS)]
Tokens = Annotated[int, Field(ge=1, le=MOST_TOKENS)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Bounded = Annotated[float, Field(gt=0, le=1_000_000)]
"""A rate, ratio or factor."""
