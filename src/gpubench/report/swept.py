"""What a sweep found: by every value of every axis, as a document and as a table of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product, repeat
from typing import TYPE_CHECKING, Any

from gpubench.report.subgroups import Between, interval, where
from gpubench.report.table import Table
from gpubench.report.wording import counted
from gpubench.stats import spread

if TYPE_CHECKING:
    from gpubench.model import Accelerator, LanguageModel
    from gpubench.roofline.sweep import Error, Plane, Sweep

PLACES = (
    "Surely inside are uplifts whose whole interval lies inside, possibly inside those whose "
    "interval\nreaches into it. The intervals are as wide as these errors:"
)
"""What two of the columns mean; the table of errors follows."""

_MOST_VALUES = 12

_OF_ITS_OWN = ", which each combination has of its own"


def document(
    found: Sweep,
    parts: tuple[Accelerator, Accelerator],
    model: LanguageModel,
    between: Between | None,
) -> dict[str, Any]:
    """All that is said about a sweep, but for the single combinations."""
    return {
        "gpu": parts[0].id,
        "vs": parts[1].id,
        "model": model.id,
        "combinations": found.axes.size,
        "between": list(between) if between else None,
        "groups": [asdict(group) for group in groups(found, between)],
        "errors": [
            {"combinations": count, "error": error.words, "log_error": error.log}
            for error, count in errors(found).items()
        ],
        "where": where(found, between) if between else None,
        "assumptions": assumptions(found, model),
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


def csv_lines(found: Sweep) -> Iterator[str]:
    """A line for every combination, without an uplift where it does not fit on both parts."""
    yield "precision,tp,pp,batch,isl,osl,uplift,uplift_low,uplift_high"
    axes = found.axes
    for plane in found.planes:
        start = f"{plane.precision},{plane.tensor},{plane.pipeline}"
        values = repeat(",,") if plane.uplift is None else _csv_cells(plane)
        lengths = product(axes.batches, axes.inputs, axes.outputs)
        for (batch, prompt, answer), cells in zip(lengths, values, strict=False):
            yield f"{start},{batch or 'max'},{prompt},{answer},{cells}"


def _csv_cells(plane: Plane) -> Iterator[str]:
    """ "1.45,1.28,1.65", empty where there is none."""
    ends = (end.ravel().tolist() for end in _with_ends(plane))
    for values in zip(*ends, strict=True):
        yield ",".join(f"{value:.5g}" if value == value else "" for value in values)


def _with_ends(plane: Plane) -> tuple[Any, Any, Any]:
    """The uplifts of a plane that is not empty, and their low and high ends."""
    assert plane.uplift is not None
    return plane.uplift, plane.low, plane.high


def assumptions(found: Sweep, model: LanguageModel) -> list[str]:
    """What was taken to be so, and of how many combinations."""
    from gpubench.roofline import conditions
    from gpubench.roofline.llm import USUAL
    from gpubench.roofline.sweep import MAX

    told = []
    if MAX in found.axes.batches and not found.built_for:
        told.append(
            f"as many as fit (max) are those of engines built for {USUAL[0].sequences:,} sequences "
            f"at once, TensorRT-LLM's default, which takes memory; --max-sequences says otherwise"
        )
    beyond = found.longer(model.context) if model.context else 0
    if beyond:
        take = f"of {counted(beyond, 'combination')} take more"
        told.append(conditions.beyond_context(model, take))
    return told


# --------------------------------------------------------------------------- by one axis


@dataclass(frozen=True)
class Group:
    """The combinations that share a value of an axis: how many fit, and their uplifts.

    `inside` is the share of them that lies in the interval asked for; `surely` that of those whose
    whole own interval does, `possibly` that of those whose own reaches into it.
    """

    by: str
    which: str
    count: int
    low: float | None = None
    median: float | None = None
    high: float | None = None
    inside: float | None = None
    surely: float | None = None
    possibly: float | None = None


def table(found: Sweep, between: Between | None) -> Table:
    """The groups for people."""
    columns = ["by", "which", "combinations", "least", "median", "most"]
    if between:
        columns += [interval(between), "surely", "possibly"]
    rows = []
    for group in groups(found, between):
        cells = [group.by, group.which, f"{group.count:,}"]
        ends = (group.low, group.median, group.high)
        shares = (group.inside, group.surely, group.possibly) if between else ()
        cells += ["" if end is None else f"{end:.2f}" for end in ends]
        cells += ["" if share is None else f"{share:.0%}" for share in shares]
        rows.append(cells)
    return Table(columns, rows)


def errors(found: Sweep) -> dict[Error, int]:
    """How many combinations there are of each error, those of most first."""
    import numpy as np

    counts: Counter[Error] = Counter()
    for plane in found.planes:
        if plane.uplift is not None:
            there = np.count_nonzero(~np.isnan(plane.uplift), axis=(1, 2))
            for error, count in zip(plane.errors, there.tolist(), strict=True):
                counts[error] += count
    return {error: count for error, count in counts.most_common() if count}


def error_table(found: Sweep) -> Table:
    """The errors for people."""
    rows = [
        [f"{count:,}", error.words + ("" if error.log is not None else _OF_ITS_OWN)]
        for error, count in errors(found).items()
    ]
    return Table(("combinations", "error of the uplift"), rows)


def groups(found: Sweep, between: Between | None) -> list[Group]:
    """All combinations, and those of every value of every axis; of a long axis some values."""
    return [_group(by, which, pieces, between) for by, which, pieces in _pieces(found)]


def _pieces(found: Sweep) -> Iterator[tuple[str, str, list[Any]]]:
    """The uplifts behind each group with their low and high ends, in threes of arrays."""
    axes = found.axes
    full = [(plane, _with_ends(plane)) for plane in found.planes if plane.uplift is not None]
    yield "all", "", [three for _, three in full]
    for name, field, values in (
        ("precision", "precision", axes.precisions),
        ("tp", "tensor", axes.tensors),
        ("pp", "pipeline", axes.pipelines),
    ):
        for value in values:
            yield (
                name,
                str(value),
                [three for plane, three in full if getattr(plane, field) == value],
            )
    for axis, (name, numbers) in enumerate(
        (("batch", axes.batches), ("isl", axes.inputs), ("osl", axes.outputs))
    ):
        for place in spread(range(len(numbers)), _MOST_VALUES):
            word = "max" if name == "batch" and not numbers[place] else str(numbers[place])
            yield name, word, [[each.take(place, axis) for each in three] for _, three in full]


def _group(by: str, which: str, pieces: list[Any], between: Between | None) -> Group:
    import numpy as np

    flat = [np.stack([values.ravel() for values in three]) for three in pieces]
    three = np.concatenate([np.empty((3, 0)), *flat], axis=1)
    values, least, most = three[:, ~np.isnan(three[0])]
    if not values.size:
        return Group(by, which, 0)
    group = Group(
        by,
        which,
        count=int(values.size),
        low=float(values.min()),
        median=float(np.median(values)),
        high=float(values.max()),
    )
    if not between:
        return group
    low, high = between
    return replace(
        group,
        inside=float(((values >= low) & (values <= high)).mean()),
        surely=float(((least >= low) & (most <= high)).mean()),
        possibly=float(((least <= high) & (most >= low)).mean()),
    )
