"""A table of text: as Markdown, where no cell is ever cut, or for a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gpubench.invisible import shown

if TYPE_CHECKING:
    import rich.table
    from rich.text import Text


_MOST_PADDED = 48
"""Wider columns are not lined up; the blanks would outweigh the text."""


@dataclass(frozen=True)
class Table:
    """Rows of cells under column names.

    A terminal folds neither the first column nor those in `keep`, and `styles` maps the first word
    of a line to its colour there. Before it folds any it does without those in `spare`, the last of
    them first.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    keep: Sequence[str] = ()
    styles: dict[str, str] = field(default_factory=dict)
    spare: Sequence[str] = ()


def markdown(table: Table) -> str:
    """The table in Markdown, its cells escaped, its columns lined up except the last."""
    return markdown_cells(table.columns, [[escape(cell) for cell in row] for row in table.rows])


def markdown_cells(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table from cells that are Markdown already."""
    lines = [list(columns), *(list(row) for row in rows)]
    widths = [
        min(_MOST_PADDED, max(3, *(len(line[i]) for line in lines))) for i in range(len(columns))
    ]
    widths[-1] = 3
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in (lines[0], rule, *lines[1:])
    )


def parsed(block: str) -> tuple[Table, dict[str, str]]:
    """The table behind what `markdown_cells` wrote, with the texts of its links alone; and where
    these lead, by address.
    """
    addresses = {url: _unescaped(text) for text, url in _LINK.findall(block)}
    plain = _LINK.sub(r"\1", block)
    columns, _, *rows = ([_unescaped(cell) for cell in _cells(line)] for line in plain.split("\n"))
    return Table(columns, rows), addresses


_LINK = re.compile(r"(?<!\\)\[((?:\\.|[^\]\\])*)\]\((\S+?)\)")


def _cells(line: str) -> list[str]:
    # In a cell a bar has a backslash before it, so that none of its own stands between blanks.
    return [cell.strip() for cell in f"{line[1:-1]} ".split(" | ")]


def _unescaped(cell: str) -> str:
    return re.sub(r"\\(.)", r"\1", cell).replace("&amp;", "&")


# What Markdown would read as its own, wherever it stands; '_' only at the edge of a word.
_SPECIAL = re.compile(r"([\\`*\[\]<>|~$])|(?<![A-Za-z0-9])(_)|(_)(?![A-Za-z0-9])")
_LEADING = re.compile(r"^(\s*)([#+=-]|\d+[.)])(?=\s|$)")


def escape(text: str) -> str:
    """Text from outside as Markdown that shows it as it is, on one line."""
    flat = " ".join(shown(text).split())
    escaped = _SPECIAL.sub(lambda match: "\\" + match[0], flat.replace("&", "&amp;"))
    return _LEADING.sub(lambda m: f"{m[1]}{m[2][:-1]}\\{m[2][-1]}", escaped)


def link(text: str, address: str) -> str:
    """A Markdown link; the text alone where the address is not one of the web."""
    if not re.match(r"^https?://[^\s]+$", address):
        return escape(text)
    safe = re.sub(r"[()<>\[\]|\\`\"']", lambda match: f"%{ord(match[0]):02X}", address)
    return f"[{escape(text)}]({safe})"


def terminal(table: Table, columns: int) -> rich.table.Table | Text:
    """The table for a terminal of so many columns, if need be without what it can spare; a list
    where it would break words or ids all the same.
    """
    for kept in range(len(table.spare), -1, -1):
        without = table.spare[kept:]
        fitting = _without(table, without)
        if _least_width(fitting, folded=not kept) <= columns:
            drawn = _drawn(fitting)
            drawn.caption = f"{', '.join(without)}: on a wider terminal" if without else None
            return drawn
    return _listed(table, columns)


def _without(table: Table, names: Sequence[str]) -> Table:
    left = [place for place, name in enumerate(table.columns) if name not in names]
    rows = [[row[place] for place in left] for row in table.rows]
    return replace(table, columns=[table.columns[place] for place in left], rows=rows)


def _least_width(table: Table, folded: bool) -> int:
    """What the table needs so that it folds between words only, or nowhere."""
    width = 1 + 3 * len(table.columns)
    for i, name in enumerate(table.columns):
        cells = [name, *(row[i] for row in table.rows)]
        whole = i == 0 or name in table.keep or not folded
        pieces = [part for cell in cells for part in (cell.split("\n") if whole else cell.split())]
        width += max((len(piece) for piece in pieces), default=0)
    return width


def _listed(table: Table, columns: int) -> Text:
    """Each row as a few lines, as many cells on each as have room; the terminal wraps what is too
    long for it.
    """
    from rich.text import Text

    names = [" ".join(name.split()) for name in table.columns[1:]]
    told = Text(overflow="fold")
    for first, *others in table.rows:
        told.append_text(Text("\n").join([*_styled(table, first), Text()]))
        used = 0
        for name, cell in zip(names, others, strict=True):
            if not cell:
                continue
            piece = Text(f"{name}: " if name else "").append_text(
                Text(" ").join(_styled(table, cell))
            )
            fits = used and used + len(_BETWEEN) + len(piece) <= columns
            told.append(_BETWEEN if fits else "\n  " if used else "  ")
            told.append_text(piece)
            used = len(piece) + (used + len(_BETWEEN) if fits else 2)
        told.append("\n" if used else "")
    told.rstrip()
    return told


_BETWEEN = " · "


def _drawn(table: Table) -> rich.table.Table:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(box=box.SIMPLE_HEAD)
    for name in table.columns:
        keep = name in (table.columns[0], *table.keep)
        drawn.add_column(name, no_wrap=keep, overflow="fold")
    for row in table.rows:
        # Text, not markup: a '[' in a name is no style.
        drawn.add_row(*(Text("\n").join(_styled(table, cell)) for cell in row))
    return drawn


def _styled(table: Table, cell: str) -> list[Text]:
    from rich.text import Text

    lines = shown(cell).split("\n")
    return [Text(line, table.styles.get(line.partition(" ")[0], "")) for line in lines]
