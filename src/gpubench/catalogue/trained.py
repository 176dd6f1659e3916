"""The table of training results as published findings: the speed of one part over another.

Rows are compared that share model, devices, sequence, batch, precision and what was published; the
layout may differ, as a larger memory allows. Of MLPerf's submissions of one round all are heard.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gpubench.catalogue import submissions
from gpubench.catalogue.parts import PublishedFinding
from gpubench.catalogue.training import TrainingRow

_TIMES = ("step_s", "minutes_to_train")
_RATES = ("tokens_s_gpu", "tokens_s")


def of_pair(rows: Sequence[TrainingRow], subject: str, baseline: str) -> Iterator[PublishedFinding]:
    """What was published of two accelerator ids training the same, as subject / baseline: the
    throughput, and the time of a run.
    """
    others = _by_job(rows, baseline)
    for key, found in _by_job(rows, subject).items():
        if key not in others:
            continue
        both = found, others[key]
        low, mid, high = submissions.ratio(*([_speed(row) for row in rows] for rows in both))
        first, second = (submissions.told([row.value for row in rows]) for rows in both)
        how = f"{first} against {second} {_NAMES[found[0].metric]}"
        for quantity, ends in (
            ("training_throughput", (low, mid, high)),
            ("training_time", (1 / high, 1 / mid, 1 / low)),
        ):
            yield PublishedFinding(
                quantity=quantity,
                subject=subject,
                baseline=baseline,
                low=ends[0],
                mid=ends[1],
                high=ends[2],
                unit="1",
                conditions=_conditions(found[0]),
                source=f"{found[0].source_id}, {found[0].url}",
                how=how,
            )


def _by_job(
    rows: Sequence[TrainingRow], accelerator: str
) -> dict[tuple[Any, ...], list[TrainingRow]]:
    found: dict[tuple[Any, ...], list[TrainingRow]] = {}
    for row in rows:
        if row.accelerator == accelerator and not row.suspect and row.metric in (*_TIMES, *_RATES):
            job = row.source_id, row.model.id, row.adapters, row.gpus, row.sequence, row.batch
            found.setdefault((*job, row.precision, row.metric), []).append(row)
    return submissions.heard(found)


def _speed(row: TrainingRow) -> float:
    return 1 / row.value if row.metric in _TIMES else row.value


_NAMES = {
    "step_s": "seconds a step",
    "minutes_to_train": "minutes to the target",
    "tokens_s_gpu": "tokens a second and device",
    "tokens_s": "tokens a second",
}


def _conditions(row: TrainingRow) -> dict[str, Any]:
    stated = {
        "model": row.model.id,
        "precision": row.precision,
        "gpus": row.gpus,
        "sequence_tokens": row.sequence,
        "batch_tokens": row.sequence and row.batch and row.sequence * row.batch,
        "workload": "adapters" if row.adapters else "",
    }
    return {name: value for name, value in stated.items() if value}
