"""What weakens a measurement, each as a fact with its remedy. Pure functions on Measurements.

    cautions = inspect(measurement, Ceilings(bandwidth=device.peak_bandwidth))

A rule looks at one thing and gives a Caution or None. Only "implausible" says that a measurement is
wrong; the others say how far it speaks for the card. Programs test for the codes in CODES.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from gpubench import stats
from gpubench.measuring import timing
from gpubench.measuring.telemetry import THROTTLING, Value, reason_names
from gpubench.measuring.timing import Timing
from gpubench.model import Block, Caution, Measurement
from gpubench.quantities import PEAK_CEILING
from gpubench.units import Quantity, show

CODES: dict[str, str] = {
    "implausible": "faster than the hardware can be; never evidence",
    "throttled": "the card held itself back",
    "clock-fell": "the SM clock fell during the run",
    "noisy": "the interval is wider than asked for",
    "too-short": "too few blocks, or samples, for an interval at 95 %",
    "autocorrelated": "blocks resemble their neighbours, so the interval is wide",
    "drifting": "the times rise or fall throughout",
    "shared": "another process computes on the card or the processor",
    "ecc-off": "error correction is off",
    "ecc-errors": "memory errors that could not be corrected",
    "incomplete": "interrupted before its time",
    "disagreement": "two methods differ",
    "not-steady": "still changing when the warm-up ended",
    "host-bound": "the device may have waited for the host",
    "another-variant": "the device is not the part of that name",
    "unknown-card": "not in the catalogue",
    "left-out": "what this part lacks was not measured",
    "mig-slice": "a slice of a card",
    "not-allocated": "the memory that can be had was not looked for",
    "power-limited": "a power limit below the card's default",
    "link-down": "a link between devices is dead",
    "link-slow": "a link between devices runs slower than the others",
    "link-errors": "links had errors",
    "fabric-not-ready": "the switches between devices are not ready",
    "one-gpu": "links take two devices",
    "slow": "slower than its like in the same fleet",
    "imported": "another tool's figure, without samples",
    "unchecked": "another tool's answers were not checked",
    "other-device": "kept as one of another part than its file names",
    "mixed-devices": "of several parts at once, as another tool's file names them",
    "part-of-model": "some layers were timed, and the whole is scaled from them",
    "fallback": "a kernel of ours does not run here, and torch's stands in for it",
    "no-graph": "launched kernel by kernel, so host time may be in it",
}
"""Every caution's code, and what it says."""


@dataclass(frozen=True)
class Ceilings:
    """What the hardware cannot exceed, in SI: B/s to memory, FLOP/s, B/s over the links one way.

    Give None for what does not apply: a working set that fits the cache may pass the memory's rate.
    """

    bandwidth: float | None = None
    compute: float | None = None
    wire: float | None = None


def inspect(
    measurement: Measurement,
    ceilings: Ceilings | None = None,
    target: float = 0.005,
    card: Mapping[str, Value] | None = None,
) -> tuple[Caution, ...]:
    """All cautions that a measurement by itself gives rise to.

    `target` is the half-width that was asked for, and `card` the readings of one run. A measurement
    without blocks gives only what can be said without them.
    """
    found = list(_of_card(card or {}))
    if measurement.blocks:
        found += implausible(measurement, ceilings or Ceilings())
        found += _of_blocks(measurement)
        found += _of_series(timing.of(measurement), target)
    return (*found, *precision(measurement, target))


def cautioned(measurement: Measurement, cautions: Iterable[Caution]) -> Measurement:
    """The measurement with these cautions beside its own; of one code the newest is kept."""
    kept = {caution.code: caution for caution in (*measurement.cautions, *cautions)}
    return replace(measurement, cautions=tuple(kept.values()))


def implausible(measurement: Measurement, ceilings: Ceilings) -> list[Caution]:
    """A caution for each rate above its ceiling by more than 2 %, the clocks' own tolerance."""
    work, found = measurement.work, []
    for amount, ceiling, unit, what in (
        (work.bytes, ceilings.bandwidth, "B/s", "memory bandwidth"),
        (work.flops, ceilings.compute, "FLOP/s", "compute peak"),
        (work.wire_bytes, ceilings.wire, "B/s", "link bandwidth"),
    ):
        if ceiling is None or amount <= 0:
            continue
        reached = timing.rate(measurement, amount, what).mid
        if reached > ceiling * PEAK_CEILING:
            fact = (
                f"{show(Quantity(reached, unit))} is {reached / ceiling:.0%} of the {what} that "
                f"the hardware can have, {show(Quantity(ceiling, unit))}"
            )
            remedy = "suspect the count of the work, data left in the cache, or kernels that failed"
            found.append(Caution("implausible", fact, remedy))
    return found


def precision(measurement: Measurement, target: float) -> list[Caution]:
    """Whether there is enough to trust the interval: incomplete, too short, noisy."""
    found = []
    if not measurement.complete:
        fact = f"interrupted after {len(measurement.blocks)} blocks"
        found.append(Caution("incomplete", fact, "continue the run with --resume"))
    if not measurement.blocks:
        return found
    quality = timing.of(measurement)
    short = _too_short(measurement, quality, target)
    if short:
        return [*found, short]
    if quality.half_width > target:
        found.append(
            Caution(
                "noisy",
                f"the 95 % interval of the time is ±{100 * quality.half_width:.2g} % wide, where "
                f"±{100 * target:g} % was asked for, after {quality.blocks} blocks",
                "end what else runs on this machine, or choose a longer suite",
            )
        )
    return found


def disagreement(one: Measurement, other: Measurement, most: float = 0.05) -> Caution | None:
    """Whether two methods for the same work differ in time by more than `most`.

    Raises ValueError when one of them has no blocks, or when their work is not the same.
    """
    if one.work != other.work:
        raise ValueError(f"{one.case.method} and {other.case.method} do not do the same work")
    first, second = timing.of(one).seconds.mid, timing.of(other).seconds.mid
    apart = max(first, second) / min(first, second) - 1
    if apart <= most:
        return None
    fast, slow = (one, other) if first < second else (other, one)
    return Caution(
        "disagreement",
        f"{fast.case.method} is {apart:.0%} faster than {slow.case.method} at the same work",
        f"find what {slow.case.method} does more, or what {fast.case.method} leaves out",
    )


# --------------------------------------------------------------------------- the card


def _of_card(card: Mapping[str, Value]) -> Iterator[Caution]:
    if card.get("ecc_mode") == "off":
        yield Caution(
            "ecc-off",
            "error correction of the card's memory is off",
            "turn it on to compare with published figures; cards with GDDR gain speed without it",
        )
    errors = card.get("ecc_uncorrected_errors")
    if isinstance(errors, int) and errors > 0:
        yield Caution(
            "ecc-errors",
            f"{errors} memory errors since the driver was loaded could not be corrected",
            "have the card checked; its results cannot be trusted",
        )


# --------------------------------------------------------------------------- telemetry of blocks

_REMEDIES = {
    0x004: "raise the power limit if its owner allows, or read this as the rate at that power",
    0x008: "check power supply and cooling",
    0x020: "let the card cool, or improve its cooling",
    0x040: "let the card cool, or improve its cooling",
    0x080: "check the power supply of the machine",
}
_CAUSES = {"power": "power", "heat": "thermal", "board": "board", "reliability": "reliability"}
_MOST_CLOCK_FALL = 0.05


def _of_blocks(measurement: Measurement) -> Iterator[Caution]:
    blocks = measurement.blocks
    yield from _throttled(blocks, alone=not measurement.in_turn_with)
    yield from _clock_fell(timing.readings(blocks, "sm_clock_hz"))
    others = timing.readings(blocks, "other_processes")
    if others and max(others) > 0:
        yield Caution(
            "shared",
            f"up to {max(others):.0f} other compute processes were on the card",
            "measure when the card is free",
        )
    waited = timing.waited(blocks)
    if waited > _MOST_WAITING:
        yield Caution(
            "shared",
            f"others had the processor for {waited:.0%} of the time for which its threads were "
            f"ready",
            "measure when the machine is idle",
        )


_MOST_WAITING = 0.05
# Of a quiet machine it was 0.2 to 0.6 %.


def _throttled(blocks: Sequence[Block], alone: bool) -> Iterator[Caution]:
    """By the reasons of each block; what the driver counts is that of all methods in turn."""
    masks = [mask for b in blocks if isinstance(mask := b.telemetry.get("clock_event_mask"), int)]
    holding = [mask & THROTTLING for mask in masks if mask & THROTTLING]
    if not holding:
        return
    every = 0
    for mask in holding:
        every |= mask
    shares = [
        f"{share:.0%} of the time by {cause}"
        for cause, name in _CAUSES.items()
        if alone and (share := timing.held_back(blocks, name))
    ]
    remedies = [remedy for bit, remedy in _REMEDIES.items() if every & bit]
    how_long = f" ({', '.join(shares)})" if shares else ""
    yield Caution(
        "throttled",
        f"the card held itself back in {len(holding)} of {len(masks)} blocks: "
        f"{', '.join(reason_names(every))}{how_long}",
        "; ".join(dict.fromkeys(remedies)) or "see the reason in nvidia-smi -q -d PERFORMANCE",
    )


def _clock_fell(clocks: Sequence[float]) -> Iterator[Caution]:
    """By the medians of the first and last third, three at least: one odd reading tells nothing."""
    third = max(3, len(clocks) // 3)
    if len(clocks) < 2 * third:
        return
    first, last = stats.median(clocks[:third]), stats.median(clocks[-third:])
    if first > 0 and last < (1 - _MOST_CLOCK_FALL) * first:
        before, after = (show(Quantity(hz, "1/s")) for hz in (first, last))
        yield Caution(
            "clock-fell",
            f"the SM clock fell {1 - last / first:.0%} during the run, from {before} to {after}",
            "lock the clock, let the card cool, or read the sustained phase instead",
        )


# --------------------------------------------------------------------------- the series of times

_LEAST_RESOLUTIONS = 100
_DRIFT_P = 0.01


def _too_short(measurement: Measurement, quality: Timing, target: float) -> Caution | None:
    if not quality.seconds.enough and not timing.known(quality.seconds, target):
        return Caution(
            "too-short",
            f"{_blocks(quality, ',')} give an interval at {quality.seconds.confidence:.0%}; "
            f"{stats.LEAST_FOR_95} are needed for 95 %",
            "choose a longer suite or a smaller size",
        )
    sample_s = quality.seconds.mid * measurement.calls_per_sample
    if sample_s < _LEAST_RESOLUTIONS * measurement.resolution_s:
        return Caution(
            "too-short",
            f"a sample lasts {show(Quantity(sample_s, 's'))}, too little for a clock of "
            f"{show(Quantity(measurement.resolution_s, 's'))}",
            "choose a larger size",
        )
    return None


def _blocks(quality: Timing, close: str = "") -> str:
    """ "8 blocks", or "8 blocks, which tell as much as 4 independent ones"; `close` ends that."""
    if quality.independent == quality.blocks:
        return f"{quality.blocks} blocks"
    alone = f"which tell as much as {quality.independent} independent ones"
    return f"{quality.blocks} blocks, {alone}{close}"


def _of_series(quality: Timing, target: float) -> Iterator[Caution]:
    """Dependence and drift, where they matter beside the precision that was asked for."""
    dependent = quality.autocorrelation > 2 / quality.blocks**0.5
    wide, few = quality.half_width > target, not quality.seconds.enough
    if dependent and wide != few:  # both at once are too short
        how = "is as wide as theirs"
        if few:
            how = f"holds them all, at {quality.seconds.confidence:.0%}"
        yield Caution(
            "autocorrelated",
            f"each block resembles the one before (correlation {quality.autocorrelation:.2f}): "
            f"{_blocks(quality)}, and the interval {how}",
            "repeat the run in other processes and compare them with gpubench compare",
        )
    drift = quality.drift
    if drift.p < _DRIFT_P and abs(drift.total) > 2 * target:
        way = "slower" if drift.total > 0 else "faster"
        yield Caution(
            "drifting",
            f"calls became {abs(drift.total):.1%} {way} over {quality.blocks} blocks",
            "measure the sustained phase, or look for what else changes on the machine",
        )
