"""`gpubench estimate`: how fast a language model runs on a part, and why another is faster."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from gpubench import units
from gpubench.cli import options, printing
from gpubench.model import Accelerator, Estimate
from gpubench.quantities import QUANTITIES, STORAGE_BITS
from gpubench.report.table import Table
from gpubench.units import Quantity

if TYPE_CHECKING:
    from gpubench.catalogue import Catalogue
    from gpubench.roofline.uplift import Effect

_QUANTITIES = {
    "throughput": "inference_throughput",
    "time to first token": "time_to_first_token",
    "time per output token": "time_per_output_token",
    "energy per token": "energy_per_token",
}
_ENERGY = "energy per token"
_NO_ENERGY = "no energy: nobody has published the board power"
_ALONE = "time to first token is that of one request alone, whatever the batch"
_EQUAL = 0.05
_SETTLED = ("precision", "kv_precision", "gpus", "pipeline")
# What both parts of a comparison must have alike.

_PRECISIONS = click.Choice(list(STORAGE_BITS), case_sensitive=False)


def _batch(text: str) -> int | str:
    """A number of sequences above zero, or max."""
    if text.lower() == "max":
        return "max"
    if not re.fullmatch(r"0*[1-9][0-9]{0,8}", text):
        raise click.BadParameter(f"'{text}' is no batch: write a number above zero, or max")
    return int(text)


@dataclass(frozen=True)
class Comparison:
    """The other part, its estimates, the ratio of throughputs, and what it comes from."""

    part: Accelerator
    estimates: Mapping[str, Estimate]
    uplift: Estimate
    why: tuple[Effect, ...]


@click.command("estimate")
@click.option("--gpu", required=True, metavar="G", help="Accelerator: id, alias or driver name.")
@click.option("--vs", metavar="G2", help="Compare with this accelerator, and say why.")
@options.model
@click.option("--isl", required=True, type=click.IntRange(1, 10**9), help="Tokens of a prompt.")
@click.option("--osl", required=True, type=click.IntRange(1, 10**9), help="Tokens of an answer.")
@click.option(
    "--precision", type=_PRECISIONS, help="Storage of weights; otherwise as published, or fp16."
)
@click.option(
    "--kv", type=_PRECISIONS, help="Storage of the KV cache; otherwise as weights, or fp16."
)
@click.option(
    "--tp",
    type=click.IntRange(1, 1024),
    help="Devices that share each layer (tensor parallel); otherwise as few as hold a copy amply.",
)
@click.option(
    "--pp",
    type=click.IntRange(1, 1024),
    help="Stages that the layers are dealt to (pipeline parallel), each of --tp devices.",
)
@click.option(
    "--batch",
    type=_batch,
    default="max",
    show_default=True,
    metavar="N|max",
    help="Sequences at once; max is as many as an engine keeps in flight.",
)
@options.engine
@options.json_flag
def command(
    gpu: str,
    vs: str | None,
    model: str,
    isl: int,
    osl: int,
    precision: str | None,
    kv: str | None,
    tp: int | None,
    pp: int | None,
    batch: int | str,
    max_sequences: int | None,
    as_json: bool,
) -> None:
    """Estimate how fast a language model runs on an accelerator.

    Every figure is an interval; its validated error and what was assumed stand below.
    """
    from gpubench import catalogue, roofline

    known = catalogue.load()
    part = known.accelerator(gpu)
    other = known.accelerator(vs) if vs else None
    served, known = options.language_model(model, known)
    if tp:
        pp = pp or 1
    gpus = tp * pp if tp and pp else None
    given = {"precision": precision, "kv_precision": kv, "gpus": gpus, "pipeline": pp}
    given["engine_sequences"] = max_sequences
    conditions: dict[str, Any] = {
        "model": served.id,
        "input_tokens": isl,
        "output_tokens": osl,
        "batch": batch,
        **{name: value for name, value in given.items() if value is not None},
    }
    versus = None
    if other:
        quantity = _QUANTITIES["throughput"]
        asked = _asked(quantity, conditions)
        uplift = roofline.estimate_ratio(quantity, part, other, asked, known)
        conditions |= {name: uplift.details["conditions"][name] for name in _SETTLED}
        versus = _comparison(part, other, uplift, conditions, known)
    found = _estimates(part, conditions, known)
    if as_json:
        printing.document(_document(part, found, versus))
    else:
        _print(part, found, versus)


def _estimates(
    part: Accelerator, conditions: Mapping[str, Any], known: Catalogue
) -> dict[str, Estimate]:
    from gpubench import roofline

    first = _QUANTITIES["throughput"]
    throughput = roofline.estimate(first, part, _asked(first, conditions), known)
    settled = {**conditions, **{n: throughput.details[n] for n in ("gpus", "pipeline")}}
    wanted = dict(_QUANTITIES)
    if "board_power" not in part.figures:
        del wanted[_ENERGY]
    others = {
        label: roofline.estimate(quantity, part, _asked(quantity, settled), known)
        for label, quantity in wanted.items()
        if quantity != first
    }
    # The first one keeps what it had to assume.
    return {"throughput": throughput, **others}


def _asked(quantity: str, conditions: Mapping[str, Any]) -> dict[str, Any]:
    """The conditions with the phase, for the quantities that have one: a server mixes both."""
    phased = "phase" in QUANTITIES[quantity].conditions
    return {**conditions, **({"phase": "serving"} if phased else {})}


def _comparison(
    part: Accelerator,
    other: Accelerator,
    uplift: Estimate,
    conditions: Mapping[str, Any],
    known: Catalogue,
) -> Comparison:
    from gpubench.roofline import uplift as explaining

    asked = _asked(_QUANTITIES["throughput"], conditions)
    why = explaining.effects(part, other, asked, known)
    return Comparison(other, _estimates(other, conditions, known), uplift, why)


# --------------------------------------------------------------------------- as JSON


def _document(
    part: Accelerator, found: Mapping[str, Estimate], versus: Comparison | None
) -> dict[str, Any]:
    content = _part_document(part, found)
    if versus:
        content["vs"] = {
            **_part_document(versus.part, versus.estimates),
            "uplift": {
                **_interval(versus.uplift),
                "error": versus.uplift.error,
                "assumptions": list(versus.uplift.assumptions),
            },
            "why": [
                {"effect": effect.name, "factor": effect.factor, "share": effect.share}
                for effect in versus.why
            ],
        }
    return content


def _part_document(part: Accelerator, found: Mapping[str, Estimate]) -> dict[str, Any]:
    throughput = found["throughput"]
    return {
        "gpu": part.id,
        "gpus": throughput.details["gpus"],
        "pipeline": throughput.details["pipeline"],
        "throughput_tok_s": _interval(throughput),
        "ttft_ms": _interval(found["time to first token"], 1e3),
        "tpot_ms": _interval(found["time per output token"], 1e3),
        "batch": throughput.details["batch"],
        "batch_limit": throughput.details["batch_limit"],
        "device_memory_b": throughput.details["device_bytes"],
        "device_memory_share": throughput.details["memory_share"],
        "binding_limit": throughput.binding_limit,
        "prefill_share": throughput.details["prefill_share"],
        "energy_j_per_token": _interval(found[_ENERGY]) if _ENERGY in found else None,
        "error": throughput.error,
        "assumptions": _assumptions(found),
    }


def _interval(found: Estimate, scale: float = 1.0) -> dict[str, float]:
    return {"low": found.low * scale, "mid": found.mid * scale, "high": found.high * scale}


def _assumptions(found: Mapping[str, Estimate]) -> list[str]:
    told = list(dict.fromkeys(note for item in found.values() for note in item.assumptions))
    return told if _ENERGY in found else [*told, _NO_ENERGY]


# --------------------------------------------------------------------------- for people


def _print(part: Accelerator, found: Mapping[str, Estimate], versus: Comparison | None) -> None:
    columns, others = [part.id], [found]
    if versus:
        columns, others = [*columns, versus.part.id], [*others, versus.estimates]
    rows = [
        [label, *(_written(each[label]) if label in each else "unknown" for each in others)]
        for label in _QUANTITIES
    ]
    throughputs = [each["throughput"] for each in others]
    rows += [
        ["sequences at once", *(f"{t.details['batch']:,}" for t in throughputs)],
        ["limited by", *(t.details["batch_limit"] for t in throughputs)],
        ["memory a device", *(_memory(t) for t in throughputs)],
        ["devices", *(_split(t) for t in throughputs)],
        ["bound by", *(t.binding_limit for t in throughputs)],
        # What prompts take depends on compute alone, and dilutes what memory gives.
        ["time in prompts", *(f"{t.details['prefill_share']:.0%}" for t in throughputs)],
    ]
    printing.table(Table(("", *columns), rows))
    if versus:
        _print_uplift(part, versus)
    click.echo("")
    for line in _errors([part, *([versus.part] if versus else [])], throughputs):
        click.echo(line)
    click.echo(f"- {_ALONE}")
    notes = [note for each in others for note in _assumptions(each)]
    if versus:
        notes = [*versus.uplift.assumptions, *notes]
    for note in dict.fromkeys(notes):
        click.echo(f"- {note}")


def _errors(parts: Sequence[Accelerator], throughputs: Sequence[Estimate]) -> list[str]:
    """The error of the throughput of each part, or of both in one line where it is the same."""
    errors = [found.error for found in throughputs]
    if len(set(errors)) == 1:
        return [f"Error of the throughput{' of both' if len(errors) > 1 else ''}: {errors[0]}"]
    return [
        f"Error of the throughput of {part.name}: {error}"
        for part, error in zip(parts, errors, strict=True)
    ]


def _memory(found: Estimate) -> str:
    """ "128 of 151 GB (85 %)": what the fullest device uses of what it reports."""
    used, share = found.details["device_bytes"], found.details["memory_share"]
    whole = units.show(Quantity(used / share, "B"))
    number = units.show(Quantity(used, "B"), whole.partition(" ")[2]).partition(" ")[0]
    return f"{number} of {whole} ({100 * share:.0f} %)"


def _split(found: Estimate) -> str:
    """ "8", or "8, in 2 stages"."""
    stages = found.details["pipeline"]
    return (
        f"{found.details['gpus']}, in {stages} stages" if stages > 1 else f"{found.details['gpus']}"
    )


def _print_uplift(part: Accelerator, versus: Comparison) -> None:
    uplift = versus.uplift
    click.echo(
        f"\n{part.name} over {versus.part.name}: {uplift.mid:.2f} x "
        f"({uplift.low:.2f} to {uplift.high:.2f}); {uplift.error}\n"
    )
    # Shares of next to nothing are large numbers that say nothing.
    shared = abs(uplift.mid - 1) > _EQUAL
    rows = [
        [e.name, f"{e.factor:.2f} x", f"{round(e.share, 2) + 0.0:.0%}" if shared else "-"]
        for e in versus.why
    ]
    printing.table(Table(("effect", "factor", "share of the ratio"), rows))


def _written(found: Estimate) -> str:
    """ "3,210 token/s (2,900 to 3,500)", all three in one unit."""
    middle = units.show(Quantity(found.mid, found.unit))
    unit = middle.partition(" ")[2] or None
    low, high = (units.show(Quantity(end, found.unit), unit) for end in (found.low, found.high))
    return f"{middle} ({units.between(low, high).removesuffix(f' {unit}')})"
