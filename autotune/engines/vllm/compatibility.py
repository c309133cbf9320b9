"""What goes with what: reads `compatibility.yaml` and holds configurations against it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, model_validator

from autotune.engines.vllm.releases import Release, Window, parse_release, release_table, same
from autotune.records import Scalar
from autotune.seams.engine import Capabilities, ModelFacts
from autotune.seams.telemetry import Hardware
from autotune.spec.files import StrictModel, read_yaml, validate
from autotune.spec.space import DEFAULT
from autotune.units import gib_from_bytes

RULES_FILE: Final = Path(__file__).with_name("compatibility.yaml")

Verdict = Literal["refused", "ignored", "redundant", "fragile"]
Trait = Literal["mla", "hybrid", "fp8_weights"]


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """Everything that rules look at besides the settings.

    Attributes:
        capability: Compute capability of the GPU that is tuned; None if there is none.
        traits: What the model is: "mla", "hybrid", "fp8_weights".
        in_container: Whether the engine runs in a container of its own.
        host_gib: The host's memory; None if it is not known.
        shm_gib: What the engine's /dev/shm can hold; None where autotune sizes it (containers).
        model_len_tokens: The longest request that the model's own files allow.
        env: Variables that the study sets for every start.
    """

    release: Release
    platform: str
    capability: tuple[int, int] | None = None
    is_wsl: bool = False
    traits: frozenset[str] = frozenset()
    in_container: bool = False
    host_gib: float | None = None
    shm_gib: float | None = None
    model_len_tokens: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)


def circumstances(
    capabilities: Capabilities,
    hardware: Hardware,
    model: ModelFacts | None = None,
    env: Mapping[str, str] | None = None,
) -> Circumstances:
    """Gather what the rules look at; a container is known by its image's digest."""
    gpu = hardware.gpu
    config: Mapping[str, Any] = {} if model is None else model.config
    in_container = capabilities.image_digest is not None
    shm_gib = gib_from_bytes(hardware.shm_bytes)
    return Circumstances(
        release=parse_release(capabilities.release),
        platform=capabilities.platform,
        capability=None if gpu is None else gpu.compute_capability,
        is_wsl=hardware.is_wsl,
        traits=model_traits(config),
        in_container=in_container,
        host_gib=gib_from_bytes(hardware.host_memory_bytes) or None,
        shm_gib=None if in_container else shm_gib or None,
        model_len_tokens=model_length(config),
        env=env or {},
    )


def model_length(config: Mapping[str, Any]) -> int | None:
    """Tokens that vLLM derives as the longest request; None where rope scaling is at work.

    The smallest of the keys that config/model.py (`_get_and_verify_max_len`, 0.8.5 to 0.33.0)
    looks at; a longer `--max-model-len` is refused. Scaled position embeddings have rules of
    their own by kind, which are not repeated here.
    """
    layers = _text_config(config)
    scaling = layers.get("rope_scaling") or layers.get("rope_parameters") or {}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind != "default":
        return None
    if isinstance(own := layers.get("model_max_length"), int):  # Cohere's wins over all others
        return own
    keys = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length",
            "max_sequence_length", "max_seq_length", "seq_len")  # fmt: skip
    lengths = [int(v) for k in keys if isinstance(v := layers.get(k), int) and v > 0]
    return min(lengths, default=None)


def model_traits(config: Mapping[str, Any]) -> frozenset[str]:
    """What a model's config.json says of its attention.

    "mla": multi-head latent attention, known by `kv_lora_rank` (DeepSeek V2, V3).
    "hybrid": attention beside recurrent layers, known by their kinds or by the state's size
    (Jamba, Bamba, Qwen3-Next, Nemotron-H).
    "fp8_weights": the checkpoint itself is in fp8.
    """
    layers = _text_config(config)
    traits = {"mla"} if layers.get("kv_lora_rank") else set()
    kinds = [
        str(k) for name in ("layer_types", "layers_block_type") for k in (layers.get(name) or ())
    ]
    recurrent = any(word in kind for kind in kinds for word in ("linear", "mamba", "recurrent"))
    sizes = ("mamba_d_state", "ssm_state_size", "attn_layer_period")
    if recurrent or any(layers.get(k) for k in sizes):
        traits.add("hybrid")
    quantization = layers.get("quantization_config")
    if isinstance(quantization, Mapping) and "fp8" in str(quantization.get("quant_method", "")):
        traits.add("fp8_weights")
    return frozenset(traits)


def _text_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A model's config with its language model's part on top."""
    text = config.get("text_config")
    return {**config, **(text if isinstance(text, Mapping) else {})}


class CapabilityRange(StrictModel):
    """Compute capabilities such as "8.9", both ends included."""

    first: str | None = Field(default=None, pattern=r"^\d+\.\d+$")
    last: str | None = Field(default=None, pattern=r"^\d+\.\d+$")

    def covers(self, capability: tuple[int, int]) -> bool:
        """Whether a GPU's capability lies in the range."""
        return (self.first is None or _capability(self.first) <= capability) and (
            self.last is None or capability <= _capability(self.last)
        )


def _capability(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor)


class When(Window):
    """Circumstances in which a rule holds."""

    capability: tuple[CapabilityRange, ...] | None = None
    wsl: bool | None = None
    model: Trait | None = None
    container: bool | None = None
    env: dict[str, str] = Field(default_factory=dict)

    def holds(self, at: Circumstances) -> bool:
        """Whether everything is true; an unknown capability never is."""
        if not self.covers(at.release, at.platform):
            return False
        if self.capability is not None and (
            at.capability is None or not any(r.covers(at.capability) for r in self.capability)
        ):
            return False
        return (
            (self.wsl is None or self.wsl == at.is_wsl)
            and (self.model is None or self.model in at.traits)
            and (self.container is None or self.container == at.in_container)
            and all(part in at.env.get(name, "") for name, part in self.env.items())
        )


class Bound(StrictModel):
    """A match by size or by presence."""

    above: float | None = None
    given: Literal[True] | None = None


class Rule(StrictModel):
    """One line of what goes with what."""

    name: str
    when: When
    settings: dict[str, tuple[Scalar, ...] | Bound] = Field(min_length=1)
    verdict: Verdict
    yields: str = ""
    safe: dict[str, tuple[Scalar, ...]] = Field(default_factory=dict)
    reason: str
    source: str

    @model_validator(mode="before")
    @classmethod
    def _lone_setting_yields(cls, raw: Any) -> Any:
        """A rule about one setting needs not say which gives way."""
        if isinstance(raw, dict) and "yields" not in raw and len(raw.get("settings", {})) == 1:
            return {**raw, "yields": next(iter(raw["settings"]))}
        return raw

    @model_validator(mode="after")
    def _names_are_known(self) -> "Rule":
        known = release_table().parameters
        unknown = [n for n in self.settings if n not in known]
        if unknown or not {self.yields, *self.safe} <= set(self.settings):
            what = "unknown parameter, or `yields` or `safe` is none of its settings"
            message = f"rule {self.name}: {what}"
            raise ValueError(message)
        if self.safe and self.verdict != "fragile":
            message = f"rule {self.name}: only what is fragile has a safe way beside it"
            raise ValueError(message)
        return self

    def matches(self, name: str, value: Scalar | None, at: Circumstances) -> bool:
        """Whether a parameter's value (None: left to the engine) is one that the rule means."""
        wanted = self.settings[name]
        facts = release_table().parameters[name]
        value = None if value is None else facts.own_name(value, at.release, at.platform)
        is_default = value is None or facts.is_default(value, at.release, at.platform)
        if isinstance(wanted, Bound):
            if wanted.given:
                return not is_default
            bound = wanted.above
            return (bound is not None and isinstance(value, int | float)
                    and not isinstance(value, bool) and value > bound)  # fmt: skip
        if is_default and DEFAULT in wanted:
            return True
        return value is not None and any(same(value, v) for v in wanted)

    def hits(self, values: Mapping[str, Scalar], at: Circumstances) -> bool:
        """Whether a configuration is one that the rule means."""
        return self.when.holds(at) and all(
            self.matches(name, values.get(name), at) for name in self.settings
        )


class Relation(StrictModel):
    """The first parameter must not be under the second, where both are set."""

    at_least: tuple[str, str]
    only_if: dict[str, tuple[Scalar, ...]] = Field(default_factory=dict)
    reason: str
    source: str

    def broken_by(self, values: Mapping[str, Scalar]) -> bool:
        """Whether a configuration breaks it."""
        larger, smaller = (values.get(name) for name in self.at_least)
        if not isinstance(larger, int | float) or not isinstance(smaller, int | float):
            return False
        asked = all(any(same(values[n], w) for w in wanted) if n in values else False
                    for n, wanted in self.only_if.items())  # fmt: skip
        return asked and larger < smaller


class HostFactor(Window):
    """Host bytes per byte of offload; `rounded`: to a power of two for each layer, if alike."""

    factor: float = Field(ge=1.0)
    rounded: bool = False
    source: str


class RuleBook(StrictModel):
    """The whole of `compatibility.yaml`."""

    rules: tuple[Rule, ...]
    relations: tuple[Relation, ...]
    host_reserve_gib: float = Field(ge=0)
    kv_offload_host: tuple[HostFactor, ...] = Field(min_length=1)
    weights_offload_host: tuple[HostFactor, ...] = Field(min_length=1)

    def in_force(self, at: Circumstances) -> tuple[Rule, ...]:
        """Rules whose circumstances hold."""
        return tuple(rule for rule in self.rules if rule.when.holds(at))

    def hits(self, values: Mapping[str, Scalar], at: Circumstances) -> tuple[Rule, ...]:
        """Rules that a configuration runs into, in the file's order."""
        return tuple(rule for rule in self.rules if rule.hits(values, at))


def host_factor(factors: tuple[HostFactor, ...], release: Release, platform: str) -> HostFactor:
    """That of a release; the largest where the table has none."""
    known = (f for f in factors if f.covers(release, platform))
    return next(known, max(factors, key=lambda f: f.factor))


def rules_from(raw: Any, *, where: str) -> RuleBook:
    """Read rules from parsed YAML.

    Raises:
        SpecError: Naming the field.
    """
    return validate(RuleBook, raw, where=where)


@cache
def rule_book() -> RuleBook:
    """The declared rules, read once."""
    return rules_from(read_yaml(RULES_FILE), where=RULES_FILE.name)
