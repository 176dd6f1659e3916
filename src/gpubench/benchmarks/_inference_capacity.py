"""How many sequences a device holds beside a model's weights, found by trying."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpubench.benchmarks import _decoder, _decoder_ops, _inference_plan, _matrices
from gpubench.benchmarks._inference_plan import said
from gpubench.benchmarks._inference_run import out_of_memory, place, plain_or_ours, room
from gpubench.errors import CannotMeasure
from gpubench.measuring import Device, import_torch, synchronize
from gpubench.model import Case


def find(case: Case, device: Device, weights: _decoder.Weights) -> dict[str, Any]:
    """As many sequences as memory holds beside the weights, by adding them until it runs out.

    Each trial allocates the cache and makes one pass, so that activations are part of it, beside
    what filling, checking and capturing will need.

    Raises:
        CannotMeasure: not one sequence fits.
    """
    p = case.parameters

    def tried(sequences: int) -> None:
        ballast = _ballast(sequences * weights.model.vocabulary, device)
        held = room(p, device, weights, sequences)
        at = place(p, device, weights, sequences, 0)
        _decoder_ops.forward(plain_or_ours(case, device), weights, held, at)
        synchronize(device)
        del ballast

    def fits(sequences: int) -> bool:
        try:
            tried(sequences)
        except Exception as error:
            if not out_of_memory(error):
                raise
            return False
        finally:
            _matrices.release()
        return True

    found, failed = most_that_fit(
        fits, _inference_plan.planned_sequences(p), _inference_plan.ENGINE_SEQUENCES
    )
    if not found:
        raise CannotMeasure(
            f"the cache of one sequence of {said(p)} does not fit beside the weights: choose "
            f"shorter sequences or a smaller model"
        )
    return {
        "sequences": found,
        "out_of_memory_at": failed,
        "tokens_each": p["input_tokens"] + p["output_tokens"],
        "weight_bytes": sum(t.numel() * t.element_size() for t in weights.tensors()),
        "memory": p["memory"],
    }


def _ballast(logits: int, device: Device) -> Any:
    """Memory for the strips in which a cache is filled, a graph's second set of activations, and
    the pieces of logits that are compared in float64.
    """
    if device.kind == "cpu":
        return None
    torch = import_torch()
    size = max(_LEAST_BALLAST, _BYTES_A_LOGIT * logits)
    return torch.empty(size, dtype=torch.uint8, device=device.torch_name)


_LEAST_BALLAST, _BYTES_A_LOGIT = 2**29, 40


def most_that_fit(fits: Callable[[int], bool], guess: int, most: int) -> tuple[int, int | None]:
    """(the largest number that fits, the least that was seen not to), to within 1 %.

    From a guess in growing steps until one does not fit, or does, then halfway between the two;
    None where even `most` fits.
    """
    low, high, tried = 0, most + 1, max(1, min(guess, most))
    step = max(1, tried // 10)
    while low < most and (high > most or high - low > max(1, low // 100)):
        if fits(tried):
            low = tried
        else:
            high = tried
        if low and high <= most:
            tried = (low + high) // 2
        else:
            tried = min(most, low + step) if low else max(1, high - step)
            step *= 2
    return low, None if high > most else high
