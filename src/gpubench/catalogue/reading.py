"""Reading the catalogue's YAML: every scalar stays text, since figures carry units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpubench import yaml_text
from gpubench.errors import CatalogueError

DATA = Path(__file__).parent / "data"
"""The folder of the catalogue's own files."""


def read(path: Path) -> dict[str, Any]:
    """A file's mapping: nested dicts and lists, all scalars as text.

    Raises:
        CatalogueError: the file is no YAML mapping, repeats a key or uses an alias.
    """
    problems = yaml_text.Problems(path.name)
    try:
        tree = yaml_text.parse(path.read_bytes(), problems)
    except OSError as error:
        raise CatalogueError(f"cannot read {path}: {error.strerror or error}") from None
    if problems:
        raise CatalogueError("\n".join(problems.lines()))
    if not isinstance(tree, dict):
        raise CatalogueError(f"{path.name}: expected a mapping at the top")
    return tree
