"""Configurations held against the engine at hand: what can be set, what must not be started."""

from collections.abc import Mapping

from autotune.engines.vllm.compatibility import Circumstances, Rule, circumstances, rule_book
from autotune.engines.vllm.memory_settings import fixed_values
from autotune.engines.vllm.parameters import judge
from autotune.records import Configuration, Failure, FailureKind, Scalar
from autotune.seams.engine import Capabilities, ModelFacts, Removal, Settled
from autotune.seams.telemetry import Hardware
from autotune.spec.space import DEFAULT


def settle(configuration: Configuration, capabilities: Capabilities, hardware: Hardware) -> Settled:
    """Split a fixed configuration into what can be set, what is default, what is lacking.

    Settings that cannot be together: the one that a rule names gives way, the rest stays.
    """
    at = circumstances(capabilities, hardware)
    kept: dict[str, Scalar] = {}
    left_out: list[Removal] = []
    redundant: dict[str, str] = {}
    for name, value in configuration.items:
        judgement = judge(name, value, capabilities, at)
        if judgement.standing == "lacking":
            left_out.append(Removal(parameter=name, value=value, reason=judgement.reason))
        elif judgement.standing == "default":
            redundant[name] = judgement.reason
        else:
            kept[name] = value
    asked = {n: v for n, v in configuration.items if n in kept or n in redundant}
    while (rule := _first_conflict(asked, kept, at)) is not None:
        value = kept.pop(rule.yields)
        asked.pop(rule.yields)
        if rule.verdict == "redundant":
            redundant[rule.yields] = rule.reason
        else:
            left_out.append(Removal(parameter=rule.yields, value=value, reason=rule.reason))
    return Settled(
        configuration=Configuration.of(kept), left_out=tuple(left_out), redundant=redundant
    )


def _first_conflict(
    asked: Mapping[str, Scalar], kept: Mapping[str, Scalar], at: Circumstances
) -> Rule | None:
    """A rule that a fixed configuration runs into and that one of its settings can mend.

    FLASH_ATTN beside nothing else is left as it was asked for: a matrix's reference names its
    kernel, and a reference that says so is better than one that does not.
    """
    for rule in rule_book().hits(asked, at):
        mendable = rule.yields in kept and rule.verdict != "fragile"
        if mendable and (rule.verdict, rule.yields) != ("redundant", "attention_backend"):
            return rule
    return None


def refusal(
    configuration: Configuration,
    capabilities: Capabilities,
    hardware: Hardware,
    model: ModelFacts | None = None,
    env: Mapping[str, str] | None = None,
    *,
    arguments: tuple[str, ...] = (),
) -> Failure | None:
    """Why a configuration must not be started on the engine at hand; None if it may.

    Relations hold between all that a start is told: what every start of the study is told
    (`arguments`) counts where the configuration does not say otherwise.

    ILLEGAL is a setting or value that this engine lacks, or a broken relation;
    UNSUPPORTED_COMBINATION are settings that do not go together here.
    """
    at = circumstances(capabilities, hardware, model, env)
    for name, value in configuration.items:
        judgement = judge(name, value, capabilities, at)
        if judgement.standing == "lacking":
            return _failure(FailureKind.ILLEGAL, f"{name}={value}: {judgement.reason}")
    values = configuration.values
    told = {**fixed_values(arguments), **values}
    for relation in rule_book().relations:
        if relation.broken_by(told):
            return _failure(FailureKind.ILLEGAL, relation.reason)
    for rule in rule_book().hits(values, at):
        if rule.verdict in ("refused", "ignored"):
            named = " with ".join(f"{n}={values.get(n, DEFAULT)}" for n in rule.settings)
            return _failure(FailureKind.UNSUPPORTED_COMBINATION, f"{named}: {rule.reason}")
    return None


def _failure(kind: FailureKind, message: str) -> Failure:
    return Failure(kind=kind, phase="screening", message=message)
