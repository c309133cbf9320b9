"""What differs between the vLLM releases that the simulated engine imitates.

Ranges were read in the releases' sources (0.6.0 to 0.33.0): `engine/arg_utils.py`,
`config/*.py`, `v1/worker/gpu_worker.py`, `v1/core/kv_cache_utils.py`, `v1/attention/backends/`.
"""

import re
from dataclasses import dataclass
from typing import Final

from autotune.errors import SpecError

DEFAULT_RELEASE: Final = "0.33.0"
_OLDEST, _NEWEST = (0, 6, 0), (0, 33, 99)

Version = tuple[int, int, int]

FP8_TYPES: Final = ("fp8", "fp8_e4m3", "fp8_e5m2")


@dataclass(frozen=True)
class Release:
    """One release of vLLM."""

    name: str
    version: Version

    def since(self, major: int, minor: int, patch: int = 0) -> bool:
        """Whether this release is that one or later."""
        return self.version >= (major, minor, patch)

    @property
    def is_v1(self) -> bool:
        """Whether the V1 engine is the default (0.8.0)."""
        return self.since(0, 8)

    @property
    def has_v0(self) -> bool:
        """Whether there still is a V0 engine (last in 0.10.2)."""
        return not self.since(0, 11)

    @property
    def gpu_memory_utilization(self) -> float:
        """Default share of the card: 0.92 from 0.20.0 (config/cache.py)."""
        return 0.92 if self.since(0, 20) else 0.9

    @property
    def graphs_in_budget(self) -> bool:
        """Whether graph memory is taken from the share (on by default from 0.20.0).

        From 0.25.0 dense models run on the second model runner, whose estimate of its graphs is 0
        before 0.29.0 (v1/worker/gpu/model_runner.py; ledgers of 0.26.0 on an H100).
        """
        return self.since(0, 20) and (self.since(0, 29) or not self.since(0, 25))

    @property
    def async_default(self) -> bool:
        """Whether async scheduling is on unless refused (0.14.0)."""
        return self.since(0, 14)

    @property
    def full_graphs(self) -> bool:
        """FULL_AND_PIECEWISE by default (0.11.0); piecewise before."""
        return self.since(0, 11)

    @property
    def reserves_full_prompt(self) -> bool:
        """Whether a request waits until its whole prompt fits (0.19.0)."""
        return self.since(0, 19)

    @property
    def kv_dtypes(self) -> tuple[str, ...]:
        """Choices of --kv-cache-dtype (config/cache.py, `CacheDType`)."""
        names = ["auto", *FP8_TYPES]
        names += ["fp8_inc"] * self.since(0, 10, 2) + ["bfloat16"] * self.since(0, 11)
        names += ["fp8_ds_mla"] * self.since(0, 11, 2) + ["float16"] * self.since(0, 18)
        if self.since(0, 20, 2):
            names += ["int8_per_token_head", "fp8_per_token_head", "nvfp4"]
        return tuple(names)

    @property
    def block_sizes(self) -> tuple[int, ...] | None:
        """Choices of --block-size; None is any positive number (0.18.0)."""
        if self.since(0, 18):
            return None
        return (1, 8, 16, 32, 64, 128, *((256,) if self.since(0, 12) else ()))

    @property
    def backends(self) -> tuple[str, ...]:
        """Attention backends for ordinary decoders on CUDA."""
        if not self.is_v1:
            return ("FLASH_ATTN", "XFORMERS", "FLASHINFER", "TORCH_SDPA")
        if not self.since(0, 11):
            return ("FLASH_ATTN", "FLASH_ATTN_VLLM_V1", "FLASHINFER", "TRITON_ATTN_VLLM_V1",
                    "FLEX_ATTENTION", "XFORMERS")  # fmt: skip
        names = ["FLASH_ATTN", "FLASHINFER", "TRITON_ATTN", "FLEX_ATTENTION"]
        names += ["TREE_ATTN"] * (not self.since(0, 26))
        return tuple(names)

    @property
    def backend_flag(self) -> bool:
        """--attention-backend (0.13.0)."""
        return self.since(0, 13)

    @property
    def backend_variable(self) -> bool:
        """VLLM_ATTENTION_BACKEND is read (to 0.14.1)."""
        return not self.since(0, 15)

    @property
    def offload_in_shm(self) -> bool:
        """KV offload lives in files under /dev/shm (0.27.0)."""
        return self.since(0, 27)

    def default_max_num_seqs(self, *, big_card: bool) -> int:
        """`get_batch_defaults`: 1024 on cards of 70 GiB and more, A100 aside."""
        return 1024 if big_card and self.since(0, 8, 5) else 256

    def default_token_budget(self, *, big_card: bool, huge_card: bool) -> int:
        """The same for --max-num-batched-tokens of a server."""
        if huge_card and self.since(0, 33):
            return 16384
        return 8192 if big_card else 2048


def release_named(name: str | None) -> Release:
    """A release by its number.

    Raises:
        SpecError: If it is no release that can be imitated.
    """
    text = (name or DEFAULT_RELEASE).removeprefix("v")
    match = re.fullmatch(r"(\d+)\.(\d+)(?:\.(\d+))?(?:[.+a-z].*)?", text)
    if match is None:
        message = f"engine.release: {name!r} is no release of vLLM"
        raise SpecError(message, hint=f"Write it like {DEFAULT_RELEASE}.")
    version = (int(match[1]), int(match[2]), int(match[3] or 0))
    if not _OLDEST <= version <= _NEWEST:
        message = f"engine.release: {name!r} cannot be simulated"
        raise SpecError(message, hint="0.6.0 to 0.33.0 can.")
    return Release(text, version)
