"""`gpubench sweep`: under which conditions one part is how much faster than another."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpubench.cli import options, printing
from gpubench.quantities import STORAGE_BITS

if TYPE_CHECKING:
    from gpubench.model import Accelerator, LanguageModel
    from gpubench.roofline.sweep import Sweep

_MOST = 10_000_000
_LENGTHS = (128, 256, 512, 1024, 2048, 4096, 8192)
_PRECISIONS = ("fp16", "fp8")
_USUAL = f"{_LENGTHS[0]} to {_LENGTHS[-1]}, at most half of what the model is published for"
_RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})(?:/(\d{1,9}))?$")


def _numbers(text: str, words: dict[str, int]) -> tuple[int, ...]:
    """ "1,8,64", "64..4096/64" (steps of 64), or a mixture. Raises BadParameter."""
    found: dict[int, None] = {}
    for word in text.split(","):
        part = word.strip().lower()
        if part in words:
            found[words[part]] = None
        elif inside := _RANGE.match(part):
            low, high, step = int(inside[1]), int(inside[2]), int(inside[3] or 1)
            if not 0 < low <= high or step < 1 or (high - low) // step > _MOST:
                raise click.BadParameter(f"'{part}' is no range: write it as in 64..4096/64")
            found |= dict.fromkeys(range(low, high + 1, step))
        elif part.isdecimal() and len(part) < 10 and int(part):
            found[int(part)] = None
        else:
            known = f"neither a number above zero nor {' or '.join(words)}"
            known = known if words else "no number above zero"
            raise click.BadParameter(f"'{part}' is {known}: write a list as in 1,8,64..256/64")
    return tuple(found)


def _list_of(words: dict[str, int] | None = None) -> Callable[[str], tuple[int, ...]]:
    return lambda text: _numbers(text, words or {})


def _precisions(text: str) -> tuple[str, ...]:
    from gpubench.errors import offer

    found = tuple(dict.fromkeys(word.strip().lower() for word in text.split(",")))
    for word in found:
        if word not in STORAGE_BITS:
            tip = offer(word, STORAGE_BITS, f"use {', '.join(STORAGE_BITS)}")
            raise click.BadParameter(f"unknown precision '{word}': {tip}")
    return found


def _between(text: str) -> tuple[float, float]:
    """ "1.6:1.9" """
    found = re.fullmatch(r"(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)", text)
    if not found or float(found[1]) > float(found[2]):
        raise click.BadParameter(f"'{text}' is no interval: write it as in 1.6:1.9")
    return float(found[1]), float(found[2])


@click.command("sweep")
@click.option("--gpu", required=True, metavar="G", help="Accelerator: id, alias or driver name.")
@click.option("--vs", required=True, metavar="G2", help="The accelerator to compare it with.")
@options.model
@click.option(
    "--isl",
    type=_list_of(),
    metavar="LIST",
    help=f"Tokens of a prompt; otherwise {_USUAL}.",
)
@click.option(
    "--osl",
    type=_list_of(),
    metavar="LIST",
    help=f"Tokens of an answer; otherwise {_USUAL}.",
)
@click.option(
    "--batch",
    type=_list_of({"max": 0}),
    metavar="LIST",
    default="1,8,64,max",
    show_default=True,
    help="Sequences at once; max is as many as an engine keeps in flight on each part.",
)
@click.option(
    "--precision",
    type=_precisions,
    metavar="LIST",
    help="Storage of weights, otherwise fp16 (or bf16) and fp8, or as the model is published.",
)
@click.option(
    "--tp",
    type=_list_of(),
    metavar="LIST",
    default="1,2,4,8",
    show_default=True,
    help="Devices that share each layer of a copy (tensor parallel).",
)
@click.option(
    "--pp",
    type=_list_of(),
    metavar="LIST",
    default="1",
    show_default=True,
    help="Stages that the layers are dealt to (pipeline parallel).",
)
@options.engine
@click.option(
    "--between",
    type=_between,
    metavar="LOW:HIGH",
    help="Say where the uplift lies in this interval, as in 1.6:1.9.",
)
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write every combination; '-' prints these alone.",
)
@click.option(
    "--heat-map",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also draw the uplift over both lengths (SVG or PNG).",
)
@options.json_flag
def command(
    gpu: str,
    vs: str,
    model: str,
    isl: tuple[int, ...] | None,
    osl: tuple[int, ...] | None,
    batch: tuple[int, ...],
    precision: tuple[str, ...] | None,
    tp: tuple[int, ...],
    pp: tuple[int, ...],
    max_sequences: int | None,
    between: tuple[float, float] | None,
    csv_path: Path | None,
    heat_map: Path | None,
    as_json: bool,
) -> None:
    """Estimate one accelerator over another under many conditions.

    What is estimated is the throughput of equal requests.

    Lists are written 1,8,64 or 64..4096/64, which is 64 to 4096 in steps of 64. A million
    combinations take about a second.
    """
    from gpubench import catalogue
    from gpubench.errors import CannotEstimate
    from gpubench.report import swept
    from gpubench.roofline import sweep as sweeping
    from gpubench.roofline.conditions import usual_precision

    known = catalogue.load()
    parts = known.accelerator(gpu), known.accelerator(vs)
    found_model, _ = options.language_model(model, known)
    usual = _usual_lengths(found_model)
    stored = precision or tuple(
        dict.fromkeys(usual_precision(name, parts, found_model) for name in _PRECISIONS)
    )
    axes = sweeping.Axes(batch, isl or usual, osl or usual, stored, tp, pp)
    if axes.size > _MOST:
        raise CannotEstimate(
            f"{axes.size:,} combinations are more than {_MOST:,}: take fewer, or larger steps"
        )
    try:
        found = sweeping.sweep(*parts, found_model, axes, built_for=max_sequences or 0)
    except ModuleNotFoundError:
        raise CannotEstimate("a sweep needs the package numpy: pip install numpy") from None
    if csv_path:
        _write_csv(csv_path, found)
    if heat_map:
        _draw(heat_map, found, parts, found_model, between)
    if as_json:
        printing.document(swept.document(found, parts, found_model, between))
    elif str(csv_path) != "-":
        _print(found, parts, found_model, between)


def _usual_lengths(model: LanguageModel) -> tuple[int, ...]:
    """Those of `_LENGTHS` of which two, prompt and answer, do not exceed the model's context."""
    most = model.context / 2 if model.context else float("inf")
    return tuple(n for n in _LENGTHS if n <= most) or _LENGTHS[:1]


# --------------------------------------------------------------------------- what comes out


def _write_csv(path: Path, found: Sweep) -> None:
    from gpubench import records
    from gpubench.report import swept

    text = "\n".join(swept.csv_lines(found)) + "\n"
    if str(path) == "-":
        click.echo(text, nl=False)
        return
    records.write_text(path, text, "write to another file")


def _draw(
    path: Path,
    found: Sweep,
    parts: tuple[Accelerator, Accelerator],
    model: LanguageModel,
    between: tuple[float, float] | None,
) -> None:
    from gpubench.report import charts
    from gpubench.report.charts import uplift

    plane = next(plane for plane in found.planes if plane.uplift is not None)
    from gpubench.invisible import shown

    title = f"{shown(model.name)}: {parts[0].name} over {parts[1].name}"
    charts.write(uplift.heat_map(found, plane, title, between), path)
    if sum(plane.uplift is not None for plane in found.planes) > 1:
        printing.aside(f"The chart shows {plane.where}; name others alone.")


def _print(
    found: Sweep,
    parts: tuple[Accelerator, Accelerator],
    model: LanguageModel,
    between: tuple[float, float] | None,
) -> None:
    from gpubench.invisible import shown
    from gpubench.report import swept

    click.echo(
        f"{shown(model.name)}: estimated throughput of {parts[0].name} over {parts[1].name}, "
        f"{found.values.size:,} of {found.axes.size:,} combinations fit on both\n"
    )
    printing.table(swept.table(found, between))
    click.echo(f"\n{swept.PLACES}\n" if between else "")
    printing.table(swept.error_table(found))
    if between:
        _print_where(found, between)
    problems = [f"{plane.where}: {plane.problem}" for plane in found.planes if plane.problem]
    notes = [*swept.assumptions(found, model), *problems]
    if notes:
        click.echo("\n" + "\n".join(f"- {note}" for note in notes))


def _print_where(found: Sweep, between: tuple[float, float]) -> None:
    from gpubench.report import subgroups
    from gpubench.roofline.subgroups import explain

    why = explain(found, between)
    click.echo("\n" + subgroups.introduced(why, found.values.size, between))
    if why.rules:
        click.echo()
        printing.table(subgroups.table(why))
        click.echo("\n" + subgroups.concluded(why))
