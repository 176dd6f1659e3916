"""Several rows of a table that say the same of one accelerator: who is heard, and what they span.

Nobody knows which of several belong together with which of another accelerator (other request
rates, say), so that they are left out; but for MLPerf, whose rules fix all but the machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Protocol, TypeVar


class Row(Protocol):
    """A row of a table of published results."""

    @property
    def source_id(self) -> str:
        """Whose table it comes from."""


Key = TypeVar("Key")
Published = TypeVar("Published", bound=Row)


def are_of(row: Row) -> bool:
    """Whether a row was submitted to MLPerf."""
    return row.source_id.startswith("mlperf")


def heard(groups: Mapping[Key, list[Published]]) -> dict[Key, list[Published]]:
    """The groups of rows that may be compared: single rows, and submissions."""
    return {key: rows for key, rows in groups.items() if len(rows) == 1 or are_of(rows[0])}


def ratio(above: Sequence[float], below: Sequence[float]) -> tuple[float, float, float]:
    """Least, middle and largest of one over another: with one value each, the same three times."""
    return min(above) / max(below), median(above) / median(below), max(above) / min(below)


def told(values: Sequence[float]) -> str:
    """ "24100", or "24100 to 24500 of 3 submissions"."""
    if len(values) == 1:
        return f"{values[0]:.6g}"
    return f"{min(values):.6g} to {max(values):.6g} of {len(values)} submissions"
