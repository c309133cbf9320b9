"""A ratio as tables show it. Nothing else is loaded for it: a list of studies comes at once."""


def shown_change(ratio: float) -> str:
    """A ratio in the digits of every table: "-12.3%", or "x2.10" from twofold on."""
    return f"x{ratio:.2f}" if ratio >= 2 else f"{100 * (ratio - 1):+.1f}%"
