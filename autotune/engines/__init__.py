"""Inference servers: what they can do, how they are started, what they say of themselves.

`vllm` is the real one. `simulated` is a vLLM without a GPU; it comes with rooms of its own and is
made by `autotune.engines.simulated.backend`.
"""

from collections.abc import Callable
from typing import Final

from autotune.seams.engine import Engine
from autotune.spec.vocabulary import Vocabulary


def _vllm() -> Engine:
    # Imported when a study needs it: the package's own small modules are imported by others.
    from autotune.engines.vllm.engine import VllmEngine  # noqa: PLC0415

    return VllmEngine()


ENGINES: Final[dict[str, Callable[[], Engine]]] = {"vllm": _vllm}
"""Engines of their own; one instance belongs to one study."""


def vocabulary() -> Vocabulary:
    """Every parameter of every engine, with what its values can be."""
    from autotune.engines.vllm.releases import release_table  # noqa: PLC0415

    return Vocabulary(never={n: f.never for n, f in release_table().parameters.items()})
