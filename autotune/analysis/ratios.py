"""A ratio as tables show it. Nothing else is loaded for it: a list of studies comes at once."""


def shown_change(ratio: float) -> str:
    """A ratio in the digits of every table: "-12.3%", or "x2.10" from twofold on."""
    if ratio >= 2:
        return f"x{ratio:.2f}"
    percent = round(100 * (ratio - 1), 1) or 0.0  # of nothing the sign is nothing
    return f"{percent:+.1f}%"
