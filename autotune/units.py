"""Units: raw values are nanoseconds and bytes; names carry their unit."""

from typing import Final

NS_PER_S: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000
BYTES_PER_KIB: Final = 1024
BYTES_PER_MIB: Final = 1024**2
BYTES_PER_GIB: Final = 1024**3


def ns_from_s(seconds: float) -> int:
    """Seconds to whole nanoseconds."""
    return round(seconds * NS_PER_S)


def s_from_ns(nanoseconds: float) -> float:
    """Nanoseconds to seconds."""
    return nanoseconds / NS_PER_S


def bytes_from_gib(gib: float) -> int:
    """GiB to whole bytes."""
    return round(gib * BYTES_PER_GIB)


def gib_from_bytes(size_bytes: float) -> float:
    """Bytes to GiB."""
    return size_bytes / BYTES_PER_GIB
