"""The tables of docs/engine-knowledge.md: KV memory predicted against ledgers.

    python -m tests.golden.kv_memory_table

A test holds the page against what this prints.
"""

import sys
from collections.abc import Callable, Iterable, Iterator

from autotune.engines.vllm.memory import MemoryModel
from autotune.engines.vllm.memory_settings import fixed_settings
from autotune.records import Scalar
from autotune.units import BYTES_PER_GIB
from tests.golden.engines.vllm import test_vllm_measured_ledgers as measured
from tests.golden.engines.vllm import test_vllm_public_ledgers as public
from tests.support.vllm_ledgers import Start

Row = tuple[str, ...]

OWN = {
    "Qwen2.5-1.5B": [*measured.SHARED, *measured.OF_STUDY],
    "Qwen2.5-7B-AWQ": [*measured.AWQ, *measured.EACH_OF_THIRD_DAY],
    "Qwen2.5-14B": [measured.START_14B],
}
"""The project's own records, alike but for settings that leave the memory as it is."""

ROOMY_GIB = 2.0
"""Below, hundredths of a GiB are percents."""


def before() -> Iterator[Row]:
    """Every start whose KV bytes are what is left of a share, before any trial."""
    for start in public.ALIKE:
        cache = "cold" if start.is_cold else "warm"
        yield _row(
            start.card,
            start.context.capabilities.release,
            start.context.model.name.split("/")[-1],
            start.configuration.get("gpu_memory_utilization"),
            cache,
            start.kv_gib,
            _kv_gib(MemoryModel(), start),
        )
    for shape, own_starts in OWN.items():
        yield from dict.fromkeys(_own_row(shape, own) for own in own_starts)


def after() -> Iterator[Row]:
    """What one start on a card taught, applied to another one: the worst of each card."""
    cards: dict[str, list[tuple[float, float]]] = {}
    for first, second in public.PAIRS:
        model = MemoryModel()
        model.learn(first.record(model.screen(first.configuration, first.context).predicted))
        cards.setdefault(first.card, []).append((_kv_gib(model, second), second.kv_gib))
    own = [(a, b) for alike in OWN.values() for a in alike for b in alike if a is not b]
    for one, other in own:
        model = MemoryModel()
        model.learn(measured.taught(one, model))
        kv_gib = other.predicted(model)["kv_cache_bytes"] / BYTES_PER_GIB
        cards.setdefault("NVIDIA H100 80GB HBM3, own records", []).append((kv_gib, other.kv_gib))
    for card, pairs in cards.items():
        roomy = [found / said - 1 for found, said in pairs if said > ROOMY_GIB]
        worst = f"{max(roomy, key=abs):+.1%}" if roomy else "-"
        apart = max((found - said for found, said in pairs), key=abs)
        yield card, str(len(pairs)), worst, f"{apart:+.2f}"


def _own_row(shape: str, own: measured.Start) -> Row:
    return _row(
        "NVIDIA H100 80GB HBM3, own record",
        own.context.capabilities.release,
        f"{shape} shape",
        own.configuration.get("gpu_memory_utilization")
        or fixed_settings(own.context.fixed_arguments)["gpu_memory_utilization"],
        "cold" if own.is_cold else "warm",
        own.kv_gib,
        own.predicted(MemoryModel())["kv_cache_bytes"] / BYTES_PER_GIB,
    )


def _kv_gib(model: MemoryModel, start: Start) -> float:
    kv_bytes = model.predict(start.configuration, start.context).kv_bytes
    return 0.0 if kv_bytes is None else kv_bytes / BYTES_PER_GIB


def _row(  # noqa: PLR0917 - a table row
    card: str,
    release: str,
    model: str,
    share: Scalar | None,
    cache: str,
    kv_gib: float,
    found_gib: float,
) -> Row:
    little = kv_gib <= public.LITTLE_GIB
    off = f"{found_gib - kv_gib:+.2f} GiB" if little else f"{found_gib / kv_gib - 1:+.1%}"
    return (
        card,
        release,
        model,
        str(share or "default"),
        cache,
        f"{kv_gib:.2f}",
        f"{found_gib:.2f}",
        off,
    )


def markdown(head: Row, rows: Iterable[Row]) -> str:
    """A table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


BEFORE = ("card", "release", "model", "share", "compile cache", "KV GiB", "predicted", "off by")
AFTER = ("card", "pairs", "worst over 2 GiB", "worst, GiB")

TABLES: dict[str, Callable[[], str]] = {
    "before": lambda: markdown(BEFORE, before()),
    "after": lambda: markdown(AFTER, after()),
}


def main() -> None:
    """Print both."""
    for name, table in TABLES.items():
        sys.stdout.write(f"<!-- table: {name} -->\n{table()}\n<!-- end: {name} -->\n\n")


if __name__ == "__main__":
    main()
