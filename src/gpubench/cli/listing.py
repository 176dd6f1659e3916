"""`gpubench list`: what is known, one table a kind of thing."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gpubench import units
from gpubench.cli import options, printing
from gpubench.report.table import Table
from gpubench.units import Quantity


def _accelerators(**_: Any) -> Table:
    from gpubench import catalogue

    known = catalogue.load()
    figures = ("memory_capacity", "memory_bandwidth", "peak_fp16", "board_power", "release_date")
    rows = [
        [part.id, *(_figure(part.figures.get(name)) for name in figures)]
        for part in known.accelerators.values()
    ]
    head = ("id", "memory", "bandwidth", "fp16 dense", "power", "released")
    return Table(head, rows, spare=("power", "released"))


def _figure(figure: Any) -> str:
    if figure is None:
        return ""
    return units.show(figure.value) if isinstance(figure.value, Quantity) else str(figure.value)


def _parameters(count: float) -> str:
    return units.show(Quantity(count, "parameter")) if count else "unknown"


def _models(**_: Any) -> Table:
    from gpubench import catalogue

    rows = [
        [
            model.id,
            model.name,
            _parameters(model.parameters),
            _parameters(model.active_parameters),
            str(model.layers or "unknown"),
        ]
        for model in catalogue.load().models.values()
    ]
    return Table(("id", "name", "parameters", "active", "layers"), rows)


def _rules(**_: Any) -> Table:
    from gpubench import catalogue

    rows = [
        [rule.id, rule.announced, rule.citation, rule.effect]
        for rule in catalogue.load().rules.values()
    ]
    return Table(("id", "announced", "citation", "effect"), rows)


def _articles(claims_path: Path | None, **_: Any) -> Table:
    from gpubench import catalogue, claims

    known = catalogue.load()
    file = claims.load(claims_path or claims.default_path(), known)
    rows = [
        [article.id, article.publisher, article.date, article.title]
        for article in file.citable(known).values()
    ]
    return Table(("id", "publisher", "date", "title"), rows)


def _quantities(**_: Any) -> Table:
    from gpubench.quantities import QUANTITIES

    rows = [
        [kind.name, _unit_name(kind.unit), ", ".join(kind.conditions), kind.description]
        for kind in QUANTITIES.values()
    ]
    return Table(("name", "unit", "conditions", "meaning"), rows)


def _conditions(**_: Any) -> Table:
    from gpubench.quantities import CONDITIONS

    rows = []
    for kind in CONDITIONS.values():
        words = [*kind.choices, *(["a whole number"] if kind.integer else [])]
        words += [f"a quantity such as {units.example(kind.unit)}"] if kind.unit else []
        words += [f"a {kind.names}"] if kind.names else []
        rows.append([kind.name, " or ".join(words), kind.description])
    return Table(("name", "takes", "meaning"), rows)


def _unit_name(unit: str) -> str:
    return "a number" if unit == "1" else unit


def _benchmarks(**_: Any) -> Table:
    """The files of the benchmarks folder, by the first line of each."""
    folder = Path(__file__).parents[1] / "benchmarks"
    rows = [
        [path.stem, (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").split("\n")[0]]
        for path in sorted(folder.glob("[!_]*.py"))
    ]
    return Table(("name", "what it measures"), rows)


def _claims(claims_path: Path | None, **_: Any) -> Table:
    from gpubench import catalogue, claims
    from gpubench.report import wording

    file = claims.load(claims_path or claims.default_path(), catalogue.load())
    rows = [
        [claim.id, claim.category, wording.claimed(claim.claimed), claim.statement]
        for claim in file.claims
    ]
    rows += [
        [entry.id, "out of scope", wording.entry_claimed(entry), entry.statement]
        for entry in file.out_of_scope
    ]
    return Table(("id", "category", "claimed", "statement"), rows)


def _records(results: Path, **_: Any) -> Table:
    from gpubench.comparing import index

    rows = []
    for entry in index.entries(results):
        if entry.problem:
            printing.aside(f"Warning: {entry.problem}")
            continue
        state = "whole" if entry.complete else "partial"
        state += f", {entry.failures} failed" if entry.failures else ""
        source = f"imported from {entry.tool}" if entry.tool else entry.suite
        cells = [entry.id, entry.created, entry.accelerator, entry.host, source]
        rows.append([*cells, f"{entry.cases:,}", state, entry.path])
    head = ("id", "created", "accelerator", "host", "suite", "cases", "state", "file")
    return Table(head, rows, keep=("file",))


KINDS: dict[str, Callable[..., Table]] = {
    "accelerators": _accelerators,
    "models": _models,
    "quantities": _quantities,
    "conditions": _conditions,
    "benchmarks": _benchmarks,
    "claims": _claims,
    "records": _records,
    "rules": _rules,
    "articles": _articles,
}


@click.command("list")
@click.argument("kind", type=click.Choice(list(KINDS)), metavar="KIND")
@options.claims_file
@options.recorded
def command(kind: str, claims_path: Path | None, results: Path) -> None:
    """List what gpubench knows.

    KIND is accelerators, models, quantities, conditions, benchmarks, claims, records, rules or
    articles. --claims matters to claims and articles, --results to records.
    """
    found = KINDS[kind](claims_path=claims_path, results=results)
    printing.table(found, empty=f"There are no {kind} yet.")
