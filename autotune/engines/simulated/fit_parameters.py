"""The parameters of a card that a calibration moves: which, how far, and whom they concern."""

from math import log
from typing import Final

from autotune.engines.model_shape import ModelShape
from autotune.engines.simulated.card import Card, HostCosts
from autotune.engines.simulated.settings import GraphMode, ServeSettings

PARAMETERS: Final = (
    "gemm.compute",
    "gemm.bandwidth",
    "gemm.int4_compute",
    "gemm.int4_bandwidth",
    "gpu.layer_us",
    "gpu.token_traffic",
    "gpu.eager_traffic",
    "host.iteration_us",
    "host.sequence_us",
    "host.piecewise_layer_us",
    "host.compiled_layer_us",
    "host.eager_layer_us",
    "host.eager_sequence_us",
    "host.frontend_chunk_us",
    "host.frontend_request_us",
    "host.frontend_prompt_token_us",
    "host.request_latency_us",
    "host.offload_sequence_us",
    "host.offload_store_us",
)
BACKEND_PARAMETERS: Final = (
    "prefill",
    "decode",
    "sequence_token_ns",
    "fp8_prefill",
    "fp8_decode",
    "launch_us",
    "fp8_launch_us",
    "host_us",
    "layer_us",
)
_SHARES: Final = frozenset(
    {"compute", "bandwidth", "int4_compute", "int4_bandwidth", "prefill", "decode"}
)
_LARGEST_SHARE: Final = 1.2
_PULL: Final = 0.05
_SHARE_PULL: Final = 0.2
"""For shares of a peak. Kernels are known well enough to be sure within a half, and what several
of them share in one iteration would otherwise be moved from one to the other by noise. So would a
backend's own time per iteration between host and GPU."""
_FP8_PULL: Final = 0.3
"""For what an fp8 KV cache changes: seen in few configurations and small beside the noise, it would
follow the noise (a weak pull had a halved cache read more slowly than a whole one)."""
MACHINE_PULL: Final = 0.8
"""For how much slower or faster one machine's processor is than another of its kind: machines with
an H100 differed by a tenth either way."""
_ON_HOST: Final = ("host_us", "launch_us", "fp8_launch_us")
WIDEST: Final = log(6.0)
"""How far a parameter may move from its start value, as a logarithm."""


def pull_of(name: str) -> float:
    """How strongly a parameter is held to its start value, in units of a miss per logarithm."""
    last = name.rpartition(".")[2]
    if last.startswith("fp8_"):
        return _FP8_PULL
    own = name.startswith("attention.") and last in {"host_us", "layer_us"}
    return _SHARE_PULL if own or last in _SHARES else _PULL


def most_of(name: str, start: float) -> float:
    """Upper bound of log(value / start): no efficiency beyond the peak and a little."""
    if name.rpartition(".")[2] in _SHARES:
        return max(1e-3, log(_LARGEST_SHARE / start))
    return WIDEST


def backend_of(card: Card, settings: ServeSettings) -> str:
    """The attention backend's name in the card's file."""
    name = settings.attention_backend
    return name if name in card.attention else "FLASH_ATTN"


def touches(name: str, settings: ServeSettings, card: Card, shape: ModelShape) -> bool:
    """Whether a parameter can change anything for a server with these settings and model."""
    eager = settings.graph_mode is GraphMode.EAGER
    if name.startswith("attention."):
        _, backend, parameter = name.split(".")
        seen = backend == backend_of(card, settings)
        return seen and (settings.fp8_kv or not parameter.startswith("fp8_"))
    if name.startswith("gemm.int4_"):
        return shape.weight_bits < 8
    if "eager" in name:
        return eager
    if name in {"gpu.token_traffic", "host.piecewise_layer_us", "host.compiled_layer_us"}:
        return not eager
    return settings.offload_bytes > 0 or "offload" not in name


def on_host(card: Card, factor: float) -> Card:
    """The same card in a machine whose processor takes so many times as long for everything."""
    if factor == 1.0:
        return card
    host = {name: getattr(card.host, name) * factor
            for name in HostCosts.model_fields if name.endswith("_us")}  # fmt: skip
    attention = {
        backend: known.model_copy(update={name: getattr(known, name) * factor for name in _ON_HOST})
        for backend, known in card.attention.items()
    }
    return card.model_copy(
        update={"host": card.host.model_copy(update=host), "attention": attention}
    )
