"""`gpubench report`: the verdicts as a page, or in the form that another tool reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpubench.cli import judging, options, printing

if TYPE_CHECKING:
    from gpubench.catalogue import Catalogue
    from gpubench.records import RunRecord
    from gpubench.report.findings import Findings
    from gpubench.report.listed import RecordLine

PAGE = "gpubench-report"
"""A page is written to a file of this name unless another is chosen; other forms to stdout."""


def _format(name: str) -> str:
    """The name of a format; the registry is read only when one is given."""
    from gpubench.report.formats import FORMATS

    if name not in FORMATS:
        raise click.BadParameter(f"there is no format '{name}': use {', '.join(FORMATS)}")
    return name


@click.command("report")
@click.argument("names", nargs=-1, metavar="[RECORD]...")
@options.claims_file
@options.only
@options.recorded
@click.option(
    "--format",
    "form",
    type=_format,
    default="html",
    show_default=True,
    metavar="FORMAT",
    help="html, md, summary, csv, junit, annotations or claimreview.",
)
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="File to write; '-' is stdout. By default gpubench-report.html, or stdout if no page.",
)
@click.option(
    "--lang",
    type=click.Choice(["en", "zh"]),
    default="en",
    show_default=True,
    help="Language of a page.",
)
@click.option(
    "--page", default="", metavar="URL", help="Address of the page, for its ClaimReviews."
)
@options.fail_on
@click.pass_context
def command(
    ctx: click.Context,
    names: tuple[str, ...],
    claims_path: Path | None,
    only: tuple[str, ...],
    results: Path,
    form: str,
    output: str | None,
    lang: str,
    page: str,
    fail_on: tuple[str, ...] | None,
) -> None:
    """Write the verdicts as a page, or in another form.

    A RECORD is an id, a file, or a folder of records; verdicts rest on the newest measurements of
    each accelerator among them. Without one they rest on the newest under --results, as those of
    `gpubench check` do, and on none where there are none.
    """
    from gpubench import records
    from gpubench.report.formats import FORMATS, Options

    if lang != "en" and form != "html":
        raise click.UsageError(f"only the page speaks another language: leave out --lang {lang}")
    chosen = FORMATS[form]
    findings = _found(names, claims_path, only, results)
    text = chosen.render(findings, Options(lang, page))
    target = output or (f"{PAGE}{chosen.ending}" if form == "html" else judging.STDOUT)
    if target == judging.STDOUT:
        click.echo(text, nl=False)
    else:
        records.write_text(Path(target), text, "choose another file with -o")
        printing.aside(f"Report: {target}")
    judging.exit_if_failed(ctx, findings, fail_on)


def _found(
    names: tuple[str, ...], claims_path: Path | None, only: tuple[str, ...], results: Path
) -> Findings:
    """The claims judged by the records named, or by the newest ones."""
    from gpubench import catalogue, claims, records
    from gpubench.comparing import index
    from gpubench.judging import judgement
    from gpubench.report.findings import Findings, Made

    known = catalogue.load()
    file = claims.load(claims_path or claims.default_path(), known)
    if names:
        measured, listed = _read(_paths(names, results), known)
    else:
        measured, listed = index.latest(results), ()
    made = Made(records.now(), records.environment()["gpubench"], judging.devices(measured))
    judged = judgement.judge_all(file, known, only, measured)
    return Findings(made, judged, file.citable(known), known, measured, listed)


def _paths(names: Iterable[str], results: Path) -> Iterator[Path]:
    """The files of the records named; of a folder all that stand in it or one folder below."""
    from gpubench import records
    from gpubench.errors import RecordError

    for name in names:
        path = Path(name)
        if path.is_dir():
            beside = (p for ending in records.ENDINGS for p in path.glob(f"*{ending}"))
            inside = records.each_once([*beside, *records.list_records(path)])
            if not inside:
                raise RecordError(f"{path} holds no record: name a folder under results/")
            yield from inside
        else:
            yield path if path.is_file() else records.find(results, name)


def _read(
    paths: Iterable[Path], known: Catalogue
) -> tuple[tuple[RunRecord, ...], tuple[RecordLine, ...]]:
    """The newest measurements among records, as of a results folder, and a line for each record.

    One at a time: a thousand records at once would need more memory than many machines have.
    """
    from gpubench import records
    from gpubench.comparing import index
    from gpubench.report import listed

    entries, lines = [], []
    for path in paths:
        lines.append(listed.line(records.read(path), known))
        entries.append(index.read(path))
    newest = index.newest(entries)
    return newest, tuple(lines) if len(lines) > len(newest) else ()
