"""The training model beside published training results: predictions, errors, and ratios of parts.

Nothing of the model was fitted to these rows but one number, the share of a step in which kernels
run (`training_efficiency`); everything else comes from specifications and from serving. What came
of the shipped table stands in `validated_error.yaml`, and estimates of training show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from gpubench.errors import GpubenchError
from gpubench.roofline import calibration, ceilings, training
from gpubench.roofline.training import RECOMPUTATION
from gpubench.validating.validation import ErrorSummary, lines_by_reason, plain, summary

if TYPE_CHECKING:
    from gpubench.catalogue import Catalogue
    from gpubench.catalogue.training import TrainingEntry, TrainingRow
    from gpubench.roofline.calibration import Parameters

_METRICS = ("tokens_s_gpu", "tokens_s", "step_s")
# B/s of network a device: 200 Gb/s with A100 and A800, 400 Gb/s with their successors, which is
# what the nodes of their time have (DGX A100 and DGX H100 data sheets).
_NETWORK = {"nvidia-a100": 25e9, "nvidia-a800": 25e9}
# A table that does not state recomputation leaves out the least of it that memory allows.


@dataclass(frozen=True, slots=True)
class Predicted:
    """A published row and what the model says, in the row's unit, or why it says nothing.

    `speed` is predicted over published speed: above 1, the model is faster than what was measured.
    """

    entry: TrainingEntry
    value: float | None = None
    speed: float = 0.0
    binding_limit: str = ""
    skipped: str = ""


@dataclass(frozen=True)
class Checked:
    """What came of a table: its rows, errors of speed by group, and of ratios on matched rows."""

    rows: tuple[Predicted, ...]
    skipped: Mapping[str, tuple[int, ...]]
    absolute: Mapping[str, Mapping[str, ErrorSummary]]
    ratios: Mapping[str, ErrorSummary]


def check(
    entries: Iterable[TrainingEntry], catalogue: Catalogue, with_: Parameters | None = None
) -> Checked:
    """Predict every row that says enough, and sum up how far off that is."""
    parameters = with_ or calibration.load().mid
    rows = tuple(_predicted(entry, catalogue, parameters) for entry in entries)
    scored = [row for row in rows if row.value is not None]
    return Checked(
        rows=rows,
        skipped=lines_by_reason((row.entry.line, row.skipped) for row in rows),
        absolute=_absolute(scored),
        ratios=dict(_ratios(scored)),
    )


def summarise(checked: Checked, catalogue: Catalogue) -> dict[str, Any]:
    """What `validated_error.yaml` keeps of the errors found on the shipped table.

    Errors of speed by kind of model, and those of the ratio of two different chips.
    """
    scored = [row for row in checked.rows if row.value is not None and row.entry.row]
    parts = {row.entry.row.accelerator for row in scored if row.entry.row}
    errors: dict[str, list[float]] = {}
    for (above, below), kind, found in _pairs(scored):
        first, second = (catalogue.accelerators[name] for name in (above, below))
        if not ceilings.same_silicon(first, second):
            errors.setdefault(kind, []).append(found)
    ratios = {kind: summary(found) for kind, found in errors.items() if len(found) >= _FEWEST}
    return {
        "parts": sorted(map(str, parts)),
        "families": sorted({str(catalogue.accelerators[name].family) for name in parts}),
        "absolute": plain(checked.absolute["architecture"]),
        "ratio_other": plain(ratios),
    }


_FEWEST = 10
# A kind of pair of which there are fewer says too little of the next one.


def _predicted(entry: TrainingEntry, catalogue: Catalogue, with_: Parameters) -> Predicted:
    row = entry.row
    if row is None:
        return Predicted(entry, skipped=entry.problem)
    if why := _unusable(row):
        return Predicted(entry, skipped=why)
    part = catalogue.accelerators[row.accelerator]
    problem = ""
    for recomputation in (row.recomputation,) if row.recomputation else RECOMPUTATION:
        try:
            step = training.step(part, job(row, recomputation), with_)
        except GpubenchError as error:
            problem = problem or str(error)
            continue
        rate = step.tokens / step.time.seconds
        value = {"step_s": step.time.seconds, "tokens_s": rate}.get(row.metric, rate / row.gpus)
        speed = row.value / value if row.metric == "step_s" else value / row.value
        return Predicted(entry, value, speed, step.binding)
    return Predicted(entry, skipped=problem)


def _unusable(row: TrainingRow) -> str:
    if row.suspect:
        return "marked suspect"
    if row.metric not in _METRICS:
        return f"{row.metric} is not predicted"
    if not (row.sequence and row.micro_batch and row.batch):
        return "sequence or batch not published"
    return "" if row.precision else "precision not published"


def job(row: TrainingRow, recomputation: str) -> training.Job:
    """The job of a row that states its sequence and batch."""
    assert row.sequence
    assert row.micro_batch
    assert row.batch
    family = row.accelerator[: len("nvidia-a100")]
    return training.Job(
        model=row.model,
        precision=row.precision,
        gpus=row.gpus,
        micro_batch=row.micro_batch,
        sequence=row.sequence,
        recomputation=recomputation,
        network=_NETWORK.get(family, ceilings.NETWORK_RATE),
        batch=row.batch,
        tensor=row.tensor or 0,
        pipeline=row.pipeline or 1,
        virtual=row.virtual,
        context=row.context,
        expert=row.expert or 0,
        sharded=row.sharded,
        adapters=row.adapters,
    )


def _absolute(scored: Sequence[Predicted]) -> dict[str, dict[str, ErrorSummary]]:
    found: dict[str, dict[str, ErrorSummary]] = {}
    if scored:
        found["all"] = {"all": summary([one.speed for one in scored])}
    for by in ("architecture", "gpu", "source"):
        groups: dict[str, list[float]] = {}
        for one in scored:
            groups.setdefault(_group(one, by), []).append(one.speed)
        found[by] = {name: summary(speeds) for name, speeds in sorted(groups.items())}
    return found


def _group(one: Predicted, by: str) -> str:
    row = one.entry.row
    assert row
    if by == "gpu":
        return row.accelerator
    if by == "source":
        return row.source_id or "not named"
    return "mixture of experts" if row.model.experts else "dense"


def _ratios(scored: Sequence[Predicted]) -> Iterator[tuple[str, ErrorSummary]]:
    """Errors of one part over another, by the names of both."""
    errors: dict[str, list[float]] = {}
    for (above, below), _, found in _pairs(scored):
        errors.setdefault(f"{above} / {below}", []).append(found)
    for label, ratios in sorted(errors.items()):
        yield label, summary(ratios)


def _pairs(scored: Sequence[Predicted]) -> Iterator[tuple[tuple[str, str], str, float]]:
    """Two parts, the kind of model, and predicted over published ratio of their speeds, for rows
    that share model, devices, batch and sequence.

    The layout may differ, as a larger memory allows.
    """
    by_key: dict[object, list[Predicted]] = {}
    for one in scored:
        row = one.entry.row
        assert row
        key = (row.source_id, row.model.id, row.gpus, row.sequence, row.batch)
        by_key.setdefault((*key, row.precision, row.metric), []).append(one)
    for group in by_key.values():
        for first, second in combinations(group, 2):
            names = [one.entry.row.accelerator for one in (first, second) if one.entry.row]
            if names[0] != names[1]:
                above, below = sorted(zip(names, (first, second), strict=True), reverse=True)
                kind = _group(first, "architecture")
                yield (above[0], below[0]), kind, above[1].speed / below[1].speed
