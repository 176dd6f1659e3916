"""`gpubench ask`: one figure judged, or what is known of it, without a file of claims."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubench.cli import judging, options, printing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpubench.model import Claim, Evidence

_NOTHING_KNOWN = 3
_WHOLE = "what --json prints"


@click.command("ask")
@click.argument("quantity")
@click.option(
    "--of",
    "--gpu",
    "subjects",
    multiple=True,
    metavar="NAME",
    help="Accelerator, group of them, language model or export rule; of several, each is tried.",
)
@click.option("--vs", "baselines", multiple=True, metavar="NAME", help="What it is compared with.")
@click.option(
    "--claimed",
    metavar="FIGURE",
    help='What somebody says: "4.8 TB/s", "nearly 6 x", "60 to 90 % more", "up to 30 x", "HBM3e".',
)
@click.option(
    "--with",
    "stated",
    multiple=True,
    metavar="NAME=VALUE",
    help="A condition, such as precision=fp8; of several values of one name, each is tried.",
)
@options.recorded
@options.fail_on
@options.json_flag
@click.pass_context
def command(
    ctx: click.Context,
    quantity: str,
    subjects: tuple[str, ...],
    baselines: tuple[str, ...],
    claimed: str | None,
    stated: tuple[str, ...],
    results: Path,
    fail_on: tuple[str, ...] | None,
    as_json: bool,
) -> None:
    """Judge one figure, or tell what is known of a quantity, without a file of claims.

    \b
    gpubench ask memory_bandwidth --of h200 --claimed "4.8 TB/s"
    gpubench ask inference_throughput --of h200-sxm --vs h100-sxm --with model=llama-2-70b \\
        --claimed "60 to 90 % more"
    gpubench ask training_time --of h200-sxm --with model=llama-2-70b --with gpus=1024

    QUANTITY is one of `gpubench list quantities`, which tells the conditions of each.
    """
    from gpubench import catalogue
    from gpubench.claims import asked
    from gpubench.comparing import index
    from gpubench.judging import evidence

    if fail_on and claimed is None:
        raise click.UsageError("--fail-on waits for a verdict: say what is --claimed")
    known = catalogue.load()
    given = asked.conditions(stated)
    claim = asked.claim(quantity, subjects, baselines, claimed, given, known)
    found = evidence.gather(claim, {}, known, index.latest(results))
    if claimed is None:
        _tell(claim, found, as_json)
        known_of = not all(item.missing for item in found)
    else:
        outcome = _judge(claim, found, as_json)
        known_of = outcome != "untested"
        if outcome in (fail_on or ()):
            ctx.exit(judging.FAILED)
    if not known_of:
        ctx.exit(_NOTHING_KNOWN)


def _tell(claim: Claim, found: Sequence[Evidence], as_json: bool) -> None:
    from gpubench.report import json, markdown

    if as_json:
        _print_document({"evidence": [json.evidence(item, "") for item in found]})
    else:
        printing.section(markdown.evidence_section(claim, found, _WHOLE))


def _judge(claim: Claim, found: Sequence[Evidence], as_json: bool) -> str:
    """Print the verdict; its outcome."""
    from gpubench.judging import verdict
    from gpubench.report import json, markdown

    judged = verdict.judge(claim, found)
    if as_json:
        _print_document({"verdicts": [json.verdict(judged, claim)]})
    else:
        printing.section(markdown.verdict_section(judged, claim, {}, _WHOLE))
    return judged.outcome


def _print_document(content: dict[str, Any]) -> None:
    from gpubench import records
    from gpubench.report import json

    printing.document({"schema": json.SCHEMA, "environment": records.environment(), **content})
