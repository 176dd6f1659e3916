"""Conditions of an estimate: what was asked, with a documented default for what was not.

Every default used is written into the assumptions of the estimate.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gpubench import units
from gpubench.errors import CannotEstimate, DoesNotFit
from gpubench.model import Accelerator, LanguageModel
from gpubench.quantities import QUANTITIES
from gpubench.roofline import capacity, ceilings, llm, splits, training
from gpubench.roofline.calibration import Parameters

if TYPE_CHECKING:
    from gpubench.catalogue import Catalogue

DEFAULTS: dict[str, Any] = {
    "model": "llama-2-70b",
    "precision": "fp16",
    "batch": "max",
    "input_tokens": 1024,
    "output_tokens": 1024,
    "phase": "serving",
    "use": "inference",
    "sequences": 1,
    "context_tokens": 4096,
    "lora_rank": 16,
    "micro_batch": 1,
    "batch_tokens": training.BATCH_TOKENS,
    "recomputation": "none",
    "utilization": 0.0,
    "network": ceilings.NETWORK_RATE,
    "reduction": "ring",
    "message": 2.0**30,
    "path": "hbm",
    "kernel": "triad",
    "bandwidth_bound_share": 0.25,
    "ports": 8,
    "port_rate": 50e9,
}
"""Values used when a condition is left open. A prompt with retrieved passages ("rag") holds 8192
tokens. `precision` is bf16 where a part has no published fp16 peak, but all have that;
`kv_precision` follows the weights where a cache is stored so, `tokens` are those the model was
trained on or 20 a parameter (Hoffmann et al., arXiv:2203.15556), `gpus` are the fewest, in powers
of two, that hold the work on every part compared, with a third of the memory left beside the
weights when serving; `pipeline` is one stage up to eight devices, and as few beyond as stay within
a node; collectives run over such a node."""

SEQUENCE_TOKENS = 4096
"""Training sequences: the model's context, at most this."""

_RAG_CONTEXT = 8192
_NODE_QUANTITIES = ("gradient_sync_time", "all_reduce_time")
_ONE_DEVICE_QUANTITIES = ("parameter_load_time", "memory_needed", "memory_share")
_MOST_SERVING_DEVICES = 64
_WEIGHTS_AT_MOST = 2 / 3
_MOST_TRAINING_DEVICES = 4096
_TOKENS_PER_PARAMETER = 20


@dataclass(frozen=True)
class Case:
    """A quantity with every condition settled. `of` reads one; `model` is None if not needed.

    `parts` are those that are asked about: the subject, and what it is compared with.
    """

    quantity: str
    values: Mapping[str, Any]
    model: LanguageModel | None
    assumptions: tuple[str, ...] = field(default=())
    parts: tuple[Accelerator, ...] = ()

    def of(self, name: str) -> Any:
        """The value of one condition."""
        return self.values[name]

    @property
    def built_for(self) -> int:
        """Sequences at once that the engine is stated to be built for, 0 where nobody says."""
        return int(self.values.get("engine_sequences", 0))

    @property
    def language_model(self) -> LanguageModel:
        """The model; every quantity that asks for it has one."""
        assert self.model is not None
        return self.model

    def request(self) -> llm.Request:
        """What is served, for the quantities of serving."""
        return llm.Request(
            self.language_model,
            self.of("precision"),
            self.of("kv_precision"),
            self.of("input_tokens"),
            self.of("output_tokens"),
        )

    def job(self) -> training.Job:
        """What is trained, for the quantities of training."""
        model = self.language_model
        return training.Job(
            model=model,
            precision=self.of("precision"),
            gpus=self.of("gpus"),
            micro_batch=self.of("micro_batch"),
            sequence=self.of("sequence_tokens"),
            recomputation=self.of("recomputation"),
            utilization=self.of("utilization"),
            network=self.of("network"),
            batch=self.of("batch_tokens") / self.of("sequence_tokens"),
        )


def settle(
    quantity: str,
    conditions: Mapping[str, Any],
    parts: Sequence[Accelerator],
    catalogue: Catalogue,
    with_: Parameters,
) -> Case:
    """Fill in the defaults of a quantity.

    Raises:
        CannotEstimate: the quantity is not estimated, or does not depend on a condition given.
        UnknownName: no such model.
        DoesNotFit: no number of devices tried holds the work.
    """
    kind = QUANTITIES.get(quantity)
    if kind is None or kind.via != "estimate":
        raise CannotEstimate(f"'{quantity}' is not a quantity of the performance model")
    odd = sorted(set(conditions) - set(kind.conditions))
    if odd:
        raise CannotEstimate(
            f"{quantity} does not depend on {', '.join(odd)}; "
            f"it takes {', '.join(kind.conditions) or 'no conditions'}"
        )
    model = None
    if "model" in kind.conditions:
        model = catalogue.model(conditions.get("model", DEFAULTS["model"]))
    assumed = _defaults(kind.conditions, conditions, parts, model)
    values: dict[str, Any] = {**conditions, **assumed}
    _check_positive(values)
    if "gpus" in kind.conditions and "gpus" not in values:
        case = Case(quantity, values, model)
        values["gpus"] = assumed["gpus"] = _fewest(case, parts, with_)
    if "pipeline" in kind.conditions and "pipeline" not in values:
        values["pipeline"] = _stages(model, values["gpus"])
        if values["pipeline"] > 1:
            assumed["pipeline"] = values["pipeline"]
    words = _written(assumed, values, model)
    return Case(quantity, values, model, words, tuple(parts))


def _defaults(
    names: Collection[str],
    stated: Mapping[str, Any],
    parts: Sequence[Accelerator],
    model: LanguageModel | None,
) -> dict[str, Any]:
    """What is left open of the conditions `names`, but for the split over devices."""
    found = {name: DEFAULTS[name] for name in names if name in DEFAULTS and name not in stated}
    if "context_tokens" in found and {**found, **stated}["use"] == "rag":
        found["context_tokens"] = _RAG_CONTEXT
    if "precision" in found:
        # What weights are kept in says nothing of what they were trained in.
        trained = bool({"micro_batch", "reduction"} & set(names))
        trained = trained or {**found, **stated}.get("use") == "training"
        served = None if trained else model
        found["precision"] = usual_precision(found["precision"], parts, served)
    if "kv_precision" in names and "kv_precision" not in stated:
        found["kv_precision"] = capacity.cache_precision({**found, **stated}["precision"])
    if "sequence_tokens" in names and "sequence_tokens" not in stated and model:
        found["sequence_tokens"] = min(model.context or SEQUENCE_TOKENS, SEQUENCE_TOKENS)
    if "tokens" in names and "tokens" not in stated and model:
        tokens = model.training_tokens or _TOKENS_PER_PARAMETER * model.parameters
        if tokens:
            found["tokens"] = tokens
    return found


def usual_precision(
    usual: str, parts: Sequence[Accelerator], model: LanguageModel | None = None
) -> str:
    """What weights are stored in where nobody says: as the model's own file has it, where all parts
    can multiply that; else what is usual, with BF16 in place of FP16 on parts without that. A file
    in 16 bits says which 16 bits, and nothing of fewer.
    """
    stored = model.stored if model else ""
    if stored in _WIDE and usual not in _WIDE:
        stored = ""  # a sweep asks for 8 bits beside the 16 of the file
    if stored and all(ceilings.can_multiply(part, stored) for part in parts):
        return stored
    fp16, bf16 = (all(f"peak_{n}16" in part.figures for part in parts) for n in ("fp", "bf"))
    return "bf16" if usual == "fp16" and bf16 and not fp16 else usual


_WIDE = ("fp16", "bf16")


def _check_positive(values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        zero_allowed = name in ("utilization", "bandwidth_bound_share", "input_tokens")
        if isinstance(value, int | float) and (value < 0 or (value == 0 and not zero_allowed)):
            raise CannotEstimate(f"{name.replace('_', ' ')} must be positive, not {value:g}")


def _fewest(case: Case, parts: Sequence[Accelerator], with_: Parameters) -> int:
    """Devices, a power of two, that hold the work on all parts."""
    if case.quantity in _NODE_QUANTITIES:
        return ceilings.NODE_DEVICES
    if case.quantity in _ONE_DEVICE_QUANTITIES or case.quantity == "devices_needed":
        return 1
    serving = "input_tokens" in case.values
    stages = case.values.get("pipeline")
    gpus, most = 1, _MOST_TRAINING_DEVICES
    if serving:
        gpus = stages or 1
        most = stages * ceilings.NODE_DEVICES if stages else _MOST_SERVING_DEVICES
    while True:
        split = {"gpus": gpus, "pipeline": stages or _stages(case.model, gpus)}
        tried = Case(case.quantity, {**case.values, **split}, case.model)
        try:
            for part in parts:
                if serving:
                    if tried.of("batch") == "max":
                        _check_room(part, tried)
                    _check_serves(part, tried, with_)
                else:
                    training.check_fits(part, tried.job(), with_)
            return gpus
        except DoesNotFit:
            if gpus >= most:
                raise
            gpus *= 2


def _stages(model: LanguageModel | None, gpus: int) -> int:
    return splits.default_stages(model, gpus) if model else 1


def _check_serves(part: Accelerator, case: Case, with_: Parameters) -> None:
    """Raise DoesNotFit when no usual engine has room for the batch."""
    gpus, request, batch = case.of("gpus"), case.request(), case.of("batch")
    engines = llm.usual(case.of("pipeline"), batch, case.built_for)
    llm.by_engine(
        lambda engine: llm.Machine(part, gpus, request, with_, engine).batch(batch), engines
    )


def _check_room(part: Accelerator, case: Case) -> None:
    """Raise DoesNotFit when weights leave too little beside them for a default to be typical."""
    weights = capacity.weight_bytes(case.language_model, case.of("precision"))
    room = case.of("gpus") * part.value("memory_capacity")
    if weights > _WEIGHTS_AT_MOST * room and case.of("gpus") < ceilings.NODE_DEVICES:
        raise DoesNotFit(f"{case.language_model.name} nearly fills {part.name}")


def _written(
    assumed: Mapping[str, Any],
    values: Mapping[str, Any],
    model: LanguageModel | None,
) -> tuple[str, ...]:
    stored = model.stored if model else ""
    found = [
        f"precision as {model.name} is published: {value}"
        if model and name == "precision" and value == stored
        else _sentence(name, value)
        for name, value in assumed.items()
        if name != "utilization"
    ]
    if model and stored and assumed.get("precision", stored) != stored:
        found.append(f"{model.name} is published in {stored}, which not every part has")
    length = values.get("input_tokens", 0) + values.get("output_tokens", 0)
    if model is not None and 0 < model.context < length:
        found.append(beyond_context(model, f"take {length}"))
    return tuple(found)


def beyond_context(model: LanguageModel, takes: str) -> str:
    """What is said where requests exceed a model; `takes` ends "prompt and answer"."""
    return (
        f"{model.name} is published for {model.context} tokens, and prompt and answer {takes}: "
        f"taken to run on"
    )


_SHOWN_IN = {"network": "B/s", "port_rate": "B/s", "message": "B"}
_SHOWN_IN |= {"tokens": "token", "batch_tokens": "token"}


def _sentence(name: str, value: Any) -> str:
    if name in _SHOWN_IN:
        value = units.show(units.Quantity(float(value), _SHOWN_IN[name]))
    return f"{name.replace('_', ' ')} not stated: {value} assumed"
