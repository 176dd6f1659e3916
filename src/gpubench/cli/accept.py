"""`gpubench accept`: does a machine give what its part should?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubench.cli import options, printing

if TYPE_CHECKING:
    from gpubench.catalogue import Catalogue
    from gpubench.comparing.acceptance import Check
    from gpubench.records import RunRecord

FAILED, NOTHING_MEASURED = 1, 3


def _share(ctx: click.Context, parameter: click.Parameter, value: float) -> float:
    del ctx, parameter
    if value != value:  # FloatRange lets what is no number pass
        raise click.BadParameter("nan is no share: write a number of percent")
    return value


@click.command("accept")
@click.argument("names", nargs=-1, metavar="[RECORD]...")
@click.option("--gpu", metavar="G", help="What must be reached by this part; nothing is judged.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 50),
    callback=_share,
    default=5.0,
    show_default=True,
    metavar="PERCENT",
    help="What may be lacking of the best that others sustained.",
)
@click.option(
    "--all",
    "every",
    is_flag=True,
    help="Exit with 3 if one of the figures was not measured.",
)
@options.recorded
@options.json_flag
@click.pass_context
def command(
    ctx: click.Context,
    names: tuple[str, ...],
    gpu: str | None,
    tolerance: float,
    every: bool,
    results: Path,
    as_json: bool,
) -> None:
    """Say whether a machine gives what its part should.

    RECORDs are files or ids, also of imported results; by default the newest of the machine that
    was measured last. A machine is as good as the worst of its GPUs and links. Exits with 1 where a
    figure fails or an answer was wrong, with 3 where nothing could be judged.
    """
    from gpubench import catalogue
    from gpubench.comparing import acceptance
    from gpubench.errors import CannotMeasure
    from gpubench.report import accepting

    if gpu and names:
        raise click.UsageError("--gpu judges no record: name the one or the others")
    known = catalogue.load()
    records = () if gpu else _records(names, results, known)
    _check_one(records)
    name = gpu or records[0].accelerator
    if not gpu and name not in known.accelerators:
        raise CannotMeasure(f"nothing is known of what {name} should give: no data sheet lists it")
    part = known.accelerator(name)
    checks = acceptance.accept(records, part, known, tolerance / 100)
    if as_json:
        printing.document(_document(part.id, records, checks))
    else:
        click.echo(accepting.title(part, records))
        shown = accepting.needs(checks) if gpu else accepting.table(checks)
        printing.table(shown, f"Nothing is known of what {part.name} should sustain.")
        for line in accepting.remarks(records, checks):
            click.echo(line)
    if not gpu:
        ctx.exit(_exit_code(checks, acceptance.wrong_answers(records), every))


def _records(names: tuple[str, ...], results: Path, known: Catalogue) -> tuple[RunRecord, ...]:
    """The records that were named, or the newest of the machine that was measured last.

    Raises:
        CannotMeasure: of none of the parts a data sheet is listed.
        RecordError: there is no such record.
    """
    from gpubench import records
    from gpubench.comparing import index, present
    from gpubench.errors import CannotMeasure, RecordError

    if names:
        paths = [Path(name) for name in names]
        return tuple(
            records.read(path if path.exists() else records.find(results, str(path)))
            for path in paths
        )
    whole = [entry for entry in index.entries(results) if present.tells(entry)]
    mine = [entry for entry in whole if entry.accelerator in known.accelerators]
    if whole and not mine:
        raise CannotMeasure(
            f"nothing is known of what {whole[-1].accelerator} should give: no data sheet lists it"
        )
    if not mine:
        raise RecordError(
            f"{results} holds no measurements: `gpubench run --device cuda` makes some, and "
            f"`gpubench accept --gpu G` says what must be reached"
        )
    mine.sort(key=lambda entry: entry.created)
    same = [entry for entry in mine if entry.accelerator == mine[-1].accelerator]
    hosts = [entry.host for entry in same if entry.host]
    # An imported result does not say where it was made, and serves beside any of its part.
    return present.present([entry for entry in same if entry.host in ("", *hosts[-1:])])


def _check_one(records: tuple[RunRecord, ...]) -> None:
    """Raises RecordError unless the records are of one accelerator of one host, and all of it."""
    from gpubench.errors import RecordError

    parts = {record.accelerator for record in records}
    hosts = {host for record in records if (host := record.environment.get("hostname"))}
    for several in (parts, hosts):
        if len(several) > 1:
            among = " and ".join(sorted(several))
            raise RecordError(f"the records are of {among}: name those of one")
    for record in records:
        if mixed := [c.fact for c in record.cautions if c.code == "mixed-devices"]:
            raise RecordError(f"record {record.id} is not of one part: {mixed[0]}")
        if record.piece:
            raise RecordError(
                f"record {record.id} is not of a whole card, but of a slice or within a limit of "
                f"memory: name one that has all of it"
            )


def _exit_code(checks: tuple[Check, ...], wrong: tuple[str, ...], every: bool) -> int:
    outcomes = {check.outcome for check in checks}
    if "fail" in outcomes or wrong:
        return FAILED
    if every and "not measured" in outcomes:
        return NOTHING_MEASURED
    return 0 if outcomes & {"pass", "unsure"} else NOTHING_MEASURED


def _document(
    part: str, records: tuple[RunRecord, ...], checks: tuple[Check, ...]
) -> dict[str, Any]:
    return {
        "accelerator": part,
        "records": [record.id for record in records],
        "cautions": [asdict(caution) for record in records for caution in record.cautions],
        "checks": [
            {
                "figure": check.figure,
                "outcome": check.outcome,
                "least": check.least.rate,
                "because": check.least.because,
                "rate": check.rate and {k: getattr(check.rate, k) for k in ("low", "mid", "high")},
                "case": check.found and asdict(check.found.case),
                "worst_of": check.worst_of,
                "cautions": check.cautions,
            }
            for check in checks
        ],
        "failures": {case: why for record in records for case, why in record.failures.items()},
    }
