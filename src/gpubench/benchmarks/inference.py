"""Serving a language model: time to the first token, for each further one, and how many at once.

Real architectures with random weights. A prefill takes whole prompts; a step of decoding adds one
token to each sequence, with the cache filled as if the tokens before it had been there. A whole
model is timed where it fits, elsewhere a few of its layers with embedding and head, and `choices`
says by which factor the whole takes longer (`_inference_plan.scale`).

`triton` is our kernels between the matrix products and torch's products; `torch` has torch's
operators alone, and `compiled` is what torch.compile makes of these. All run as one CUDA graph, so
that no time of the host's is in them. Where the batch is "max", sequences are added until memory
runs out, and what was found is the capacity.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpubench.benchmarks import (
    Planned,
    _decoder,
    _decoder_kernels,
    _inference_capacity,
    _inference_plan,
    _matrices,
)
from gpubench.benchmarks._inference_plan import said
from gpubench.benchmarks._inference_run import (
    State,
    captured,
    check,
    operators,
    out_of_memory,
    pass_of,
    place,
    room,
    with_another_attention,
    with_cudnn_again,
)
from gpubench.measuring import (
    Ceilings,
    Device,
    Prepared,
    idle_power,
    refused,
    told,
)
from gpubench.model import Case, Caution, Measurement, Work

QUANTITY = ""
VERSION = 1

PREPARING_S = 600.0
"""Weights of 70 billion parameters, a dozen trials of what fits, kernels for each of them."""


def plan(device: Device, suite: str) -> tuple[Planned, ...]:
    """Models, precisions, batches and lengths; in the quick suite one case."""
    return tuple(_inference_plan.cases(device, suite))


def left_out(device: Device, suite: str) -> tuple[tuple[str, str], ...]:
    """(what, why) for each precision that the device lacks, and for what its memory does not hold,
    of all that the suite would measure.
    """
    return tuple(_inference_plan.left_out(device, suite))


def work(parameters: Mapping[str, Any]) -> Work:
    """What one pass must do, counted as the performance model counts it."""
    return _inference_plan.work(parameters)


def ceilings(case: Case, device: Device) -> Ceilings:
    """None: a pass is many kernels, and each of them is held against its own elsewhere."""
    del case, device
    return Ceilings()


def release() -> None:
    """Give weights and caches back, which one case leaves for the next."""
    with_cudnn_again()
    _kept.clear()
    _matrices.release()


def amount(found: Measurement) -> tuple[float, str]:
    """Tokens of a pass through the whole model; bytes of the cache where attention was alone."""
    if found.case.parameters.get("phase") not in ("prefill", "decode"):
        return found.work.bytes, "B/s"
    return tokens(found) / factor(found), "token/s"


def sequences(found: Measurement) -> int:
    """The sequences of a pass: as stated, or as many as were found to fit."""
    batch = found.case.parameters["batch"]
    return int(found.choices.get("sequences", batch if batch != "max" else 1))


def tokens(found: Measurement) -> int:
    """Tokens of one pass, over all sequences."""
    p = found.case.parameters
    return sequences(found) * int(p["input_tokens"] if p["phase"] == "prefill" else 1)


def factor(found: Measurement) -> float:
    """How many times as long as what was timed the whole model is taken to need."""
    return float(found.choices.get("scaled", {}).get("factor", 1.0))


def prepare(case: Case, device: Device, seed: int) -> Prepared:
    """Weights and caches made, a layer compared with float64, the pass captured.

    Raises:
        CannotMeasure: out of memory, or an architecture of another family.
        WrongResult: a layer's answer is not right.
    """
    return with_another_attention(case, lambda: _prepared(case, device, seed))


def _prepared(case: Case, device: Device, seed: int) -> Prepared:
    p = case.parameters
    with told(f"preparing {said(p)}"), refused(said(p)):
        _idle(device)
        weights = _kept.weights(p, device, seed)
        found: dict[str, Any] = {}
        if p["batch"] == "max":
            _kept.drop_state()
            found = _inference_capacity.find(case, device, weights)
        sequences = found.get("sequences") or int(p["batch"])
        while True:
            try:
                return _ready(case, device, seed, weights, sequences, found)
            except Exception as error:
                # Two graphs' worth of activations may not fit where one did.
                if p["batch"] != "max" or sequences == 1 or not out_of_memory(error):
                    raise
            _kept.drop_state()
            sequences = found["sequences"] = sequences - max(1, sequences // 50)


def _ready(
    case: Case,
    device: Device,
    seed: int,
    weights: _decoder.Weights,
    sequences: int,
    found: Mapping[str, Any],
) -> Prepared:
    p = case.parameters
    state = _kept.state(p, device, seed, weights, sequences)
    ops, choices = operators(case, device, weights, state)
    checked = check(ops, weights, state, case)
    run = pass_of(case, ops, weights, state)
    call, cautions = captured(run, device)
    if isinstance(ops, _decoder_kernels.Kernels):
        cautions += tuple(_fallback(name, why) for name, why in ops.failed.items())
    factor = _inference_plan.scale(p, sequences)
    if factor != 1.0:
        of = _inference_plan.model_of(p["model"]).layers
        choices["scaled"] = {"layers": p["layers"], "of": of, "factor": factor}
        cautions = (*cautions, _scaled(p["layers"], of, factor))
    if found:
        choices["capacity"] = dict(found)
    if (idle := _idle(device)) is not None:
        choices["idle_power_w"] = idle
    choices["sequences"] = sequences
    done = _inference_plan.work(p, sequences)
    return Prepared(case, VERSION, done, call, checked, cautions, choices)


def _fallback(name: str, why: str) -> Caution:
    return Caution("fallback", f"our {name} does not run here, torch's does: {why}")


def _scaled(layers: int, of: int, factor: float) -> Caution:
    return Caution(
        "part-of-model",
        f"{layers} of {of} layers were timed, with embedding and head; the whole is taken to need "
        f"{factor:.2f} times as long",
        "measure on a part whose memory holds the whole model",
    )


# --------------------------------------------------------------------------- what cases share


class _Kept:
    """The weights and the cache of the last case, which its twin and its neighbours share."""

    _weights_of: object = None
    _weights: Any = None
    _state_of: object = None
    _state: Any = None

    def clear(self) -> None:
        """Forget both."""
        self._weights_of = self._weights = None
        self.drop_state()

    def drop_state(self) -> None:
        """Forget the cache, whose memory goes back."""
        self._state_of = self._state = None
        _matrices.release()

    def weights(self, p: Mapping[str, Any], device: Device, seed: int) -> _decoder.Weights:
        """The weights of a case; others go first, since memory may not hold both."""
        wanted = p["model"], p["precision"], p["layers"], device.torch_name, seed
        if self._weights_of != wanted:
            self.clear()
            model = _inference_plan.part(p)
            self._weights = _decoder.make(model, p["precision"], device.torch_name, seed)
            self._weights_of = wanted
        found: _decoder.Weights = self._weights
        return found

    def state(
        self,
        p: Mapping[str, Any],
        device: Device,
        seed: int,
        weights: _decoder.Weights,
        sequences: int,
    ) -> State:
        """The cache of a case; another goes first."""
        wanted = self._weights_of, sequences, p["phase"], _inference_plan.context(p), seed
        if self._state_of != wanted:
            self.drop_state()
            held = _decoder.filled(room(p, device, weights, sequences), seed)
            self._state = State(held, place(p, device, weights, sequences, seed))
            self._state_of = wanted
        found: State = self._state
        return found


_kept = _Kept()


# Watts at rest of each device, looked at once, before its first case here. What ran until then has
# left the card warm, and it leaks more than a cold one.
_idle_watts: dict[str, float | None] = {}


def _idle(device: Device) -> float | None:
    if device.torch_name not in _idle_watts:
        _idle_watts[device.torch_name] = idle_power(device.telemetry)
    return _idle_watts[device.torch_name]
