"""How far estimates have been from published measurements, by kind of estimate.

`validated_error.yaml` holds what `validation.summarise` found on the shipped table; a test fails
when it no longer matches. Estimates go by the errors that they have without the limits and queues
of published engines, but with the kernels of their releases: they are about engines of today. The
error of a kind is |predicted / published - 1|; intervals use its 90 % quantile as a logarithm, so
that the published value lies within for nine of ten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml

from gpubench.model import Accelerator, LanguageModel
from gpubench.roofline import capacity, ceilings
from gpubench.roofline.conditions import Case

FILE = "validated_error.yaml"

NEARLY_FULL = 0.8
"""Weights over memory above which a gigabyte more or less decides the batch."""

_QUANTITIES = (
    *("inference_throughput", "time_per_output_token", "energy_per_token"),
    "cost_per_token",
)
_TRAINING = ("training_throughput", "training_time", "training_cost")


@dataclass(frozen=True, slots=True)
class Known:
    """A validated error: natural logarithm of high / mid, and how it was found, in words.

    `foreign` holds the parts that no comparison covers, by their family or for want of a figure,
    or because no model was compared that is built like this one; their own physics comes on top.
    Where so `few` sequences at once were never compared, what kernels and links take to start does.
    """

    log_error: float
    words: str
    foreign: tuple[Accelerator, ...] = ()
    few: bool = False


@lru_cache(maxsize=1)
def load() -> Mapping[str, Any]:
    """The errors found, as `validation.summarise` wrote them."""
    text = files(__package__).joinpath(FILE).read_text(encoding="utf-8")
    document: Mapping[str, Any] = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return document


def scenario(quantity: str, batch: int | str | None, nearly_full: bool) -> str:
    """The kind of estimate that errors are kept for."""
    if quantity == "time_to_first_token":
        return "time_to_first_token"
    if batch == "max":
        return "max_batch_nearly_full" if nearly_full else "max_batch"
    return "stated_batch"


def of_devices(kind: str, devices: int) -> str:
    """The kind with its number of devices where errors are kept for that, too: a whole node."""
    return f"{kind}_on_{devices}_devices" if devices == ceilings.NODE_DEVICES else kind


def entry(
    entries: Mapping[str, Any], kind: str, devices: int
) -> tuple[str, Mapping[str, Any] | None]:
    """The errors of a kind, those of so many devices where enough was compared of them, with the
    name that they have.
    """
    own = of_devices(kind, devices)
    name = own if own in entries else kind
    return name, entries.get(name)


def is_nearly_full(part: Accelerator, model: LanguageModel, precision: str, gpus: int) -> bool:
    """Whether weights fill most of the memory."""
    weights = capacity.weight_bytes(model, precision)
    return weights > NEARLY_FULL * gpus * part.value("memory_capacity")


def absolute(case: Case, part: Accelerator) -> Known | None:
    """The validated error of one figure, or None when such figures were never compared."""
    if case.quantity in _TRAINING:
        return _training(case, "absolute", "published rows of training", part)
    kind = _kind(case, part)
    return _known("absolute", kind, "published figures", case, part) if kind else None


def ratio(case: Case, subject: Accelerator, baseline: Accelerator) -> Known | None:
    """The validated error of a ratio: of parts with equal compute, or of different ones."""
    if subject == baseline:
        return Known(0.0, "exact: a part over itself")
    if case.quantity in _TRAINING:
        if ceilings.equal_compute(subject, baseline, case.of("precision")):
            return None  # of these there is one published pair
        words = "published pairs of different chips in training"
        return _training(case, "ratio_other", words, subject, baseline)
    kinds = [_kind(case, part) for part in (subject, baseline)]
    if None in kinds:
        return None
    full = "max_batch_nearly_full"
    kind = full if full in kinds else kinds[0]
    assert kind is not None
    precision = case.of("precision")
    if ceilings.equal_compute(subject, baseline, precision):
        words = "published H200/H100 pairs"
        return _known("ratio_equal_compute", kind, words, case, subject, baseline)
    words = "published pairs of different chips"
    return _known("ratio_other", kind, words, case, subject, baseline)


def covers(gpus: int, pipeline: int) -> bool:
    """Whether published rows were compared of such a copy: none is pipelined, or leaves a node."""
    return pipeline == 1 and gpus <= ceilings.NODE_DEVICES


def _kind(case: Case, part: Accelerator) -> str | None:
    if case.quantity not in (*_QUANTITIES, "time_to_first_token"):
        return None
    if not covers(case.of("gpus"), case.of("pipeline")):
        return None
    full = is_nearly_full(part, case.language_model, case.of("precision"), case.of("gpus"))
    return scenario(case.quantity, case.of("batch"), full)


def _training(case: Case, section: str, what: str, *parts: Accelerator) -> Known | None:
    """Of a whole step; a stated utilization leaves nothing of it to be validated."""
    if case.of("utilization"):
        return None
    stored = load()["training"]
    kind = "mixture of experts" if case.language_model.experts else "dense"
    entry = stored[section].get(kind)
    if entry is None:
        return None
    words = f"validated on {entry['count']} {what} ({kind}): {_shares(entry)}"
    words += "".join(
        f"; {part.name} not among them" for part in parts if part.id not in stored["parts"]
    )
    foreign = _foreign(parts, stored["families"])
    return Known(entry["log_q90"], words + _WIDENED * bool(foreign), foreign)


def _shares(entry: Mapping[str, Any]) -> str:
    return f"median error {100 * entry['median']:.1f} %, 90 % within {100 * entry['q90']:.0f} %"


def _foreign(parts: Sequence[Accelerator], families: Sequence[str]) -> tuple[Accelerator, ...]:
    # What attention costs a part whose vector rate is unknown is a wide range.
    return tuple(
        part for part in parts if part.family not in families or "peak_fp32" not in part.figures
    )


_WIDENED = "; widened by the ranges of the parts' memory, compute and power"


def _known(section: str, kind: str, what: str, case: Case, *parts: Accelerator) -> Known | None:
    name, errors = entry(load()["as_estimated"][section], kind, case.of("gpus"))
    if errors is None:
        return None
    words = f"validated on {errors['count']} {what} ({name.replace('_', ' ')}): {_shares(errors)}"
    log_error = errors["log_q90"]
    for part in parts:
        if part.id not in load()["parts"]:
            words += f"; {part.name} not among them"
        own = load()["other_parts"].get(part.id)
        if own:
            log_error = max(log_error, own["log_q90"])
            words += (
                f", whose own {own['count']} have a median of {100 * own['median']:.0f} %, 90 % "
                f"within {100 * own['q90']:.0f} %"
            )
    phase = case.values.get("phase", "serving")
    if phase != "serving" or case.quantity == "time_per_output_token":
        words += f"; {'decode' if phase == 'serving' else phase} only as part of serving"
    model = case.language_model
    if _unlike(model):
        words += f"; {model.name}, and none built like it, not among them"
    elif model.id not in load()["models"][kind]:
        words += f"; {model.name} not among them"
    few = kind.startswith("stated_batch") and case.of("batch") < load()["least_batch"]
    if few:
        words += "; none of so few sequences, so widened by what kernels and links take to start"
    foreign = tuple(parts) if _unlike(model) else _foreign(parts, load()["families"])
    return Known(log_error, words + _WIDENED * bool(foreign), foreign, few)


def _unlike(model: LanguageModel) -> bool:
    """Whether no model was compared that is built so: with latent attention, or many experts."""
    return model.latent_dim > 0 or model.experts > _MOST_EXPERTS


_MOST_EXPERTS = 8
# Of Mixtral.
