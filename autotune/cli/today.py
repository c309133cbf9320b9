"""The date for a page's foot."""

from autotune.clock import MonotonicClock


def today() -> str:
    """ISO 8601; never that of a virtual clock."""
    return MonotonicClock().wall().date().isoformat()
