"""`gpubench run`: measure this machine, judge every claim, and keep the record."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpubench.cli import judging, options, printing

if TYPE_CHECKING:
    from gpubench.catalogue import Catalogue
    from gpubench.running.campaign import Step
    from gpubench.running.run import RunResult


def _device(text: str) -> str:
    """auto, none, cpu, cuda or cuda:N."""
    if not re.fullmatch(r"auto|none|cpu|cuda(:[0-9]{1,4})?", text):
        raise click.BadParameter(f"'{text}' is no device: write auto, none, cpu, cuda or cuda:0")
    return text


def _bytes(text: str) -> int:
    """A size such as 80GB or 81559MiB, in bytes."""
    from gpubench import units
    from gpubench.errors import UnitError

    try:
        found = units.parse(text)
    except UnitError as error:
        raise click.BadParameter(str(error)) from None
    if found.unit != "B" or found.value < 1 or text.strip().endswith("b"):
        raise click.BadParameter(f"'{text}' is no size: write one such as 80GB or 81559MiB")
    return int(found.value)


def _duration(text: str) -> float:
    """A time such as 540s, 9m or 1.5h, in seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)", text.strip())
    if not found or not float(found[1]):
        raise click.BadParameter(f"'{text}' is no time: write one such as 540s, 9m or 1.5h")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]


@click.command("run")
@options.claims_file
@click.option(
    "--device",
    type=_device,
    default="auto",
    show_default=True,
    metavar="auto|none|cpu|cuda[:N]",
    help="Where to measure; auto is the first GPU, or none without one.",
)
@click.option(
    "--suite",
    type=click.Choice(["quick", "standard", "full"]),
    default="standard",
    show_default=True,
    help="How much to measure.",
)
@click.option(
    "--benchmark",
    "benchmarks",
    multiple=True,
    metavar="NAME",
    help="Measure only this benchmark; may be given several times.",
)
@click.option(
    "--ranks",
    type=click.IntRange(1, 1024),
    default=None,
    metavar="N",
    help="Processes that measure collectives; by default one on each GPU of the host.",
)
@click.option(
    "--memory-limit",
    type=_bytes,
    default=None,
    metavar="SIZE",
    help="Do with so much device memory, as on a smaller part: 81559MiB is an H100's.",
)
@click.option(
    "--time-limit",
    type=_duration,
    default=None,
    metavar="TIME",
    help="Begin no case that may end later than so long from now, such as 9m.",
)
@options.only
@options.results
@options.json_target
@options.fail_on
@click.option("--resume", metavar="ID", default="", help="Continue the record that was cut short.")
@click.option("--dry-run", is_flag=True, help="Say what would be measured, and how long it takes.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the data.")
@click.option("--redact", is_flag=True, help="Keep hostname and GPU UUID out of the record.")
@click.pass_context
def command(
    ctx: click.Context,
    claims_path: Path | None,
    device: str,
    suite: str,
    benchmarks: tuple[str, ...],
    ranks: int | None,
    memory_limit: int | None,
    time_limit: float | None,
    only: tuple[str, ...],
    results: Path,
    json_target: str | None,
    fail_on: tuple[str, ...] | None,
    resume: str,
    dry_run: bool,
    seed: int,
    redact: bool,
) -> None:
    """Measure this machine's GPU, judge every claim; write a record and a report.

    The record (JSON) and the report (HTML and Markdown) go to a folder of the accelerator's name
    under --results. Without a GPU nothing is measured, and the claims are judged all the same.
    """
    from gpubench import catalogue, claims
    from gpubench.running import run

    _end_cleanly_when_told_to(ctx)
    known = catalogue.load()
    path = claims_path or claims.default_path()
    request = run.Request(
        claims=path,
        results=results,
        device=device,
        suite=suite,
        only=only,
        seed=seed,
        redact=redact,
        resume=resume,
        benchmarks=benchmarks,
        ranks=ranks or 0,
        memory_limit=memory_limit or 0,
        time_limit_s=time_limit or 0.0,
    )
    if dry_run:
        _tell_plan(*run.planned(request, known))
        return
    _tell_why_nothing(device)
    result = run.execute(request, known, printing.aside, printing.ticker(), _end_at_once)
    if result is None:  # of ranks started together the first one speaks
        return
    _tell_result(ctx, result, known, json_target, fail_on)
    failures = [why for host in result.hosts for why in host.failures.values()]
    if failures:
        every = len(failures) + sum(len(host.measurements) for host in result.hosts)
        again = "" if result.others else f"; --resume {result.record.id} tries again"
        printing.aside(
            f"{len(failures)} of {every} cases could not be measured ({failures[0]}){again}"
        )
        ctx.exit(NOT_MEASURED)
    if time_limit and not any(host.measurements for host in result.hosts):
        printing.aside("nothing was measured: allow more time than one case may take")
        ctx.exit(NOT_MEASURED)


NOT_MEASURED = 3


def _tell_result(
    ctx: click.Context,
    result: RunResult,
    known: Catalogue,
    json_target: str | None,
    fail_on: tuple[str, ...] | None,
) -> None:
    """Print the verdicts and write the report beside the record; exits as `fail_on` says."""
    from gpubench import records
    from gpubench.invisible import shown
    from gpubench.report import markdown
    from gpubench.report.findings import Findings, Made

    record = result.record
    measured = tuple(host for host in result.hosts if host.measurements or host.failures)
    on = record.device if record.device != "none" else judging.NO_DEVICE
    made = Made(record.created, record.environment["gpubench"], on)
    articles = result.judgement.claims_file.citable(known)
    findings = Findings(made, result.judgement, articles, known, measured)
    report_path = result.record_path.with_suffix(".md")
    records.write_text(report_path, markdown.render(findings))
    judging.show(findings, record.environment, json_target, tables=True)
    page = judging.write_page(findings, result.record_path.with_suffix(".html"))
    others = "".join(f"\nRecord: {path}" for path in result.others)
    closing = shown(f"\nRecord: {result.record_path}{others}\nReport: {report_path}{page}")
    if json_target == judging.STDOUT:
        printing.aside(closing)
    else:
        click.echo(closing)
    judging.exit_if_failed(ctx, findings, fail_on)


def _end_at_once(why: str) -> None:
    """Leave from whatever thread, though another waits for the device and will never return."""
    with contextlib.suppress(OSError):  # nobody may be listening any more
        click.echo(f"Error: {why}", err=True)
        sys.stderr.flush()
    os._exit(NOT_MEASURED)


def _tell_plan(steps: Sequence[Step], left_out: str) -> None:
    """What a run would measure: bytes, operations and the time it takes; and what it leaves out."""
    from gpubench.records import case_key
    from gpubench.report.table import Table
    from gpubench.units import Quantity, show

    if not steps:
        click.echo(f"Nothing would be measured: {left_out or 'there is no device'}.")
        return
    rows = [
        [
            case_key(step.planned.case, "+".join(step.planned.phases)),
            show(Quantity(step.work.bytes or step.work.wire_bytes, "B")),
            show(Quantity(step.work.flops, "FLOP")),
            f"{step.least_s:.0f} to {step.most_s:.0f} s",
        ]
        for step in steps
    ]
    printing.table(Table(("case", "bytes a call", "operations a call", "time"), rows))
    least, most = sum(step.least_s for step in steps), sum(step.most_s for step in steps)
    click.echo(f"\nIn all {least:.0f} to {most:.0f} s, and what filling and checking takes.")
    if left_out:
        click.echo(f"Left out: {left_out}.")


def _tell_why_nothing(device: str) -> None:
    """Why "auto" measures nothing on a machine that has a GPU's driver: nobody chose that."""
    from gpubench.measuring import device as devices

    if device == "auto" and devices.driver_seems_present() and (why := devices.why_no_gpu()):
        printing.aside(f"Nothing is measured: {why}")


TERMINATED = 128 + signal.SIGTERM


def _end_cleanly_when_told_to(ctx: click.Context) -> None:
    """Let a job that is stopped from outside take away what it had half written."""

    def stop(*_: object) -> None:
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, stop)
    ctx.call_on_close(lambda: signal.signal(signal.SIGTERM, before))
