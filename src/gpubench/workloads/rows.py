"""Our own records as rows of a table of inference results, to hold the model against them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from gpubench.catalogue import Catalogue, PublishedTable
from gpubench.catalogue.inference import InferenceRow, TableRow
from gpubench.records import RunRecord
from gpubench.workloads import figures
from gpubench.workloads.figures import Pass, Serving

FRAMEWORK = "gpubench"


def records_as_rows(records: Iterable[RunRecord], catalogue: Catalogue) -> tuple[InferenceRow, ...]:
    """The served throughput and the first token of every workload, as published rows say them.

    A throughput comes from prefills and steps that were measured apart; at as many sequences as
    memory held it has that number for its batch. Notes tell what was scaled up from some layers.
    Runs within a limit of memory or on a slice of a card are left out, and models that the
    catalogue does not list.
    """
    found: list[InferenceRow] = []
    for record in records:
        if record.accelerator not in catalogue.accelerators or record.piece:
            continue
        for row in _rows(record):
            if row.model in catalogue.models:
                found.append(replace(row, line=len(found) + 2))  # the first line names the columns
    return tuple(found)


def as_table(records: Iterable[RunRecord], catalogue: Catalogue) -> PublishedTable:
    """The rows of records as a table."""
    rows = records_as_rows(records, catalogue)
    entries = tuple(TableRow(row.line, cells(row), row) for row in rows)
    return PublishedTable(tuple(_COLUMNS), entries)


def cells(row: InferenceRow) -> dict[str, str]:
    """A row as it would stand in a table."""
    values = (getattr(row, name) for name in _COLUMNS.values())
    return {column: _cell(value) for column, value in zip(_COLUMNS, values, strict=True)}


# The columns of catalogue/data/inference_published.md, and what they are called here.
_COLUMNS = {
    "source_id": "source_id",
    "url": "url",
    "date_or_version": "version",
    "gpu_variant": "gpu_variant",
    "num_gpus": "gpus",
    "tp": "tp",
    "pp": "pp",
    "model": "model",
    "precision_weights": "precision",
    "precision_kv": "kv_precision",
    "framework": "framework",
    "framework_version": "framework_version",
    "isl": "input_tokens",
    "osl": "output_tokens",
    "batch_or_concurrency": "batch",
    "scenario": "scenario",
    "metric": "metric",
    "value": "value",
    "per_gpu": "per_gpu",
    "notes": "notes",
}


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _rows(record: RunRecord) -> Iterator[InferenceRow]:
    for each in figures.servings(record):
        yield _row(record, each.step, "fixed_batch", "output_tok_s", each.rate.mid, _noted(each))
    for one in figures.fastest(figures.passes(record)):
        if one.phase == "prefill" and one.sequences == 1:
            notes = _scaled(one)
            yield _row(record, one, "latency", "ttft_ms", 1e3 * one.seconds.mid, notes)


def _noted(each: Serving) -> str:
    told = dict.fromkeys((_scaled(each.prefill), _scaled(each.step)))
    return "; ".join(filter(None, ("prefill and steps measured apart", *told)))


def _scaled(one: Pass) -> str:
    part = one.measurement.choices.get("scaled")
    return f"{part['layers']} of {part['of']} layers timed" if part else ""


def _row(
    record: RunRecord, one: Pass, scenario: str, metric: str, value: float, notes: str
) -> InferenceRow:
    p = one.parameters
    return InferenceRow(
        line=0,
        source_id=f"record-{record.id}",
        url="",
        version=record.created,
        accelerator=record.accelerator,
        gpu_variant=record.accelerator,
        gpus=1,
        tp=1,
        pp=1,
        model=p["model"],
        precision=p["precision"],
        kv_precision=p["kv_precision"],
        framework=FRAMEWORK,
        framework_version=record.environment.get("gpubench", ""),
        input_tokens=float(p["input_tokens"]),
        output_tokens=float(p["output_tokens"]) if "output_tokens" in p else None,
        batch=one.sequences,
        scenario=scenario,
        metric=metric,
        value=value,
        per_gpu=False,
        notes=notes,
        suspect=False,
    )
