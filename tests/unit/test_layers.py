"""The house of docs/design.md, proved from the imports."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGE: Final = ROOT / "autotune"

LAYERS: Final = (
    {"", "errors", "clock", "units", "locking"},
    {"seams", "spec", "records", "metrics", "paths"},
    {"engines", "deployers", "load", "telemetry"},
    {"probes"},
    {"trial", "store", "analysis"},
    {"study"},
    {"report"},
    {"cli"},
    {"__main__"},
)
"""Rooms by layer, the lowest first; "" is `autotune/__init__.py`, which holds the version."""

LAYER_OF: Final = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}

LIBRARY_ROOMS: Final = {
    "optuna": {"study"},
    "optuna_dashboard": {"study"},
    "docker": {"deployers", "engines"},
    "pynvml": {"telemetry"},
    "typer": {"cli"},
    "plotly": {"report"},
    "jinja2": {"report"},
}
"""Libraries and the rooms that may import them: their exceptions are translated there."""


def modules() -> dict[str, Path]:
    """Dotted name to file, of every module of the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES: Final = modules()


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else str(node.module)


def room(module: str) -> str:
    """The room that a module of the package lies in."""
    return [*module.split("."), ""][1]


EDGES: Final = {
    name: {target for target in imports(path) if target in MODULES and target != name}
    for name, path in MODULES.items()
}


def test_every_module_has_a_layer() -> None:
    """Each module lies in a room that the design names."""
    assert len(MODULES) > 40
    assert {room(name) for name in MODULES} == set(LAYER_OF)


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_down(name: str) -> None:
    """A module imports lower layers and its own room; layers 0 and 1 also their neighbours."""
    mine = LAYER_OF[room(name)]
    for target in EDGES[name]:
        theirs = LAYER_OF[room(target)]
        allowed = theirs < mine or room(target) == room(name) or (theirs == mine and mine <= 1)
        assert allowed, f"{name} (layer {mine}) imports {target} (layer {theirs})"


def test_imports_run_in_no_circle() -> None:
    """Taking away modules that import none of the rest, again and again, leaves nothing."""
    left = {name: set(targets) for name, targets in EDGES.items()}
    while left:
        free = {name for name, targets in left.items() if not targets & set(left)}
        assert free, f"these import each other: {sorted(left)}"
        left = {name: targets for name, targets in left.items() if name not in free}


def test_engines_are_met_through_seams() -> None:
    """What measures, searches and stores knows no engine by name; only files for one do."""
    known = {
        (name, target)
        for name, targets in EDGES.items()
        for target in targets
        if room(target) == "engines" and room(name) not in {"engines", "report", "cli"}
    }
    assert known == set()


def test_only_the_wiring_knows_every_room() -> None:
    """One module alone imports engines, deployers, load, telemetry, probes and trial."""
    rooms = {"engines", "deployers", "load", "telemetry", "probes", "trial"}
    all_knowing = [name for name, targets in EDGES.items() if rooms <= {room(t) for t in targets}]
    assert all_knowing == ["autotune.cli.wiring"]


@pytest.mark.parametrize("library", LIBRARY_ROOMS)
def test_a_library_stays_in_its_room(library: str) -> None:
    """Only the rooms named for a library import it, and somebody does."""
    users = {
        room(name)
        for name, path in MODULES.items()
        if any(target.split(".")[0] == library for target in imports(path))
    }
    assert users
    assert users <= LIBRARY_ROOMS[library]


def test_the_reader_of_imports_sees_what_is_hidden(tmp_path: Path) -> None:
    """An import inside a function, and a module that is named after `import`, are both found."""
    file = tmp_path / "module.py"
    file.write_text(
        "def f():\n    import optuna.trial\n    from autotune import cli, __version__\n"
    )
    assert set(imports(file)) == {"optuna.trial", "autotune", "autotune.cli"}
