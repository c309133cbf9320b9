"""What two studies asked of their servers differently."""

from autotune.spec.workload import Workload


def loads_apart(one: Workload, other: Workload) -> dict[str, tuple[str, str]]:
    """Fields of the workload that differ, with both values."""
    first, second = one.model_dump(), other.model_dump()
    return {n: (str(v), str(second[n])) for n, v in first.items() if v != second[n]}
