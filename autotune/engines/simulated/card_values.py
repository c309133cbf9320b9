"""Parameters of a card by dotted names: `gemm.compute`, `attention.FLASH_ATTN.decode`."""

from collections.abc import Mapping
from typing import Any

from autotune.engines.simulated.card import Card


def with_values(card: Card, values: Mapping[str, float]) -> Card:
    """A card with some of its parameters, named like `gemm.compute`, replaced.

    Raises:
        KeyError: If there is no such parameter.
    """
    groups: dict[str, dict[str, float]] = {}
    backends: dict[str, dict[str, float]] = {}
    for name, value in values.items():
        value_of(card, name)
        group, _, rest = name.partition(".")
        if group == "attention":
            backend, _, parameter = rest.partition(".")
            backends.setdefault(backend, {})[parameter] = value
        else:
            groups.setdefault(group, {})[rest] = value
    update: dict[str, Any] = {
        group: getattr(card, group).model_copy(update=new) for group, new in groups.items()
    }
    update["attention"] = {
        name: efficiency.model_copy(update=backends.get(name, {}))
        for name, efficiency in card.attention.items()
    }
    return card.model_copy(update=update)


def value_of(card: Card, name: str) -> float:
    """A parameter of a card by its dotted name, as `gemm.compute`.

    Raises:
        KeyError: If there is no such parameter.
    """
    group, _, rest = name.partition(".")
    owner: object = getattr(card, group, None)
    if group == "attention":
        backend, _, rest = rest.partition(".")
        owner = card.attention.get(backend)
    value = getattr(owner, rest, None)
    if not isinstance(value, int | float):
        raise KeyError(name)
    return float(value)
