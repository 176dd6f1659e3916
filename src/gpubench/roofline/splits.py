"""Over how many devices and stages a copy of a model is split, and what to say if it cannot be."""

from __future__ import annotations

from dataclasses import replace

from gpubench.errors import CannotEstimate, DoesNotFit
from gpubench.model import Accelerator, Engine, LanguageModel
from gpubench.roofline.calibration import Parameters
from gpubench.roofline.capacity import cache_budget, storage_bytes, weight_bytes
from gpubench.roofline.ceilings import NODE_DEVICES
from gpubench.units import Quantity, show

_COUNTS = (1, 2, 4, 8, 16, 32, 64)
_NARROWER = ("fp16", "fp8", "int4")
# What a refusal suggests, nearest first.


def check(model: LanguageModel, gpus: int, pipeline: int) -> None:
    """Raise CannotEstimate when devices, layers or attention heads do not split that way."""
    if gpus < 1 or pipeline < 1:
        raise CannotEstimate(
            f"a model needs one device and one stage or more, not {min(gpus, pipeline)}"
        )
    if pipeline > model.layers:
        raise CannotEstimate(
            f"the {model.layers} layers of {model.name} do not fill {pipeline} stages: use "
            f"{model.layers} or fewer"
        )
    if gpus % pipeline:
        raise CannotEstimate(
            f"{gpus} devices do not split into {pipeline} stages: use {pipeline} devices, or a "
            f"multiple"
        )
    tensor = gpus // pipeline
    if model.heads and model.heads % tensor:
        works = [n for n in (1, 2, 4, 8, 16) if model.heads % n == 0]
        near = min(works, key=lambda n: (abs(n - tensor), -n))
        use = f"{near * pipeline} devices, {near} a stage" if pipeline > 1 else f"{near}"
        more = _fewest_stages(model, gpus)
        other = f"{more} stages" if 1 < more <= model.layers else "several copies"
        raise CannotEstimate(
            f"the {model.heads} attention heads of {model.name} do not split over {tensor} "
            f"devices: use {use}, or deal {gpus} to {other}"
        )


def check_fits(
    part: Accelerator,
    model: LanguageModel,
    precision: str,
    gpus: int,
    engine: Engine,
    with_: Parameters,
) -> None:
    """Raise DoesNotFit, naming the sizes and what would fit, when nothing is left for a cache."""
    if cache_budget(part, model, precision, gpus, engine, with_) > 0:
        return
    weights = Quantity(weight_bytes(model, precision), "B")
    memory = Quantity(part.value("memory_capacity") * gpus, "B")
    raise DoesNotFit(
        f"{model.name} in {precision} takes {show(weights)} of weights; {gpus} x {part.name} "
        f"hold {show(memory)}, which leaves no room for a KV cache; "
        f"{_what_fits(part, model, precision, gpus, engine, with_)}"
    )


def _what_fits(
    part: Accelerator,
    model: LanguageModel,
    precision: str,
    gpus: int,
    engine: Engine,
    with_: Parameters,
) -> str:
    """The fewest devices and the widest narrower storage that leave room for a cache."""
    size = storage_bytes(precision)
    narrower = [name for name in _NARROWER if storage_bytes(name) < size]
    found = [
        words(count, stages)
        for count in (engine.pipeline * tensor for tensor in _COUNTS)
        for stages in (engine.pipeline if engine.pipeline > 1 else default_stages(model, count),)
        if count > gpus
        and model.heads % (count // stages) == 0
        and stages <= model.layers
        and cache_budget(part, model, precision, count, replace(engine, pipeline=stages), with_) > 0
    ][:1]
    found += [
        f"{name} weights"
        for name in narrower
        if cache_budget(part, model, name, gpus, engine, with_) > 0
    ][:1]
    return f"{' or '.join(found)} would" if found else "use a smaller model"


def words(gpus: int, pipeline: int) -> str:
    """ "8 devices", or "16 devices in 2 stages"."""
    stages = f" in {pipeline} stages" if pipeline > 1 else ""
    return f"{gpus} device{'s' if gpus > 1 else ''}{stages}"


def default_stages(model: LanguageModel, gpus: int) -> int:
    """Stages of so many devices where none are stated: as few as keep each within a node.

    One up to eight devices; beyond them the fewest equal groups of at most eight over which the
    attention heads split. Devices that make no such groups follow each other one by one.
    """
    return 1 if gpus <= NODE_DEVICES else _fewest_stages(model, gpus)


def _fewest_stages(model: LanguageModel, gpus: int) -> int:
    return next(
        stages
        for stages in range(1, gpus + 1)
        if gpus % stages == 0
        and gpus // stages <= NODE_DEVICES
        and model.heads % (gpus // stages) == 0
    )
