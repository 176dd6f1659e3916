"""`gpubench compare`: do two records agree, and which of many differs?"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubench.cli import options, printing

if TYPE_CHECKING:
    from gpubench.comparing.beside import Beside
    from gpubench.comparing.comparison import Comparison
    from gpubench.comparing.index import Entry
    from gpubench.records import RunRecord

DIFFERENT = 1


def _percent(text: str) -> float:
    """ "5%" or "5", in percent."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%?", text)
    if not found or not float(found[1]):
        raise click.BadParameter(f"'{text}' is no share above zero: write it as in 5%")
    return float(found[1])


@click.command("compare")
@click.argument("names", nargs=-1, metavar="[A B]...")
@options.recorded
@click.option(
    "--within",
    type=_percent,
    metavar="PERCENT",
    help="Exit with 1 if a rate that claims are judged by differs by more.",
)
@click.option(
    "--fail-below",
    type=_percent,
    metavar="PERCENT",
    help="Exit with 1 if such a rate or a model's pass is slower by more, beyond the intervals.",
)
@options.json_flag
@click.pass_context
def command(
    ctx: click.Context,
    names: tuple[str, ...],
    results: Path,
    within: float | None,
    fail_below: float | None,
    as_json: bool,
) -> None:
    """Compare two records, case by case.

    A and B are ids of records, their files, folders of records or accelerators (the newest record
    of each); by default the two newest that were measured on one accelerator. Records of two tools
    are set side by side figure by figure. Three and more, or one folder, are shown as a fleet, with
    those that are slow.
    """
    from gpubench.comparing import beside, comparison, index

    if len(names) == 1 and not Path(names[0]).is_dir():
        raise click.UsageError("name two records or more, one folder, or none for the two newest")
    if len(names) > 2 or len(names) == 1:
        if within or fail_below:
            raise click.UsageError("--within and --fail-below compare two records")
        _fleet(_many(names, results), as_json)
        return
    found = [_one(name, results) for name in names] or [*index.newest_two(results)]
    if beside.tool(found[0]) != beside.tool(found[1]):
        _two_tools(ctx, found, within, fail_below, as_json)
        return
    compared = comparison.compare(*found)
    if as_json:
        printing.document(_document(found, compared))
    else:
        _print(found, compared)
    _exit_if_apart(ctx, compared, within, fail_below)
    if within is not None and not as_json:
        click.echo(f"\nAll rates that claims are judged by agree within {within:g} %.")


def _one(name: str, results: Path) -> RunRecord:
    """The record of that id, file, folder or accelerator."""
    from gpubench import catalogue, records
    from gpubench.comparing import index
    from gpubench.errors import RecordError, UnknownName

    path = Path(name)
    if path.is_file():
        return records.read(path)
    if path.is_dir():
        return _newest(index.entries(path) or index.entries(path.parent), str(path), path)
    # Some accelerators could be the beginning of an id as well: b200, 910c.
    if any(records.id_of(each).startswith(name) for each in records.list_records(results)):
        return records.read(records.find(results, name))
    try:
        part = catalogue.load().accelerator(name).id
    except UnknownName as error:
        raise RecordError(
            f"'{name}' is no record's id, file or folder, and as an accelerator: {error}"
        ) from None
    return _newest(index.entries(results), part, results / part)


def _newest(entries: Iterable[Entry], what: str, folder: Path) -> RunRecord:
    """The newest whole record of our own, without a limit of memory, there or of that part."""
    from gpubench import records
    from gpubench.errors import RecordError

    found = [
        entry
        for entry in entries
        if _is_own(entry) and (Path(entry.path).is_relative_to(folder) or entry.accelerator == what)
    ]
    if not found:
        raise RecordError(
            f"there is no whole record of `gpubench run` of {what}: see `gpubench list records`, "
            f"and name an imported one by its id"
        )
    return records.read(Path(found[-1].path))


def _is_own(entry: Entry) -> bool:
    """Whole, measured here and on all of the part: what two records of one machine share."""
    return entry.measured and not (entry.tool or entry.piece)


def _many(names: tuple[str, ...], results: Path) -> list[RunRecord]:
    """The records named, of folders all of them; the newest of each host.

    Raises:
        RecordError: there are several, and all are of one host.
    """
    from gpubench import records
    from gpubench.comparing import index
    from gpubench.errors import RecordError

    found = []
    for name in names:
        if Path(name).is_dir():
            inside = index.entries(Path(name)) or index.entries(Path(name).parent)
            found += [
                records.read(Path(entry.path))
                for entry in inside
                if _is_own(entry) and Path(entry.path).is_relative_to(name)
            ]
        else:
            found.append(_one(name, results))
    newest = {(r.accelerator, r.environment.get("hostname") or r.id): r for r in found}
    if len(found) > 1 and len(newest) == 1:
        raise RecordError(
            f"all {len(found)} records are of one machine, of which the newest stands for it: name "
            f"two of them, or see `gpubench history`"
        )
    return list(newest.values())


# --------------------------------------------------------------------------- two


def _heads(found: list[RunRecord]) -> dict[str, Any]:
    from gpubench.comparing import comparison

    return {
        "records": [{"id": record.id, "device": record.device} for record in found],
        "differences": [
            {"name": d.name, "first": d.first, "second": d.second}
            for d in comparison.differences(*found)
        ],
    }


def _document(found: list[RunRecord], compared: Comparison) -> dict[str, Any]:
    return {
        **_heads(found),
        "cases": [
            {
                "case": pair.name,
                "first_s": pair.first.mid,
                "second_s": pair.second.mid,
                "ratio": dict(zip(("low", "mid", "high"), pair.ratio, strict=True)),
                "outcome": pair.outcome(),
                "counts": pair.counts,
                "company": dict(zip(("first", "second"), pair.company, strict=True)),
            }
            for pair in compared.pairs
        ],
        "refused": [{"case": one.name, "why": one.why} for one in compared.refused],
    }


def _print_title(found: list[RunRecord]) -> None:
    from gpubench.invisible import shown

    one, other = found
    click.echo(shown(f"{other.id} ({other.device}) against {one.id} ({one.device})\n"))


def _print(found: list[RunRecord], compared: Comparison) -> None:
    from gpubench.comparing import comparison
    from gpubench.invisible import shown
    from gpubench.report import comparing

    _print_title(found)
    if differences := comparison.differences(*found):
        printing.table(comparing.difference_table(differences))
        click.echo()
    printing.table(comparing.comparison_table(compared.pairs), "They have no case in common.")
    if company := comparing.company(compared.pairs):
        click.echo()
        for line in company:
            click.echo(shown(f"- {line}"))
    if compared.refused:
        click.echo()
        printing.table(comparing.refused_table(compared.refused))


def _exit_if_apart(
    ctx: click.Context, compared: Comparison, within: float | None, fail_below: float | None
) -> None:
    counted = [pair for pair in compared.pairs if pair.counts]
    if within is not None:
        off = [pair.name for pair in counted if abs(pair.faster) > within / 100]
        _exit_if(ctx, f"--within {within:g}", off, "" if counted else _NOTHING)
    if fail_below is not None:
        counted += [pair for pair in compared.pairs if pair.is_pass]
        off = [pair.name for pair in counted if pair.outcome(fail_below / 100) == "slower"]
        why = "" if counted else f"{_NOTHING}, nor a pass of a model"
        if counted and not any(pair.shows_a_fall for pair in counted):
            # A job that cannot fail must not look like one that passed.
            why = (
                "no rate would show a fall: all are single figures without samples, of which noise "
                "tells nothing, or were measured the second time while others used the machine"
            )
        _exit_if(ctx, f"--fail-below {fail_below:g}", off, why)


_NOTHING = "no rate that claims are judged by, such as a bandwidth or a product's, is in both"


def _exit_if(ctx: click.Context, asked: str, off: Iterable[str], why: str) -> None:
    """Exit with 1 where cases are off, or nothing can be said for the reason given."""
    if what := ", ".join(off) or why:
        printing.aside(f"{asked}: {what}")
        ctx.exit(DIFFERENT)


# --------------------------------------------------------------------------- two tools


def _two_tools(
    ctx: click.Context,
    found: list[RunRecord],
    within: float | None,
    fail_below: float | None,
    as_json: bool,
) -> None:
    from gpubench.comparing import beside
    from gpubench.invisible import shown
    from gpubench.report import comparing

    pairs = beside.beside(*found)
    tools = beside.tool(found[0]), beside.tool(found[1])
    missing = beside.missing(*found)
    if as_json:
        figures = [_figure(pair) for pair in pairs]
        printing.document({**_heads(found), "figures": figures, "missing": missing})
    else:
        _print_title(found)
        nothing = f"{' and '.join(tools)} measured nothing alike."
        printing.table(comparing.beside_table(pairs, tools), nothing)
        if found[0].accelerator != found[1].accelerator:
            click.echo(f"- of {found[0].accelerator} and of {found[1].accelerator}")
        for line in comparing.beside_cautions(pairs, tools):
            click.echo(shown(f"- {line}"))
        for what, why in missing.items():
            click.echo(shown(f"- {what} is not in the second: {why or 'not measured'}"))
    why = "" if pairs else "the two measured nothing alike"
    lost = [f"{what}: {fault}" for what, fault in missing.items() if fault]
    told = set(missing.values())
    lost += [f"{case}: {why}" for case, why in found[1].wrong.items() if why not in told]
    if within is not None:
        off = [pair.what for pair in pairs if pair.apart(within / 100)]
        _exit_if(ctx, f"--within {within:g}", [*off, *lost], why)
    if fail_below is not None:
        off = [pair.what for pair in pairs if pair.below(fail_below / 100)]
        if not off and all(pair.company[1] for pair in pairs):
            why = why or "nothing would show a fall, since others used the machine of the second"
        _exit_if(ctx, f"--fail-below {fail_below:g}", [*off, *lost], why)


def _figure(pair: Beside) -> dict[str, Any]:
    from gpubench import benchmarks

    return {
        "figure": pair.what,
        "first": benchmarks.rate(pair.first).mid,
        "second": benchmarks.rate(pair.second).mid,
        "unit": benchmarks.unit(pair.first.case),
        "ratio": dict(zip(("low", "mid", "high"), pair.ratio, strict=True)),
    }


# --------------------------------------------------------------------------- many


def _fleet(found: list[RunRecord], as_json: bool) -> None:
    from gpubench.comparing import fleet
    from gpubench.errors import RecordError
    from gpubench.invisible import shown
    from gpubench.report import comparing

    if not found:
        raise RecordError("there is no whole record to compare: see `gpubench list records`")
    slow = fleet.slow(found)
    standings = fleet.standings(found)
    if as_json:
        printing.document(
            {
                "records": [
                    {
                        "id": each.record.id,
                        "host": fleet.name(each.record),
                        "cases": each.cases,
                        "least": each.least,
                        "median": each.median,
                        "case": each.case,
                    }
                    for each in standings
                ],
                "slow": [{"record": one.record, "fact": one.fact} for one in slow],
            }
        )
        return
    printing.table(comparing.fleet_table(standings))
    for one in slow:
        click.echo(shown(f"- {one.fact}"))
