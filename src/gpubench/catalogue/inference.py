"""Published inference results, one row a figure, and the pairs that differ only in the accelerator.

`data/inference_published.md` explains the columns and where the rows come from.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpubench.catalogue.cells import count, number, yes
from gpubench.errors import CatalogueError, UnknownName

UNRESOLVED: dict[str, str] = {
    "GH200 (listed as 'GH200 120GB')": "the source does not say which GH200; not in the catalogue",
    "GH200 144GB": "not in the catalogue: no sourced figures at hand",
    "GH200 96GB": "not in the catalogue: no sourced figures at hand",
    "H100 80GB (form factor not stated)": "SXM and PCIe parts both have 80 GB",
    "H800 80GB (form factor not stated)": "SXM and PCIe parts both have 80 GB",
    "H20 (memory size not stated)": "sold with 96 GB and with 141 GB",
    "H200 SXM 141GB CTS (custom thermal, up to 1000 W)": "runs above the 700 W of the listed part",
    "Ascend 910B NPU (64GB class; sub-variant not stated)": "B1, B2 and B3 all have 64 GB",
}
"""Variants of the table that name no single accelerator of the catalogue, each with its reason."""

_STORAGE = {"mxfp4": "fp4"}


@dataclass(frozen=True, slots=True)
class InferenceRow:
    """One published figure. `value` is in the unit `metric` names; None means not stated, and a
    `value` of 0 that the row holds no figure.

    `accelerator` is an id of the catalogue, or empty for a variant listed in UNRESOLVED; `batch`
    None means as many sequences as fit; token counts may be means and then have a fraction.
    """

    line: int
    source_id: str
    url: str
    version: str
    accelerator: str
    gpu_variant: str
    gpus: int
    tp: int | None
    pp: int | None
    model: str
    precision: str
    kv_precision: str
    framework: str
    framework_version: str
    input_tokens: float | None
    output_tokens: float | None
    batch: int | None
    scenario: str
    metric: str
    value: float
    per_gpu: bool
    notes: str
    suspect: bool

    @property
    def system_value(self) -> float:
        """The value of the whole system: a throughput given a device is multiplied up."""
        scales = self.per_gpu and self.metric.endswith("tok_s")
        return self.value * self.gpus if scales else self.value

    @property
    def key(self) -> tuple[Any, ...]:
        """What two rows must share to be a pair."""
        return (
            self.source_id,
            self.model,
            self.gpus,
            self.tp,
            self.pp,
            self.precision,
            self.input_tokens,
            self.output_tokens,
            self.batch,
            self.scenario,
            self.metric,
        )


@dataclass(frozen=True, slots=True)
class MatchedPair:
    """Two rows that differ only in the accelerator."""

    subject: InferenceRow
    baseline: InferenceRow

    @property
    def ratio(self) -> float:
        """Subject's figure over baseline's."""
        return self.subject.system_value / self.baseline.system_value


REQUIRED = (
    *("gpu_variant", "num_gpus", "tp", "model", "precision_weights", "isl", "osl"),
    *("batch_or_concurrency", "scenario", "metric", "per_gpu"),
)
"""Columns without which a row says too little. The others may be missing; a row without a value is
predicted and scored nowhere."""


@dataclass(frozen=True)
class TableRow:
    """A line of a table: its cells as they stand, and what they say, or why they say nothing."""

    line: int
    cells: Mapping[str, str]
    row: InferenceRow | None
    problem: str = ""


@dataclass(frozen=True)
class PublishedTable:
    """A table of inference results: its columns in order, and its rows."""

    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]


Find = Callable[[str], str]
"""Gives the id of a name, or raises UnknownName."""


def read_table(path: Path, accelerator: Find, model: Find) -> PublishedTable:
    """A table of anybody's; what is wrong with a row stands beside it.

    Raises:
        CatalogueError: the file cannot be read, or is no CSV table with a line of column names.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _table(path, csv.DictReader(file), accelerator, model)
    except OSError as error:
        raise CatalogueError(f"cannot read {path}: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise CatalogueError(f"{path.name}: this is no CSV table in UTF-8: {error}") from None


def _table(
    path: Path, reader: csv.DictReader[str], accelerator: Find, model: Find
) -> PublishedTable:
    columns = tuple(reader.fieldnames or ())
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice or not set(columns) & set(REQUIRED):
        wrong = f"two columns are called '{twice[0]}'" if twice else "no column has a known name"
        raise CatalogueError(f"{path.name}: {wrong}; needed are {', '.join(REQUIRED)}")
    missing = [name for name in REQUIRED if name not in columns]
    rows = []
    for raw in reader:
        cells = {name: raw.get(name) or "" for name in columns}
        row, problem = None, ""
        if missing:
            problem = f"the table has no column {', '.join(missing)}"
        elif None in raw or None in raw.values():
            problem = f"the row does not have {len(columns)} cells, as the column names have"
        else:
            try:
                row = _row(reader.line_num, cells, accelerator, model)
            except (UnknownName, ValueError) as error:
                problem = str(error)
        rows.append(TableRow(reader.line_num, cells, row, problem))
    return PublishedTable(columns, tuple(rows))


def read_rows(path: Path, accelerator: Find, model: Find) -> tuple[InferenceRow, ...]:
    """The rows of a table in which every row must be right and have a value.

    Raises:
        CatalogueError: a row names an unknown variant or model, or a number cannot be read.
    """
    found = []
    for entry in read_table(path, accelerator, model).rows:
        if entry.row is None or not entry.row.value:
            why = entry.problem or "it has no value"
            raise CatalogueError(f"{path.name}:{entry.line}: cannot read this row: {why}")
        found.append(entry.row)
    return tuple(found)


def matched_pairs(
    rows: Sequence[InferenceRow], subject: str, baseline: str
) -> tuple[MatchedPair, ...]:
    """The pairs of two accelerator ids, in the order of the subject's rows.

    A key that several rows of one accelerator share says nothing about which belong together
    (request rates, submitters), so it gives no pair; neither do suspect and power-capped rows.
    """
    left, right = _by_key(rows, subject), _by_key(rows, baseline)
    return tuple(
        MatchedPair(found[0], right[key][0])
        for key, found in left.items()
        if len(found) == 1 and len(right.get(key, ())) == 1
    )


def _by_key(
    rows: Sequence[InferenceRow], accelerator: str
) -> dict[tuple[Any, ...], list[InferenceRow]]:
    found: dict[tuple[Any, ...], list[InferenceRow]] = {}
    for row in rows:
        if row.accelerator == accelerator and not row.suspect and "power-capped" not in row.notes:
            found.setdefault(row.key, []).append(row)
    return found


def _row(line: int, raw: Mapping[str, str], accelerator: Find, model: Find) -> InferenceRow:
    variant = raw["gpu_variant"]
    return InferenceRow(
        line=line,
        source_id=raw.get("source_id", ""),
        url=raw.get("url", ""),
        version=raw.get("date_or_version", ""),
        accelerator="" if variant in UNRESOLVED else accelerator(variant),
        gpu_variant=variant,
        gpus=_devices(raw),
        tp=count(raw, "tp"),
        pp=count(raw, "pp"),
        model=model(raw["model"]),
        precision=_STORAGE.get(raw["precision_weights"], raw["precision_weights"]),
        kv_precision=_STORAGE.get(raw.get("precision_kv", ""), raw.get("precision_kv", "")),
        framework=raw.get("framework", ""),
        framework_version=raw.get("framework_version", ""),
        input_tokens=number(raw, "isl"),
        output_tokens=number(raw, "osl"),
        batch=count(raw, "batch_or_concurrency"),
        scenario=raw["scenario"],
        metric=raw["metric"],
        value=number(raw, "value") or 0.0,
        per_gpu=yes(raw, "per_gpu"),
        notes=raw.get("notes", ""),
        suspect="SUSPECT" in raw.get("notes", ""),
    )


def _devices(raw: Mapping[str, str]) -> int:
    found = count(raw, "num_gpus")
    if found is None:
        raise ValueError("num_gpus is empty")
    return found
