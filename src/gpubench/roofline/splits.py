"""Over how many devices and stages a copy of a model is split, and what to say if it cannot be."""

from __future__ import annotations

from dataclasses import replace

from gpubench.errors import CannotEstimate, DoesNotFit
from gpubench.model import Accelerator, Engine, LanguageModel
from gpubench.roofline.calibration import Parameters
from gpubench.roofline.capacity import cache_budget, reserve_bytes, storage_bytes, weight_bytes
from gpubench.roofline.ceilings import NODE_DEVICES, can_link, can_multiply
from gpubench.units import Quantity, show

_TENSORS = (1, 2, 4, 8)
_BEYOND = (16, 32, 64, 128)
_NARROWER = ("fp16", "fp8", "int4")
# What a refusal suggests, nearest first.

FEWER_SEQUENCES = (256, 64)
"""What engines are built for instead where memory is short: 256 is vLLM's `max_num_seqs` before its
engine V1 (vllm/engine/arg_utils.py at 001999d), and a quarter of that."""


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
        works = [n for n in (2**power for power in range(8)) if model.heads % n == 0]
        near = min(works, key=lambda n: (abs(n - tensor), -n))
        use = f"{near * pipeline} devices, {near} a stage" if pipeline > 1 else f"{near}"
        more = _fewest_stages(model, gpus)
        other = f"{more} stages" if more > 1 else "several copies"
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
    tensor = gpus // engine.pipeline
    reserve = Quantity(reserve_bytes(model, engine, tensor, with_), "B")
    raise DoesNotFit(
        f"{model.name} in {precision} takes {show(weights)} of weights; {gpus} x {part.name} "
        f"hold {show(memory)}, and each needs {show(reserve)} for buffers and sampling, which "
        f"leaves no room for a KV cache; {_what_fits(part, model, precision, gpus, engine, with_)}"
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
        for count, stages in _larger(model, gpus, engine.pipeline)
        if can_link(part, count)
        and can_link(part, count // stages)
        and cache_budget(part, model, precision, count, replace(engine, pipeline=stages), with_) > 0
    ][:1]
    found += [
        f"{name} weights"
        for name in narrower
        if can_multiply(part, name) and cache_budget(part, model, name, gpus, engine, with_) > 0
    ][:1]
    found += [
        f"an engine built for {most} sequences at once"
        for most in FEWER_SEQUENCES
        if most < engine.sequences
        and cache_budget(part, model, precision, gpus, replace(engine, sequences=most), with_) > 0
    ][:1]
    return f"{' or '.join(found)} would" if found else "use a smaller model"


def _larger(model: LanguageModel, gpus: int, pipeline: int) -> list[tuple[int, int]]:
    """(devices, stages) beyond so many devices: as many stages, then as few as stay in nodes."""
    same = [(pipeline * tensor, pipeline) for tensor in _TENSORS if model.heads % tensor == 0]
    beyond = [(count, _fewest_stages(model, count)) for count in _BEYOND]
    return sorted((count, stages) for count, stages in (*same, *beyond) if count > gpus and stages)


def words(gpus: int, pipeline: int) -> str:
    """ "8 devices", or "16 devices in 2 stages"."""
    stages = f" in {pipeline} stages" if pipeline > 1 else ""
    return f"{gpus} device{'s' if gpus > 1 else ''}{stages}"


def default_stages(model: LanguageModel, gpus: int) -> int:
    """Stages of so many devices where none are stated: as few as keep each within a node.

    One up to eight devices; beyond them the fewest equal groups of at most eight over which the
    attention heads split.

    Raises:
        CannotEstimate: they make no such groups, or more than the model has layers.
    """
    if gpus <= NODE_DEVICES or not model.layers:
        return 1
    stages = _fewest_stages(model, gpus)
    if not stages:
        most = max(n * model.layers for n in _TENSORS if model.heads % n == 0)
        raise CannotEstimate(
            f"{gpus} devices make no equal stages of at most {NODE_DEVICES} for the "
            f"{model.heads} attention heads and {model.layers} layers of {model.name}: use a power "
            f"of two up to {most}, or several copies"
        )
    return stages


def _fewest_stages(model: LanguageModel, gpus: int) -> int:
    """0 where there are none."""
    return next(
        (
            stages
            for stages in range(1, min(gpus, model.layers) + 1)
            if gpus % stages == 0
            and gpus // stages <= NODE_DEVICES
            and model.heads % (gpus // stages) == 0
        ),
        0,
    )
