"""Cells of a CSV table as numbers: empty means not stated, and nothing is guessed."""

from __future__ import annotations

import math
from collections.abc import Mapping


def number(raw: Mapping[str, str], column: str) -> float | None:
    """A positive number, or None for an empty cell. Raises ValueError, a sentence."""
    text = raw.get(column, "").strip()
    if not text:
        return None
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not (0 < found < math.inf) or "_" in text:
        raise ValueError(f"{column} '{text}' is no positive number: write it as in 1024 or 0.5")
    return found


def count(raw: Mapping[str, str], column: str) -> int | None:
    """A positive whole number, or None for an empty cell. Raises ValueError, a sentence."""
    found = number(raw, column)
    if found is not None and found != int(found):
        raise ValueError(f"{column} '{raw[column]}' is no whole number")
    return None if found is None else int(found)


def yes(raw: Mapping[str, str], column: str) -> bool:
    """A cell that says yes or no. Raises ValueError, a sentence."""
    if raw[column] not in ("yes", "no"):
        raise ValueError(f"{column} '{raw[column]}' is neither yes nor no")
    return raw[column] == "yes"
