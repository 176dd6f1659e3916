"""The uplift of one part over another under every combination of conditions, by arrays.

The arithmetic is that of `llm.Machine`, fed with arrays of batch and lengths in place of numbers,
so that a million configurations take a second. Split and precision make a machine each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any, cast

from gpubench.errors import CannotEstimate, DoesNotFit, GpubenchError
from gpubench.model import Accelerator, Engine, LanguageModel
from gpubench.roofline import calibration, capacity, llm, splits, spreads
from gpubench.roofline.calibration import Parameters
from gpubench.roofline.conditions import Case

if TYPE_CHECKING:
    import numpy

MAX = 0
"""In place of a batch: as many sequences as fit on each part."""

_CHUNK = 1 << 15
# So many configurations at once stay in the processor's caches.


@dataclass(frozen=True)
class Axes:
    """What to combine. A batch is a number of sequences or `MAX`.

    `tensors` are the devices that share each layer of a copy, `pipelines` the stages that follow
    each other, of so many devices each.
    """

    batches: Sequence[int]
    inputs: Sequence[int]
    outputs: Sequence[int]
    precisions: Sequence[str]
    tensors: Sequence[int]
    pipelines: Sequence[int] = (1,)

    @property
    def size(self) -> int:
        """How many configurations that makes."""
        return math.prod(
            len(axis)
            for axis in (
                *(self.batches, self.inputs, self.outputs),
                *(self.precisions, self.tensors, self.pipelines),
            )
        )


@dataclass(frozen=True)
class Error:
    """How far uplifts of one kind are off, in words and as the natural logarithm of high / middle.

    Without `log` each of them has an interval of its own.
    """

    words: str
    log: float | None = None


@dataclass(frozen=True)
class Plane:
    """All batches and lengths at one precision and split.

    `uplift` has the shape (batches, inputs, outputs), as have the ends of its intervals, `low` and
    `high`; it is NaN where one of the parts does not hold that many sequences. `errors` holds one
    for each batch. `problem` says why a plane is empty.
    """

    precision: str
    tensor: int
    pipeline: int
    uplift: numpy.ndarray[Any, Any] | None = None
    low: numpy.ndarray[Any, Any] | None = None
    high: numpy.ndarray[Any, Any] | None = None
    errors: tuple[Error, ...] = ()
    problem: str = ""

    @property
    def where(self) -> str:
        """ "fp8, 8 devices", or "fp8, 8 devices in 2 stages"."""
        split = splits.words(self.tensor * self.pipeline, self.pipeline)
        return f"{self.precision}, {split}"


@dataclass(frozen=True)
class Sweep:
    """The planes of a sweep, in the order of precisions, tensors and pipelines."""

    axes: Axes
    planes: tuple[Plane, ...]
    built_for: int = 0

    @cached_property
    def values(self) -> numpy.ndarray[Any, Any]:
        """Every uplift that there is, in one row."""
        import numpy as np

        every = [plane.uplift.ravel() for plane in self.planes if plane.uplift is not None]
        flat = np.concatenate(every) if every else np.empty(0)
        return flat[~np.isnan(flat)]

    def longer(self, tokens: int) -> int:
        """How many uplifts are of requests whose prompt and answer together exceed so many."""
        import numpy as np

        beyond = np.add.outer(self.axes.inputs, self.axes.outputs) > tokens
        full = [plane.uplift for plane in self.planes if plane.uplift is not None]
        return sum(int((~np.isnan(uplift) & beyond).sum()) for uplift in full)


def sweep(
    subject: Accelerator,
    baseline: Accelerator,
    model: LanguageModel,
    axes: Axes,
    with_: Parameters | None = None,
    built_for: int = 0,
) -> Sweep:
    """Throughput of subject over baseline for every combination.

    The cache is stored like the weights where caches are stored so, else in FP16. Where a batch
    does not fit on both parts there is no uplift; `MAX` is each part's own. Engines are `built_for`
    so many sequences at once, 0 for what is usual.

    Raises:
        CannotEstimate: no combination can be estimated, with the reason of the first.
        ModuleNotFoundError: numpy is missing.
    """
    parameters = with_ or calibration.load().mid
    planes = tuple(
        _filled(Plane(*which), subject, baseline, model, axes, parameters, built_for)
        for which in product(axes.precisions, axes.tensors, axes.pipelines)
    )
    found = Sweep(axes, planes, built_for)
    if not found.values.size:
        first = next((plane.problem for plane in planes if plane.problem), "")
        raise CannotEstimate(first or "no batch of the sweep fits on both parts at any length")
    return found


def _filled(
    empty: Plane,
    subject: Accelerator,
    baseline: Accelerator,
    model: LanguageModel,
    axes: Axes,
    with_: Parameters,
    built_for: int,
) -> Plane:
    import numpy as np

    shape = (len(axes.inputs), len(axes.outputs))
    rows, errors, refusals = [], [], []
    try:
        for batch in axes.batches:
            try:
                row, error = _row(empty, subject, baseline, model, axes, batch, with_, built_for)
            except DoesNotFit as refusal:
                row, error = np.full((3, *shape), np.nan), Error("")
                refusals.append(str(refusal))
            rows.append(row)
            errors.append(error)
    except GpubenchError as error:
        return replace(empty, problem=str(error))
    if len(refusals) == len(rows):
        return replace(empty, problem=refusals[0])
    uplift, low, high = np.stack(rows, axis=1)
    return replace(empty, uplift=uplift, low=low, high=high, errors=tuple(errors))


def _row(
    plane: Plane,
    subject: Accelerator,
    baseline: Accelerator,
    model: LanguageModel,
    axes: Axes,
    batch: int,
    with_: Parameters,
    built_for: int,
) -> tuple[Any, Error]:
    """The uplifts at one batch with their low and high ends, (3, inputs, outputs).

    Raises as `llm.Machine`.
    """
    import numpy as np

    devices, asked = plane.tensor * plane.pipeline, "max" if batch == MAX else batch
    split = {"gpus": devices, "pipeline": plane.pipeline}
    conditions = {"precision": plane.precision, "batch": asked, **split}
    case = Case("inference_throughput", conditions, model)
    engines = llm.usual(plane.pipeline, asked, built_for)
    stored = capacity.cache_precision(plane.precision)
    grid = np.meshgrid(axes.inputs, axes.outputs, indexing="ij")
    # Arrays take the place of numbers from here on.
    inputs, outputs = (cast(Any, axis.ravel().astype(float)) for axis in grid)
    found = np.empty((3, inputs.size))
    errors = []
    for piece in _pieces(inputs.size):
        request = llm.Request(model, plane.precision, stored, inputs[piece], outputs[piece])

        def rate(part: Accelerator | None, given: Parameters, of: Any = request) -> Any:
            assert part is not None
            return _fastest(part, devices, of, given, batch, engines)

        uplift = rate(subject, with_) / rate(baseline, with_)
        spread, words = spreads.of_two(case, subject, baseline, rate, uplift)
        found[:, piece] = uplift, uplift * np.exp(-spread[0]), uplift * np.exp(spread[1])
        errors.append(Error(words, spread[0] if isinstance(spread[0], float) else None))
    # What is left out of a range is told where it is so in any piece.
    error = max(errors, key=lambda one: len(one.words))
    return found.reshape(3, len(axes.inputs), len(axes.outputs)), error


def _pieces(size: int) -> Iterator[slice]:
    for start in range(0, size, _CHUNK):
        yield slice(start, start + _CHUNK)


def _fastest(
    part: Accelerator,
    devices: int,
    request: llm.Request,
    with_: Parameters,
    batch: int,
    engines: Sequence[Engine],
) -> Any:
    """The rates of the fastest of the engines, place by place."""
    import numpy as np

    def run(engine: Engine) -> Any:
        return rates(llm.Machine(part, devices, request, with_, engine), batch)

    return np.fmax.reduce(llm.by_engine(run, engines))


def rates(machine: llm.Machine, batch: int) -> Any:
    """Output tokens a second of a machine whose request holds arrays of lengths.

    NaN where a batch exceeds the memory, or not one sequence fits.

    Raises:
        DoesNotFit: the weights leave no room for a cache at all.
    """
    import numpy as np

    request = machine.request
    each = capacity.cache_bytes(request.model, request.full_context, request.kv_precision)
    fits: Any = np.floor(machine.cache_budget() / each)
    if batch == MAX:
        served = machine.serve_in_flight(cast(Any, machine.kept(fits)))
    else:
        served = machine.serve(batch)
    return np.where(fits >= max(1, batch), served.output_rate, np.nan)
