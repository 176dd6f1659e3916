"""`gpubench show`: one thing with all that is known of it; the name decides what it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubench import invisible, units
from gpubench.cli import judging, options, printing
from gpubench.errors import UnknownName
from gpubench.report.table import Table
from gpubench.units import Quantity

if TYPE_CHECKING:
    from gpubench.catalogue import Catalogue
    from gpubench.claims import ClaimsFile
    from gpubench.model import Accelerator, Article, ExportRule, LanguageModel


@click.command("show")
@click.argument("name", metavar="ID")
@options.claims_file
@options.recorded
def command(name: str, claims_path: Path | None, results: Path) -> None:
    """Show one thing, with its sources.

    ID names an accelerator (also by alias or driver name), a language model, an export rule, an
    article, a claim or a record (by id or file).
    """
    from gpubench import catalogue, claims

    known = catalogue.load()
    if _from_catalogue(name, known) or _record(name, results, known):
        return
    file = claims.load(claims_path or claims.default_path(), known)
    if not _entry(name, file, known, results):
        raise UnknownName("name", name, _all_names(known, file), "see `gpubench list`")


def _from_catalogue(name: str, known: Catalogue) -> bool:
    shows: list[tuple[Callable[[str], Any], Callable[[Any], None]]] = [
        (known.accelerator, lambda part: _accelerator(part, known)),
        (known.variants, _variants),
        (known.model, _model),
        (known.rule, lambda rule: _rule(rule, known)),
        (known.article, _article),
    ]
    for find, show in shows:
        try:
            found = find(name)
        except UnknownName:
            continue
        show(found)
        return True
    return False


def _all_names(known: Catalogue, file: ClaimsFile) -> Iterator[str]:
    for part in known.accelerators.values():
        yield from (part.id, *part.aliases)
    for model in known.models.values():
        yield from (model.id, *model.aliases)
    yield from (*known.groups, *known.rules, *known.articles)
    yield from (claim.id for claim in file.claims)
    yield from (entry.id for entry in file.out_of_scope)
    yield from file.articles


# --------------------------------------------------------------------------- the catalogue


def _accelerator(part: Accelerator, known: Catalogue) -> None:
    _heading(part.name, part.id)
    _facts(
        {
            "vendor": part.vendor,
            "family": part.family,
            "die": part.die,
            "also called": ", ".join(part.aliases),
            "driver reports": ", ".join(part.driver_names),
            "cannot do": ", ".join(part.unsupported),
            "notes": part.notes,
        }
    )
    rows: list[list[str]] = []
    for name, figure in part.figures.items():
        value = _value(name, figure.value)
        if name == "compute_units":
            value = f"{value} {part.unit_kind}".rstrip()
        rows.append([name, value, figure.grade, figure.source, figure.remark])
        for other in figure.conflicts:
            cells = [_value(name, other.value), other.grade, other.source, other.remark]
            rows.append([f"{name}, also", *cells])
    for name, others in part.unsettled.items():
        for other in others:
            cells = [_value(name, other.value), other.grade, other.source, other.remark]
            rows.append([f"{name}, unsettled", *cells])
    printing.table(Table(("figure", "value", "grade", "source", "remark"), rows))
    _sources((row[3] for row in rows), known)


def _variants(parts: tuple[Accelerator, ...]) -> None:
    click.echo(f"The name leaves the variant open; it may mean {len(parts)} accelerators.\n")
    names = list(dict.fromkeys(name for part in parts for name in part.figures))
    rows = [
        [
            name,
            *(
                _value(name, part.figures[name].value) if name in part.figures else ""
                for part in parts
            ),
        ]
        for name in names
    ]
    printing.table(Table(("figure", *(part.id for part in parts)), rows))


def _model(model: LanguageModel) -> None:
    _heading(model.name, model.id)
    _facts(
        {
            name.replace("_", " "): _plain(value)
            for name, value in asdict(model).items()
            if name not in ("id", "name")
        }
    )


def _plain(value: Any) -> Any:
    """Numbers in full, yes for True; what is zero, empty or no is left out."""
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, int | float):
        return f"{value:,.0f}" if value == int(value) else f"{value:,.6g}"
    return value


def _rule(rule: ExportRule, known: Catalogue) -> None:
    _heading(f"Export rule of {rule.announced}", rule.id)
    _facts(
        {
            "citation": rule.citation,
            "effective": rule.effective,
            "grade": rule.grade,
            "effect": rule.effect,
            "remark": rule.remark,
        }
    )
    lists = {
        "controlled": rule.controlled_if,
        "exception": rule.exception_if,
        "case by case": rule.case_by_case_if,
    }
    rows = [
        [status, " and ".join(_bound(name, value) for name, value in alternative.items())]
        for status, alternatives in lists.items()
        for alternative in alternatives
    ]
    if rows:
        printing.table(Table(("status", "if"), rows))
    _sources(rule.sources, known)


def _bound(name: str, value: float) -> str:
    """ "tpp at least 4,800 TPP" for ("tpp_min", 4800)."""
    what, _, side = name.rpartition("_")
    unit = {"tpp": "TPP", "density": "TPP/m2"}.get(what, "B/s")
    words = {"min": "at least", "below": "below"}
    return f"{what.replace('_', ' ')} {words.get(side, side)} {units.show(Quantity(value, unit))}"


def _article(article: Article) -> None:
    _heading(article.title, article.id)
    keys = ("author", "publisher", "date", "url", "remark")
    _facts({key: getattr(article, key) for key in keys})


# --------------------------------------------------------------------------- records and claims


def _record(name: str, results: Path, known: Catalogue) -> bool:
    from gpubench import records

    paths = records.list_records(results)
    found = [path for path in paths if name and records.id_of(path) == name]
    if not found and records.is_record(name):
        found = [Path(name)]
    if not found:
        return False
    record = records.read(found[-1])
    _heading("Record", record.id)
    _facts(
        {
            "created": record.created,
            "accelerator": record.accelerator,
            "claims file": record.claims_file
            and f"{record.claims_file}, SHA-256 {record.claims_sha256}",
            "measurements": str(len(record.measurements)),
            **record.environment,
            "file": str(found[-1]),
        }
    )
    printing.table(Table(("claim", "verdict"), list(record.verdicts.items())))
    if record.measurements or record.failures:
        click.echo()
        judging.show_measured(record, known)
    return True


def _entry(name: str, file: ClaimsFile, known: Catalogue, results: Path) -> bool:
    """A claim, judged by the newest records as `check` does, or a statement out of scope."""
    from gpubench.comparing import index
    from gpubench.judging import judgement
    from gpubench.report import markdown

    claims = {claim.id: claim for claim in file.claims}
    others = {entry.id: entry for entry in file.out_of_scope}
    if name in claims:
        verdict = judgement.judge_all(file, known, [name], index.latest(results)).verdicts[0]
        printing.section(markdown.claim_section(verdict, claims[name], file.citable(known)))
    elif name in others:
        printing.section(markdown.aside_section(others[name], file.citable(known)))
    elif name in file.articles:
        _article(file.articles[name])
    return name in claims or name in others or name in file.articles


# --------------------------------------------------------------------------- pieces


def _heading(title: str, name: str) -> None:
    click.echo(invisible.shown(f"{title} ({name})\n"))


def _facts(facts: dict[str, Any]) -> None:
    """Name and value, one a line; what is empty is left out."""
    told = {name: value for name, value in facts.items() if value and value != "0"}
    width = max((len(name) for name in told), default=0)
    for name, value in told.items():
        text = ", ".join(value) if isinstance(value, tuple) else value
        click.echo(invisible.shown(f"{name:<{width}}  {text}"))
    click.echo()


_SHOWN_IN = {
    "memory_bus_width": "bit",
    "memory_pin_rate": "Gb/s",
    "flop_per_clock_per_unit": "FLOP",
}
"""Units of the trade where the SI unit reads oddly."""


def _value(name: str, value: Quantity | str) -> str:
    if not isinstance(value, Quantity):
        return value
    unit = _SHOWN_IN.get(name) or ("1" if value.unit == "1" else None)
    return units.show(value, unit, digits=4)


def _sources(names: Iterable[str], known: Catalogue) -> None:
    rows = [
        [source.id, source.publisher, source.read, source.url]
        for name in dict.fromkeys(names)
        if (source := known.sources.get(name))
    ]
    if rows:
        click.echo()
        printing.table(Table(("source", "publisher", "read", "address"), rows))
