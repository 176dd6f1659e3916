"""Language models as they were measured: tokens, seconds and joules, beside what the model says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gpubench.catalogue import Catalogue
from gpubench.comparing.normalised import REFERENCE
from gpubench.measuring import timing
from gpubench.model import Measurement
from gpubench.records import RunRecord
from gpubench.report import wording
from gpubench.report.table import Table
from gpubench.units import Quantity, show
from gpubench.workloads import differences, figures, training
from gpubench.workloads.differences import Held
from gpubench.workloads.figures import Pass
from gpubench.workloads.shares import Shares, shares


def pass_table(record: RunRecord) -> Table:
    """Every pass: its rate, the time of a step or prompt, joules a token with and without rest."""
    reached = figures.limits(record)
    rows = [_pass_row(one, reached) for one in figures.passes(record)]
    head = ("model", "storage", "phase", "method", "tokens", "batch", "time", "rate", "±")
    return Table(
        (*head, "of the limit", "energy", "above rest", "energy an operation", "timed"), rows
    )


def _of_limit(one: Measurement, by_bytes: bool, reached: Mapping[str, float]) -> str:
    """A pass over what this record measured of its limit: reading memory, or products."""
    if by_bytes:
        whole, rate = reached.get("read"), timing.bandwidth(one).mid
    else:
        whole = reached.get(str(one.case.parameters["precision"]))
        rate = timing.throughput(one).mid
    return f"{100 * rate / whole:.1f} %" if whole else ""


def attention_table(record: RunRecord) -> Table:
    """Decode attention alone: bytes of the cache a second, and as a share of reading memory."""
    reached = figures.limits(record)
    rows = []
    for one in figures.attentions(record):
        p, rate = one.case.parameters, timing.bandwidth(one)
        rows.append(
            [
                f"{p['model']}, {p['kv_precision']} cache",
                one.case.method,
                f"{p['batch']} x {p['input_tokens'] + p['output_tokens'] // 2}",
                show(Quantity(rate.mid, "B/s")),
                wording.spread(rate),
                _of_limit(one, True, reached),
            ]
        )
    return Table(("attention", "method", "tokens", "rate", "±", "of read bandwidth"), rows)


def _pass_row(one: Pass, reached: Mapping[str, float]) -> list[str]:
    p, scaled = one.parameters, one.measurement.choices.get("scaled")
    lengths = f"{p['input_tokens']}"
    if "output_tokens" in p:
        lengths += f" + {p['output_tokens']}"
    batch = f"{one.sequences} (all that fit)" if p["batch"] == "max" else str(one.sequences)
    return [
        str(p["model"]),
        str(p["precision"]),
        one.phase,
        one.measurement.case.method,
        lengths,
        batch,
        show(Quantity(one.seconds.mid, "s")),
        show(Quantity(one.rate.mid, "token/s")),
        wording.spread(one.rate),
        _of_limit(one.measurement, one.phase == "decode", reached),
        _joules(one.joules, "J/token"),
        _joules(one.joules_above, "J/token"),
        _joules(one.joules_per_flop, "J/FLOP"),
        f"{scaled['layers']} of {scaled['of']} layers" if scaled else "whole",
    ]


def _joules(value: float | None, unit: str) -> str:
    return "" if value is None else show(Quantity(value, unit))


def capacity_table(record: RunRecord) -> Table:
    """How many sequences were found to fit, and at how many memory ran out."""
    rows = []
    for one in figures.passes(record):
        found = one.measurement.choices.get("capacity")
        if found:
            ended = found["out_of_memory_at"]
            rows.append(
                [
                    f"{one.parameters['model']} {one.parameters['precision']}",
                    str(found["tokens_each"]),
                    show(Quantity(float(found["memory"]), "B")),
                    show(Quantity(float(found["weight_bytes"]), "B")),
                    str(found["sequences"]),
                    str(ended) if ended else "never",
                ]
            )
    head = ("model", "tokens each", "memory", "weights", "sequences", "out of memory at")
    return Table(head, rows)


def model_table(record: RunRecord, catalogue: Catalogue) -> Table:
    """Measured figures beside the performance model's, and where they disagree beyond its error."""
    rows = [_held_row(one) for one in differences.held(record, catalogue)]
    head = (
        "quantity",
        "conditions",
        "measured",
        "model",
        "model over measured",
        "within its error",
    )
    return Table(head, rows)


def _held_row(one: Held) -> list[str]:
    unit = one.estimate.unit
    told = ", ".join(f"{name.replace('_', ' ')} {v}" for name, v in one.figure.conditions.items())
    low, high = (show(Quantity(v, unit)) for v in (one.estimate.low, one.estimate.high))
    return [
        one.figure.quantity.replace("_", " "),
        told,
        show(Quantity(one.figure.mid, unit)),
        f"{low} to {high}",
        f"{100 * one.ratio:.0f} %",
        "no" if one.apart else "yes",
    ]


def training_table(record: RunRecord) -> Table:
    """Training steps: operations a second, tokens a second of the whole model, memory."""
    rows = []
    for job in training.jobs(record):
        p = job.measurement.case.parameters
        rows.append(
            [
                f"{p['model']} {p['precision']}",
                f"{p['micro_batch']} x {p['sequence']}",
                str(p["recomputation"]),
                show(Quantity(job.flops.mid, "FLOP/s")),
                wording.spread(job.flops),
                show(Quantity(job.rate.mid, "token/s")),
                show(Quantity(job.memory, "B")) if job.memory else "",
                f"{p['layers']} layers",
            ]
        )
    head = ("model", "tokens", "recomputation", "operations", "±", "whole model", "memory", "timed")
    return Table(head, rows)


def share_table(measured: Iterable[RunRecord], catalogue: Catalogue) -> Table:
    """The uplift over a part with less memory: what capacity gives apart from what the rest gives.

    Of each part that was measured with all its memory and within that of the reference part.
    """
    records = tuple(measured)
    tight = [record for record in records if _as_reference(record, catalogue)]
    rows = [
        _share_row(one)
        for record in records
        for limited in tight
        for one in shares(record, limited, REFERENCE, catalogue)
    ]
    name = catalogue.accelerators[REFERENCE].name
    head = ("workload", "sequences", "capacity, measured", "the rest, estimated")
    return Table((*head, f"uplift over {name}"), rows)


def _as_reference(record: RunRecord, catalogue: Catalogue) -> bool:
    """Whether a record was made within the memory of the reference part: in GB or in GiB."""
    limit = figures.limit(record)
    capacity = catalogue.accelerators[REFERENCE].value("memory_capacity")
    return limit is not None and _NEARLY * capacity <= limit <= capacity * 1.024**3


_NEARLY = 0.98


def _share_row(one: Shares) -> list[str]:
    return [
        f"{one.model} {one.precision}, {one.input_tokens} + {one.output_tokens} tokens",
        f"{one.ample} for {one.tight}",
        *(_span(*three) for three in (one.capacity, one.rest, one.uplift)),
    ]


def _span(low: float, mid: float, high: float) -> str:
    return f"{mid:.2f} ({low:.2f} to {high:.2f})"
