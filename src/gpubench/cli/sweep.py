"""`gpubench sweep`: under which conditions one part is how much faster than another."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubench.cli import options, printing
from gpubench.quantities import STORAGE_BITS

if TYPE_CHECKING:
    from gpubench.model import Accelerator, LanguageModel
    from gpubench.roofline.sweep import Sweep

_MOST = 10_000_000
_LENGTHS = "128,256,512,1024,2048,4096,8192"
_RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})(?:/(\d{1,9}))?$")


def _numbers(text: str, words: dict[str, int]) -> tuple[int, ...]:
    """ "1,8,64", "64..4096/64" (steps of 64), or a mixture. Raises BadParameter."""
    found: dict[int, None] = {}
    for word in text.split(","):
        part = word.strip()
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
            known = f", {' or '.join(words)}" if words else ""
            raise click.BadParameter(
                f"'{part}' is no number above zero{known}: write a list as in 1,8,64..256/64"
            )
    return tuple(found)


def _list_of(words: dict[str, int] | None = None) -> Callable[[str], tuple[int, ...]]:
    return lambda text: _numbers(text, words or {})


def _precisions(text: str) -> tuple[str, ...]:
    from gpubench.errors import near_matches

    found = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    for word in found:
        if word not in STORAGE_BITS:
            near = near_matches(word, STORAGE_BITS)
            offer = (
                f"did you mean {' or '.join(near)}?" if near else f"use {', '.join(STORAGE_BITS)}"
            )
            raise click.BadParameter(f"unknown precision '{word}': {offer}")
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
    default=_LENGTHS,
    show_default=True,
    help="Tokens of a prompt.",
)
@click.option(
    "--osl",
    type=_list_of(),
    metavar="LIST",
    default=_LENGTHS,
    show_default=True,
    help="Tokens of an answer.",
)
@click.option(
    "--batch",
    type=_list_of({"max": 0}),
    metavar="LIST",
    default="1,8,64,max",
    show_default=True,
    help="Sequences at once; max is as many as fit on each part.",
)
@click.option(
    "--precision",
    type=_precisions,
    metavar="LIST",
    default="fp16,fp8",
    show_default=True,
    help="Storage of weights; the cache is as estimate takes it.",
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
    help="Also write every combination.",
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
    isl: tuple[int, ...],
    osl: tuple[int, ...],
    batch: tuple[int, ...],
    precision: tuple[str, ...],
    tp: tuple[int, ...],
    pp: tuple[int, ...],
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
    from gpubench.roofline import sweep as sweeping

    known = catalogue.load()
    parts = known.accelerator(gpu), known.accelerator(vs)
    found_model, _ = options.language_model(model, known)
    axes = sweeping.Axes(batch, isl, osl, precision, tp, pp)
    if axes.size > _MOST:
        raise CannotEstimate(
            f"{axes.size:,} combinations are more than {_MOST:,}: take fewer, or larger steps"
        )
    try:
        found = sweeping.sweep(*parts, found_model, axes)
    except ModuleNotFoundError:
        raise CannotEstimate("a sweep needs the package numpy: pip install numpy") from None
    if csv_path:
        _write_csv(csv_path, found)
    if heat_map:
        _draw(heat_map, found, parts, found_model, between)
    if as_json:
        printing.document(_document(found, parts, found_model, between))
    else:
        _print(found, parts, found_model, between)


# --------------------------------------------------------------------------- what comes out


def _write_csv(path: Path, found: Sweep) -> None:
    from gpubench import records

    lines = ["precision,tp,pp,batch,isl,osl,uplift"]
    nothing = float("nan")
    for plane in found.planes:
        start = f"{plane.precision},{plane.tensor},{plane.pipeline}"
        values = iter([] if plane.uplift is None else plane.uplift.ravel().tolist())
        for batch in found.axes.batches:
            for prompt in found.axes.inputs:
                for answer in found.axes.outputs:
                    value = next(values, nothing)
                    cell = f"{value:.5g}" if value == value else ""
                    lines.append(f"{start},{batch or 'max'},{prompt},{answer},{cell}")
    records.write_text(path, "\n".join(lines) + "\n", "write to another file")


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
    title = f"{model.name}: {parts[0].name} over {parts[1].name}"
    charts.write(uplift.heat_map(found, plane, title, between), path)
    if sum(plane.uplift is not None for plane in found.planes) > 1:
        printing.aside(f"The chart shows {plane.where}; name others alone.")


def _share(values: Any, between: tuple[float, float] | None) -> float | None:
    if between is None or not values.size:
        return None
    return float(((values >= between[0]) & (values <= between[1])).mean())


def _groups(found: Sweep, between: tuple[float, float] | None) -> list[dict[str, Any]]:
    """Least, middle and largest uplift, and the share inside, by every value of every axis."""
    import numpy as np

    axes = found.axes
    along: list[tuple[str, Sequence[Any], Callable[[Any], list[Any]]]] = [
        ("precision", axes.precisions, lambda v: [p for p in _full(found) if p.precision == v]),
        ("tp", axes.tensors, lambda v: [p for p in _full(found) if p.tensor == v]),
        ("pp", axes.pipelines, lambda v: [p for p in _full(found) if p.pipeline == v]),
    ]
    rows = [("all", "", found.values)]
    for name, values, planes in along:
        for value in values:
            kept = [plane.uplift.ravel() for plane in planes(value)]
            rows.append((name, str(value), np.concatenate(kept) if kept else np.empty(0)))
    for axis, (name, values) in enumerate(
        (("batch", axes.batches), ("isl", axes.inputs), ("osl", axes.outputs))
    ):
        for place in _some(len(values)):
            kept = [plane.uplift.take(place, axis).ravel() for plane in _full(found)]
            word = "max" if name == "batch" and not values[place] else str(values[place])
            rows.append((name, word, np.concatenate(kept)))
    return [{"by": by, "which": which, **_summary(values, between)} for by, which, values in rows]


def _full(found: Sweep) -> list[Any]:
    """The planes that have an uplift."""
    return [plane for plane in found.planes if plane.uplift is not None]


def _some(count: int, most: int = 12) -> list[int]:
    """Places along an axis: all of a short one, evenly spread ones of a long one."""
    if count <= most:
        return list(range(count))
    return [round(n * (count - 1) / (most - 1)) for n in range(most)]


def _summary(values: Any, between: tuple[float, float] | None) -> dict[str, Any]:
    import numpy as np

    kept = values[~np.isnan(values)]
    if not kept.size:
        return {"count": 0, "low": None, "median": None, "high": None, "inside": None}
    return {
        "count": int(kept.size),
        "low": float(kept.min()),
        "median": float(np.median(kept)),
        "high": float(kept.max()),
        "inside": _share(kept, between),
    }


def _document(
    found: Sweep,
    parts: tuple[Accelerator, Accelerator],
    model: LanguageModel,
    between: tuple[float, float] | None,
) -> dict[str, Any]:
    return {
        "gpu": parts[0].id,
        "vs": parts[1].id,
        "model": model.id,
        "combinations": found.axes.size,
        "between": list(between) if between else None,
        "groups": _groups(found, between),
        "left_out": [
            {
                "precision": plane.precision,
                "tp": plane.tensor,
                "pp": plane.pipeline,
                "reason": plane.problem,
            }
            for plane in found.planes
            if plane.problem
        ],
    }


def _print(
    found: Sweep,
    parts: tuple[Accelerator, Accelerator],
    model: LanguageModel,
    between: tuple[float, float] | None,
) -> None:
    from gpubench.report.table import Table

    click.echo(
        f"{model.name}: estimated throughput of {parts[0].name} over {parts[1].name}, "
        f"{found.values.size:,} of {found.axes.size:,} combinations fit on both\n"
    )
    columns = ["by", "which", "combinations", "least", "median", "most"]
    rows = []
    for group in _groups(found, between):
        cells = [group["by"], group["which"], f"{group['count']:,}"]
        cells += ["" if group[n] is None else f"{group[n]:.2f}" for n in ("low", "median", "high")]
        if between:
            cells.append("" if group["inside"] is None else f"{group['inside']:.0%}")
        rows.append(cells)
    inside = [f"{between[0]:g} to {between[1]:g}"] if between else []
    printing.table(Table((*columns, *inside), rows))
    for plane in found.planes:
        if plane.problem:
            click.echo(f"- {plane.where}: {plane.problem}")
