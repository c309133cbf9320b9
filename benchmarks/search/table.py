"""Every configuration of the synthetic space by its row, so that nothing is worked out twice.

A study asks a landscape and its prior some four thousand times; looked up in arrays over the
whole space that takes microseconds instead of a quarter of a millisecond.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from autotune.records import Configuration, Scalar
from benchmarks.search.landscape import Columns

_NUMBERS: Final[Mapping[str, tuple[str, tuple[float, ...]]]] = {
    "gpu_memory_utilization": ("share", tuple(round(0.8 + 0.02 * i, 2) for i in range(9))),
    "max_num_seqs": ("seqs", (16, 32, 64, 128, 256)),
    "max_num_batched_tokens": ("budget", (1024, 2048, 4096, 8192)),
    "max_model_len": ("longest", (16384, 32768)),
    "kv_offload_gib": ("offload", (0, 8, 16, 32, 48, 64, 80)),
}
"""Parameter to its column and what it may be; not set is a value more."""
_WORDS: Final[Mapping[str, tuple[tuple[str, Scalar], ...]]] = {
    "attention_backend": (("flashinfer", "FLASHINFER"), ("triton", "TRITON_ATTN")),
    "kv_cache_dtype": (("fp8", "fp8"),),
    "async_scheduling": (("async", True), ("sync", False)),
    "block_size": (("block16", 16), ("block32", 32)),
    "performance_mode": (("interactive", "interactivity"),),
}
"""Parameter to the flags of its values; none of them is the default."""
_LEVELS: Final = {
    **{name: len(values) + 1 for name, (_, values) in _NUMBERS.items()},
    **{name: len(flags) + 1 for name, flags in _WORDS.items()},
}
_WEIGHTS: Final = dict(zip(_LEVELS, np.cumprod([1, *_LEVELS.values()])[:-1].tolist(), strict=True))
_CODES: Final[Mapping[str, Mapping[Scalar, int]]] = {
    **{
        name: {value: (i + 1) * _WEIGHTS[name] for i, value in enumerate(values)}
        for name, (_, values) in _NUMBERS.items()
    },
    **{
        name: {value: (i + 1) * _WEIGHTS[name] for i, (_, value) in enumerate(flags)}
        for name, flags in _WORDS.items()
    },
}


class Rows:
    """Finds a configuration's row.

    Args:
        columns: The whole space.
    """

    def __init__(self, columns: Columns) -> None:
        codes = np.zeros(len(columns["fp8"]), dtype=np.int64)
        for name, (column, values) in _NUMBERS.items():
            found = np.round(columns[column], 4)
            digits = np.searchsorted(values, np.where(np.isnan(found), values[0], found)) + 1
            codes += np.where(np.isnan(found), 0, digits) * _WEIGHTS[name]
        for name, flags in _WORDS.items():
            for index, (column, _) in enumerate(flags):
                codes += columns[column] * ((index + 1) * _WEIGHTS[name])
        size = int(np.prod(list(_LEVELS.values())))
        self._rows = np.full(size, -1, dtype=np.int64)
        self._rows[codes] = np.arange(len(codes))

    def of(self, configuration: Configuration) -> int | None:
        """None for one that is not in the space, as the engine's own default."""
        code = 0
        for name, value in configuration.items:
            key = round(value, 4) if isinstance(value, float) else value
            code += _CODES[name].get(key, 0)
        row = int(self._rows[code])
        return None if row < 0 else row
