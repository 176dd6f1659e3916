"""Published inference results, one row a figure, and the pairs that differ only in the accelerator.

`data/inference_published.md` explains the columns and where the rows come from.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpubench.catalogue.parts import PublishedFinding
from gpubench.errors import CatalogueError

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

_METRICS = {
    "output_tok_s": "inference_throughput",
    "ttft_ms": "time_to_first_token",
    "tpot_ms": "time_per_output_token",
}
_STORAGE = {"mxfp4": "fp4"}


@dataclass(frozen=True, slots=True)
class InferenceRow:
    """One published figure. `value` is in the unit `metric` names; None means not stated.

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
            self.precision,
            self.input_tokens,
            self.output_tokens,
            self.batch,
            self.scenario,
            self.metric,
        )


@dataclass(frozen=True, slots=True)
class MatchedPair:
    """Two rows that differ only in the accelerator.

    `ratio` is subject over baseline as printed; `advantage` is above 1 when the subject is better,
    which for the times is the inverse.
    """

    subject: InferenceRow
    baseline: InferenceRow

    @property
    def ratio(self) -> float:
        """Subject's figure over baseline's."""
        return self.subject.system_value / self.baseline.system_value

    @property
    def advantage(self) -> float:
        """How many times better the subject is."""
        return self.ratio if self.subject.metric.endswith("tok_s") else 1 / self.ratio


def read_rows(
    path: Path, accelerators: Mapping[str, str], models: Mapping[str, str]
) -> tuple[InferenceRow, ...]:
    """The rows of a table. The mappings give ids for spellings in lower case.

    Raises:
        CatalogueError: a row names an unknown variant or model, or a number cannot be read.
    """
    with path.open(encoding="utf-8", newline="") as table:
        reader = csv.DictReader(table)
        rows = []
        for raw in reader:
            try:
                rows.append(_row(reader.line_num, raw, accelerators, models))
            except (KeyError, ValueError, TypeError) as error:
                place = f"{path.name}:{reader.line_num}"
                raise CatalogueError(f"{place}: cannot read this row: {error!r}") from error
    return tuple(rows)


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


def as_finding(pair: MatchedPair) -> PublishedFinding | None:
    """The pair as a published ratio, or None for metrics that no quantity stands for."""
    row, other = pair.subject, pair.baseline
    quantity = _METRICS.get(row.metric)
    if quantity is None:
        return None
    unit = "token/s" if row.metric.endswith("tok_s") else "ms"
    stated = {
        # A throughput is that of whole requests; a time belongs to no mix of phases.
        "phase": "serving" if quantity == "inference_throughput" else "",
        "engine": f"{row.framework} {row.version}",
        "model": row.model,
        "precision": row.precision,
        "kv_precision": row.kv_precision,
        "gpus": row.gpus,
        "batch": row.batch or "max",
        "input_tokens": row.input_tokens and round(row.input_tokens),
        "output_tokens": row.output_tokens and round(row.output_tokens),
    }
    return PublishedFinding(
        quantity=quantity,
        subject=row.accelerator,
        baseline=other.accelerator,
        low=pair.ratio,
        mid=pair.ratio,
        high=pair.ratio,
        unit="1",
        conditions={name: value for name, value in stated.items() if value},
        source=f"{stated['engine']}, {row.url}",
        how=f"{row.value:g} against {other.value:g} {unit}, {row.scenario.replace('_', ' ')}",
        remark=row.notes,
    )


def _by_key(
    rows: Sequence[InferenceRow], accelerator: str
) -> dict[tuple[Any, ...], list[InferenceRow]]:
    found: dict[tuple[Any, ...], list[InferenceRow]] = {}
    for row in rows:
        if row.accelerator == accelerator and not row.suspect and "power-capped" not in row.notes:
            found.setdefault(row.key, []).append(row)
    return found


def _row(
    line: int, raw: Mapping[str, str], accelerators: Mapping[str, str], models: Mapping[str, str]
) -> InferenceRow:
    variant = raw["gpu_variant"]
    return InferenceRow(
        line=line,
        source_id=raw["source_id"],
        url=raw["url"],
        version=raw["date_or_version"],
        accelerator="" if variant in UNRESOLVED else accelerators[variant.lower()],
        gpu_variant=variant,
        gpus=int(raw["num_gpus"]),
        tp=int(raw["tp"]) if raw["tp"] else None,
        pp=int(raw["pp"]) if raw["pp"] else None,
        model=models[raw["model"].lower()],
        precision=_STORAGE.get(raw["precision_weights"], raw["precision_weights"]),
        kv_precision=_STORAGE.get(raw["precision_kv"], raw["precision_kv"]),
        framework=raw["framework"],
        framework_version=raw["framework_version"],
        input_tokens=float(raw["isl"]) if raw["isl"] else None,
        output_tokens=float(raw["osl"]) if raw["osl"] else None,
        batch=int(raw["batch_or_concurrency"]) if raw["batch_or_concurrency"] else None,
        scenario=raw["scenario"],
        metric=raw["metric"],
        value=float(raw["value"]),
        per_gpu=raw["per_gpu"] == "yes",
        notes=raw["notes"],
        suspect="SUSPECT" in raw["notes"],
    )
