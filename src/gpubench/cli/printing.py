"""Printing: a drawn table on a terminal, Markdown everywhere else."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from itertools import groupby
from typing import Any

import click

from gpubench.report.table import Table

_PIPED_COLUMNS = 1000


def columns() -> int:
    """The terminal's width; off a terminal there is room for everything."""
    return shutil.get_terminal_size().columns if _on_terminal() else _PIPED_COLUMNS


def _on_terminal() -> bool:
    # Python has no stdout at all when it was started with a closed one.
    return sys.stdout is not None and sys.stdout.isatty()


def table(shown: Table, empty: str = "Nothing is listed.") -> None:
    """Print a table, or `empty` where it has no rows."""
    from gpubench.report import table as drawing

    if not shown.rows:
        click.echo(empty)
    elif _on_terminal():
        # rich is slow to import, and only a terminal needs it.
        from rich.console import Console

        Console(highlight=False).print(drawing.terminal(shown, columns()))
    else:
        click.echo(drawing.markdown(shown))


def section(text: str) -> None:
    """Print a section that is written in Markdown: laid out on a terminal, as it is elsewhere."""
    if not _on_terminal():
        click.echo(text)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    from gpubench.report.table import parsed

    console = Console(highlight=False)
    for is_table, blocks in groupby(text.split("\n\n"), lambda block: block.startswith("| ")):
        if not is_table:
            console.print(Markdown("\n\n".join(blocks), hyperlinks=False))
            continue
        for block in blocks:
            told, addresses = parsed(block)
            table(told)
            for address, name in addresses.items():
                click.echo(f"{name}: {address}")
            click.echo()


def document(content: Any) -> None:
    """Print one JSON document."""
    from gpubench.report import json

    click.echo(json.text(content), nl=False)


def ticker() -> Callable[[str], None] | None:
    """Progress in one line of stderr that is written over; nothing off a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        return None

    def tick(text: str) -> None:
        click.echo(f"\r\x1b[2K{text}\r", err=True, nl=False)

    return tick


def aside(message: str) -> None:
    """A remark on stderr, so that results can be piped."""
    click.echo(message, err=True)
