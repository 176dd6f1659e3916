"""The table of inference results as published findings: figures of one part, ratios of two.

Rows that differ only in the accelerator are compared; submissions to MLPerf span an interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from gpubench.catalogue import submissions
from gpubench.catalogue.inference import InferenceRow
from gpubench.catalogue.parts import PublishedFinding

_OF_A_PART = ("infersim-actuals", "deepseek-open-infra")
# Decoding alone, on some devices of a larger system, with batches counted a device: nothing that
# claims on serving, on a whole system, can be held against.

_METRICS = {
    "output_tok_s": ("inference_throughput", "token/s", 1.0),
    "ttft_ms": ("time_to_first_token", "s", 1e-3),
    "tpot_ms": ("time_per_output_token", "s", 1e-3),
}
"""The quantity that a metric stands for, its SI unit, and what the printed unit is of that."""


def of_part(rows: Sequence[InferenceRow], subject: str) -> Iterator[PublishedFinding]:
    """What was published of one accelerator id, a finding for each workload and release."""
    for by_engine in _by_workload(rows, subject).values():
        for found in by_engine.values():
            quantity, unit, scale = _METRICS[found[0].metric]
            values = [row.system_value * scale for row in found]
            yield PublishedFinding(
                quantity=quantity,
                subject=subject,
                baseline="",
                low=min(values),
                mid=median(values),
                high=max(values),
                unit=unit,
                conditions=_conditions(found),
                source=_source(found),
                how=f"{_counted(found)}{_scenario(found[0])}",
                remark=found[0].notes if len(found) == 1 else "",
            )


def of_pair(
    rows: Sequence[InferenceRow], subject: str, baseline: str
) -> Iterator[PublishedFinding]:
    """What was published of two accelerator ids under the same workload, as subject / baseline.

    The same software is compared where both have it, else whatever each was submitted with.
    """
    others = _by_workload(rows, baseline)
    for key, by_engine in _by_workload(rows, subject).items():
        theirs = others.get(key, {})
        for engine, found in by_engine.items():
            for other in [theirs[engine]] if engine in theirs else theirs.values():
                yield _ratio(found, other)


def _ratio(found: Sequence[InferenceRow], other: Sequence[InferenceRow]) -> PublishedFinding:
    low, mid, high = submissions.ratio(
        *([row.system_value for row in rows] for rows in (found, other))
    )
    return PublishedFinding(
        quantity=_METRICS[found[0].metric][0],
        subject=found[0].accelerator,
        baseline=other[0].accelerator,
        low=low,
        mid=mid,
        high=high,
        unit="1",
        conditions=_conditions(found),
        source=_source(found),
        how=_compared(found, other),
        remark=found[0].notes if len(found) == 1 else "",
    )


def _by_workload(
    rows: Sequence[InferenceRow], accelerator: str
) -> dict[tuple[Any, ...], dict[str, list[InferenceRow]]]:
    """The sound rows of an accelerator by all that they should share to be compared, and of each
    workload by software.
    """
    found: dict[tuple[tuple[Any, ...], str], list[InferenceRow]] = {}
    for row in rows:
        sound = not row.suspect and "power-capped" not in row.notes
        whole = row.metric in _METRICS and row.source_id not in _OF_A_PART
        if row.accelerator == accelerator and sound and whole:
            engine = row.framework if submissions.are_of(row) else ""
            found.setdefault((_workload(row), engine), []).append(row)
    workloads: dict[tuple[Any, ...], dict[str, list[InferenceRow]]] = {}
    for (key, engine), same in submissions.heard(found).items():
        workloads.setdefault(key, {})[engine] = same
    return workloads


def _workload(row: InferenceRow) -> tuple[Any, ...]:
    """What rows must share to be compared.

    How long answers became is a result where the prompts of a data set are all that is given.
    """
    if submissions.are_of(row):
        return (
            row.source_id,
            row.version,
            row.model,
            row.gpus,
            row.precision,
            row.scenario,
            row.metric,
        )
    return (*row.key, row.version)


def _conditions(rows: Sequence[InferenceRow]) -> dict[str, Any]:
    """Under what the rows were measured, by the names that claims use."""
    row = rows[0]
    stated = {
        # A throughput is that of whole requests; a time belongs to no mix of phases.
        "phase": "serving" if row.metric == "output_tok_s" else "",
        "engine": _engine(rows),
        "model": row.model,
        "precision": row.precision,
        "kv_precision": row.kv_precision,
        "gpus": row.gpus,
        "pipeline": row.pp,
        "batch": row.batch or "max",
        "input_tokens": row.input_tokens and round(row.input_tokens),
        "output_tokens": row.output_tokens and round(row.output_tokens),
    }
    return {name: value for name, value in stated.items() if value}


def _engine(rows: Sequence[InferenceRow]) -> str:
    """The software; for MLPerf also under which of its rules, as requests come at once or by and
    by.
    """
    said = " and ".join(dict.fromkeys(f"{row.framework} {row.version}" for row in rows))
    submitted = submissions.are_of(rows[0])
    return f"{said} {rows[0].scenario.partition('_')[0]}" if submitted else said


def _source(rows: Sequence[InferenceRow]) -> str:
    return f"{_engine(rows)}, {rows[0].url}"


def _compared(found: Sequence[InferenceRow], other: Sequence[InferenceRow]) -> str:
    """The figures that are compared, and the releases where they differ."""
    unit = "token/s" if found[0].metric.endswith("tok_s") else "ms"
    above, below = (submissions.told([row.value for row in rows]) for rows in (found, other))
    said = f"{above} against {below} {unit}, {_scenario(found[0])}"
    one, two = ({row.framework_version for row in rows} for rows in (found, other))
    if one != two and one | two != {""}:
        said += f"; {_listed(one)} against {_listed(two)}"
    return said


def _counted(rows: Sequence[InferenceRow]) -> str:
    return f"{len(rows)} submissions, " if len(rows) > 1 else ""


def _scenario(row: InferenceRow) -> str:
    return row.scenario.replace("_", " ")


def _listed(releases: set[str]) -> str:
    return " or ".join(sorted(release or "an unnamed release" for release in releases))
