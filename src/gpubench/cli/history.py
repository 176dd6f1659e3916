"""`gpubench history`: how one machine's rates changed from record to record."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from gpubench.cli import options, printing


@click.command("history")
@click.option("--host", metavar="NAME", help="The machine, as its records name it.")
@click.option("--accelerator", metavar="G", help="What was measured: id, alias or driver name.")
@options.recorded
@options.json_flag
def command(host: str | None, accelerator: str | None, results: Path, as_json: bool) -> None:
    """Show how one machine's rates changed over time.

    By default the machine and accelerator of the newest record.
    """
    from gpubench import catalogue, records
    from gpubench.comparing import fleet, index
    from gpubench.errors import RecordError
    from gpubench.invisible import shown
    from gpubench.report import comparing, wording

    part = catalogue.load().accelerator(accelerator).id if accelerator else None
    entries = [
        entry
        for entry in index.entries(results)
        if entry.measured
        and not entry.tool
        and host in (None, entry.host)
        and part in (None, entry.accelerator)
    ]
    if not entries:
        raise RecordError(
            f"{results} holds no such record of `gpubench run`; imported ones have no history "
            f"(`gpubench list records`)"
        )
    newest = entries[-1]
    same = [e for e in entries if (e.host, e.accelerator) == (newest.host, newest.accelerator)]
    steps = fleet.history([records.read(Path(entry.path)) for entry in same])
    if as_json:
        about = {"host": newest.host, "accelerator": newest.accelerator, "records": len(same)}
        printing.document({**about, "cases": [asdict(step) for step in steps]})
        return
    click.echo(
        shown(
            f"{newest.accelerator} on {newest.host or 'a machine without a name'}, "
            f"{wording.counted(len(same), 'record')} from {same[0].created} to {newest.created}\n"
        )
    )
    printing.table(comparing.history_table(steps), "No case stands in two of them.")
