"""When requests go out in an open loop: pure functions of a rate and a seed."""

import numpy as np

from autotune.errors import SpecError
from autotune.units import NS_PER_S


def arrival_offsets_ns(
    arrival: str, *, rate_requests_per_s: float, count: int, seed: int, burstiness: float = 1.0
) -> tuple[int, ...]:
    """Offsets of `count` requests from the start, in nanoseconds; the first is 0.

    Args:
        arrival: "constant", "poisson" or "gamma".
        rate_requests_per_s: Mean rate.
        count: Number of requests.
        seed: The same seed gives the same offsets.
        burstiness: Shape of the gamma distribution, as in vLLM's benchmarks/serve.py: 1 is
            Poisson, less is burstier, more is steadier. Only "gamma" reads it.

    Raises:
        SpecError: If the arrival process is unknown or the rate is not positive.
    """
    if rate_requests_per_s <= 0:
        message = f"an arrival rate must be positive, not {rate_requests_per_s}"
        raise SpecError(message)
    if count <= 0:
        return ()
    gaps_s = _gaps_s(arrival, rate_requests_per_s, count - 1, seed, burstiness)
    offsets = np.concatenate(([0.0], np.cumsum(gaps_s)))
    return tuple(int(offset) for offset in np.rint(offsets * NS_PER_S))


def _gaps_s(
    arrival: str, rate: float, count: int, seed: int, burstiness: float
) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    rng = np.random.default_rng(seed)
    match arrival:
        case "constant":
            return np.full(count, 1.0 / rate)
        case "poisson":
            return rng.exponential(1.0 / rate, count)
        case "gamma":
            return rng.gamma(burstiness, 1.0 / (rate * burstiness), count)
        case _:
            message = f"there is no arrival process {arrival!r}"
            raise SpecError(message, hint="One of constant, poisson, gamma.")
