"""PyYAML's safe loader, stricter: what a file may hold that only does harm is an error.

YAML lets a value stand in several places (`&name`, `*name`). A few lines of that unfold to more
values than any memory holds, and a value that holds itself has no end.
"""

from typing import Any, Final

import yaml

MOST_VALUES: Final = 200_000
"""Of a file, unfolded. The largest that autotune writes itself has some thousand."""


class StrictLoader(yaml.SafeLoader):
    """Plain values only, each key once, no value within itself, no lone surrogate."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose, and know how many values it unfolds to."""
        is_alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        if node is None:
            return node
        if is_alias:
            if id(node) not in self._sizes:
                problem = "a value holds itself"
                raise _refused(problem, node)
            return node
        size = 1 + sum(self._sizes[id(child)] for child in _children(node))
        if size > MOST_VALUES:
            problem = f"it unfolds to more than {MOST_VALUES:,} values"
            raise _refused(problem, node)
        self._sizes[id(node)] = size
        if isinstance(node, yaml.ScalarNode) and _has_surrogate(node.value):
            problem = "half of a character (a lone surrogate)"
            raise _refused(problem, node)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """PyYAML lets the last of two equal keys win without a word; here that is an error."""
        seen: set[str] = set()
        for key, _value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    problem = f"the key {key.value!r} is there twice"
                    raise _refused(problem, key)
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return []


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _refused(problem: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
