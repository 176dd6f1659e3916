"""Imports only go down, only cli/ prints, and kernels/ stays no package of its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "gpubench"

# The lowest floor first. A module may import from its own floor and from those below.
FLOORS = (
    ("errors", "__init__", "kernels"),
    ("units", "spellings", "stats", "dates", "yaml_text", "invisible"),
    ("quantities",),
    ("model",),
    ("measuring", "roofline", "claims", "records", "catalogue"),
    ("benchmarks", "validating"),
    ("importing", "exporting", "pytest_plugin"),
    ("workloads",),
    ("judging", "comparing"),
    ("running",),
    ("report",),
    ("cli",),
    ("__main__",),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# On one floor nothing else may import a neighbour: the catalogue knows no model of performance.
NEIGHBOURS = {
    "roofline": {"catalogue"},
    "claims": {"catalogue"},
    "dates": {"units"},
    "units": {"spellings"},
    "yaml_text": {"invisible"},
}


def imported(source: str) -> Iterator[tuple[str, int]]:
    """(room, line) of every import of gpubench in a source text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "gpubench":
                yield (
                    (parts[1] if len(parts) > 1 and parts[1] in FLOOR_OF else "__init__"),
                    node.lineno,
                )


def upward(room: str, source: str) -> list[str]:
    """The imports of a room's source that lead up, or sideways where no door is."""
    found = []
    for target, line in imported(source):
        sideways = target != room and FLOOR_OF[target] == FLOOR_OF[room]
        if FLOOR_OF[target] > FLOOR_OF[room] or (
            sideways and target not in NEIGHBOURS.get(room, set())
        ):
            found.append(f"line {line}: {room} imports {target}")
    return found


def printing(source: str) -> list[str]:
    """Calls of print, and uses of click or sys.stdout, in a source text."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "print"
        ):
            found.append(f"line {node.lineno}: print")
        if isinstance(node, ast.Attribute) and node.attr in ("stdout", "stderr"):
            found.append(f"line {node.lineno}: sys.{node.attr}")
        if isinstance(node, ast.Import) and any(a.name.startswith("click") for a in node.names):
            found.append(f"line {node.lineno}: click")
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("click"):
            found.append(f"line {node.lineno}: click")
    return found


def rooms() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path


def test_every_room_has_a_floor() -> None:
    assert {room for room, _ in rooms()} <= set(FLOOR_OF)


def test_imports_only_go_down() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}, {line}"
        for room, path in rooms()
        for line in upward(room, path.read_text("utf-8"))
    ]
    assert wrong == []


def test_an_upward_import_would_be_seen() -> None:
    bad = "def late():\n    from gpubench.report import wording\n"
    assert upward("judging", bad) == ["line 2: judging imports report"]
    assert upward("catalogue", "import gpubench.roofline.llm") == [
        "line 1: catalogue imports roofline"
    ]
    assert upward("model", "from gpubench import running") == ["line 1: model imports running"]
    assert upward("roofline", "from gpubench.catalogue import Catalogue") == []


def uses(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Of each module its imports among these: {"gpubench.units": {"gpubench.errors"}}."""
    found: dict[str, set[str]] = {name: set() for name in sources}
    for name, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                targets = {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                targets = inner & set(sources) or {node.module}
            else:
                continue
            found[name] |= targets & set(sources) - {name}
    return found


def test_no_module_needs_itself_by_a_detour() -> None:
    sources = {}
    for _, path in rooms():
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        sources[".".join(parts).removesuffix(".__init__")] = path.read_text("utf-8")
    tuple(TopologicalSorter(uses(sources)).static_order())


def test_a_detour_would_be_seen() -> None:
    sources = {
        "gpubench.a": "from gpubench import b",
        "gpubench.b": "def late():\n    from gpubench.a import A",
    }
    with pytest.raises(CycleError):
        tuple(TopologicalSorter(uses(sources)).static_order())


def test_only_the_command_line_prints() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}, {line}"
        for room, path in rooms()
        if room not in ("cli", "__main__")
        for line in printing(path.read_text("utf-8"))
    ]
    assert wrong == []


def test_a_print_would_be_seen() -> None:
    assert printing("import sys\nprint('hello', file=sys.stderr)") == [
        "line 2: print",
        "line 2: sys.stderr",
    ]
    assert printing("from click import echo") == ["line 1: click"]


def test_cli_imports_only_click_at_its_top() -> None:
    tree = ast.parse((PACKAGE / "cli" / "__init__.py").read_text("utf-8"))
    names = {
        name.split(".")[0]
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
        )
    }
    # click itself has loaded the others by then.
    light = {"__future__", "gc", "os", "sys", "importlib", "collections", "contextlib", "typing"}
    assert names <= light | {"click", "gpubench"}


def test_kernels_is_no_package_that_shadows_the_one_on_pypi() -> None:
    # The checkout's root is on sys.path under pytest, so `import kernels` would find ours.
    assert not (ROOT / "kernels" / "__init__.py").exists()


def test_the_shim_finds_the_kernels_of_the_checkout() -> None:
    import gpubench.kernels

    assert str(ROOT / "kernels") in list(gpubench.kernels.__path__)
