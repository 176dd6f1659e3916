"""Tokens a second, seconds and joules a token of the whole model, from what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gpubench import benchmarks
from gpubench.measuring import timing
from gpubench.model import Measurement
from gpubench.records import RunRecord
from gpubench.stats import MedianInterval


@dataclass(frozen=True)
class Pass:
    """One measured pass, scaled to the whole model.

    `seconds` is of one pass of `sequences` sequences, in which `tokens` tokens are read or written.
    Joules are of the board, for one token: `joules` with what the card draws at rest,
    `joules_above` without; None where the driver has no counter. `joules_per_flop` goes by the
    work that is timed.
    """

    measurement: Measurement
    phase: str
    sequences: int
    seconds: MedianInterval
    joules: float | None
    joules_above: float | None
    joules_per_flop: float | None

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Of the case."""
        return self.measurement.case.parameters

    @property
    def tokens(self) -> int:
        """Tokens of one pass, over all sequences."""
        return int(benchmarks.get("inference").tokens(self.measurement))

    @property
    def rate(self) -> MedianInterval:
        """Tokens a second."""
        return self.seconds.under(self.tokens)


@dataclass(frozen=True)
class Serving:
    """Requests served as the performance model has it: prefills and steps in turn, B at once.

    `rate` is of output tokens a second; `joules` for each of them, None without a counter.
    """

    prefill: Pass
    step: Pass
    rate: MedianInterval
    joules: float | None

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Of the step's case, which names lengths, batch and storage."""
        return self.step.parameters


def passes(record: RunRecord) -> tuple[Pass, ...]:
    """Every pass of a language model that a record holds, in its order."""
    return tuple(
        _pass(found)
        for found in record.measurements
        if found.case.benchmark == "inference"
        and found.case.parameters["phase"] in ("prefill", "decode")
        and found.sound
    )


def _pass(found: Measurement) -> Pass:
    inference = benchmarks.get("inference")
    factor, tokens = inference.factor(found), inference.tokens(found)
    seconds = timing.of(found).seconds.times(factor)
    spent = timing.energy_per_call(found)
    idle = found.choices.get("idle_power_w")
    above = None
    if spent is not None and idle is not None:
        above = max(0.0, spent - idle * timing.of(found).seconds.mid)
    return Pass(
        measurement=found,
        phase=str(found.case.parameters["phase"]),
        sequences=inference.sequences(found),
        seconds=seconds,
        joules=None if spent is None else factor * spent / tokens,
        joules_above=None if above is None else factor * above / tokens,
        joules_per_flop=None if spent is None else spent / found.work.flops,
    )


def fastest(found: tuple[Pass, ...]) -> tuple[Pass, ...]:
    """Of several methods for the same case the fastest."""
    best: dict[tuple[Any, ...], Pass] = {}
    for one in found:
        key = tuple(sorted((name, str(value)) for name, value in one.parameters.items()))
        if key not in best or one.seconds.mid < best[key].seconds.mid:
            best[key] = one
    return tuple(best.values())


def servings(record: RunRecord) -> Iterator[Serving]:
    """Every measured step with the prefill of the same model, storage and prompts.

    With B sequences in flight, B requests cost B prefills and `output_tokens` steps, as in
    `roofline.llm`. The prefill is that of the largest batch, whose cost a token changes little.
    """
    every = fastest(passes(record))
    for step in every:
        if step.phase != "decode":
            continue
        same = ("model", "precision", "kv_precision", "input_tokens")
        fitting = [
            one
            for one in every
            if one.phase == "prefill"
            and all(one.parameters[name] == step.parameters[name] for name in same)
        ]
        if fitting:
            prefill = max(fitting, key=lambda one: one.sequences)
            yield _serving(prefill, step)


def _serving(prefill: Pass, step: Pass) -> Serving:
    output = step.parameters["output_tokens"]
    share = step.sequences / prefill.sequences
    seconds = _sum(prefill.seconds.times(share), step.seconds.times(output))
    joules = None
    if prefill.joules is not None and step.joules is not None:
        # For each token written so many of the prompt were read.
        joules = prefill.joules * step.parameters["input_tokens"] / output + step.joules
    return Serving(prefill, step, seconds.under(step.sequences * output), joules)


def _sum(one: MedianInterval, other: MedianInterval) -> MedianInterval:
    """The sum of two intervals, ends added: as if both were off the same way."""
    return replace(
        one,
        low=one.low + other.low,
        mid=one.mid + other.mid,
        high=one.high + other.high,
        count=min(one.count, other.count),
        confidence=min(one.confidence, other.confidence),
    )


def attentions(record: RunRecord) -> tuple[Measurement, ...]:
    """Every measurement of decode attention alone."""
    return tuple(
        found
        for found in record.measurements
        if found.case.benchmark == "inference"
        and found.case.parameters["phase"] == "attention"
        and found.sound
    )


def limits(record: RunRecord) -> dict[str, float]:
    """The best rates that a record holds of reading memory (B/s, "read") and of products by
    precision (FLOP/s, "fp16"), burst or sustained: what passes are held against.
    """
    best: dict[str, float] = {}
    for found in record.measurements:
        p = found.case.parameters
        if not found.sound:
            continue
        if found.case.benchmark == "bandwidth" and p["pattern"] == "read":
            name, rate = "read", timing.bandwidth(found).mid
        elif found.case.benchmark == "gemm" and p["data"] == "normal":
            name, rate = str(p["precision"]), timing.throughput(found).mid
        else:
            continue
        best[name] = max(best.get(name, 0.0), rate)
    return best


def limit(record: RunRecord) -> float | None:
    """The bytes that a record was made within, where that is less than the part has."""
    text = record.environment.get("memory_limit")
    return float(text) if text else None
