"""What moved over links, as tables: collectives by size, and pairs of devices as a matrix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean

from gpubench.benchmarks import collectives
from gpubench.measuring import timing
from gpubench.model import Measurement
from gpubench.records import RunRecord
from gpubench.report import wording
from gpubench.report.table import Table
from gpubench.roofline import latency_bandwidth
from gpubench.units import Quantity, show


def collective_table(record: RunRecord) -> Table:
    """Each collective: message, time of the slowest rank, algorithm and bus bandwidth."""
    rows = [
        _collective(found)
        for found in _of_links(record)
        if found.case.parameters["collective"] != collectives.PAIR
    ]
    head = ("collective", "message", "type", "ranks", "time", "±", "algorithm rate", "bus rate")
    return Table((*head, "by", "cautions"), rows)


def sweep_table(record: RunRecord) -> Table:
    """What lies behind each sweep over sizes: latency, rate of a huge message, how far off.

    A sweep is three sizes or more that differ in nothing else. The transition of the fit, by which
    middle sizes take longer, is in no column of its own.
    """
    sweeps: dict[tuple[object, ...], list[Measurement]] = {}
    for found in _of_links(record):
        p = found.case.parameters
        if p["collective"] != collectives.PAIR and found.sound:
            same = tuple(sorted((name, p[name]) for name in p if name != "bytes"))
            sweeps.setdefault((found.case.method, same), []).append(found)
    rows = [
        _sweep(found)
        for found in sweeps.values()
        if len({one.case.parameters["bytes"] for one in found}) >= _SWEEP
    ]
    head = ("collective", "type", "ranks", "sizes", "latency", "bus rate of a huge message")
    return Table((*head, "the fit is off by", "at the most"), rows)


_SWEEP = 3


def _sweep(found: Sequence[Measurement]) -> list[str]:
    points = [
        (float(one.case.parameters["bytes"]), timing.of(one).seconds.mid)
        for one in sorted(found, key=lambda one: one.case.parameters["bytes"])
    ]
    fitted, p = latency_bandwidth.fit(points), found[0].case.parameters
    off = [abs(fitted.seconds(size) / seconds - 1) for size, seconds in points]
    rate = fitted.rate * collectives.bus_factor(p["collective"], p["ranks"])
    return [
        _name(found[0]),
        str(p.get("dtype", "")),
        _ranks(found[0]),
        str(len(points)),
        show(Quantity(fitted.latency_s, "s")),
        show(Quantity(rate, "B/s")),
        f"{100 * fmean(off):.1f} %",
        f"{100 * max(off):.0f} %",
    ]


def pair_tables(record: RunRecord) -> tuple[tuple[str, Table], ...]:
    """(title, rates between ranks) for each size and direction that was measured."""
    kinds: dict[tuple[str, str], dict[tuple[int, int], str]] = {}
    for found in _of_links(record):
        p = found.case.parameters
        if p["collective"] != collectives.PAIR or "source" not in p:
            continue
        alone = p["directions"] == 1
        ways = "one direction" if alone else "both directions at once"
        title = f"Copies of {show(Quantity(p['bytes'], 'B'))} between ranks, {ways}"
        rate = show(Quantity(timing.wire_rate(found).mid, "B/s"))
        corner = "from \\ to" if alone else "between"
        kinds.setdefault((title, corner), {})[p["source"], p["target"]] = rate
    return tuple((title, _matrix(corner, cells)) for (title, corner), cells in kinds.items())


def imported_table(record: RunRecord) -> Table:
    """What another tool measured, as it stands in the record."""
    rows = []
    for found in record.measurements:
        seconds = timing.of(found).seconds.mid
        amount = found.work.bytes or found.work.wire_bytes
        said = (f"{name} {value}" for name, value in found.case.parameters.items())
        rate = show(Quantity(amount / seconds, "B/s")) if amount else ""
        rows.append([found.case.benchmark, ", ".join(said), show(Quantity(seconds, "s")), rate])
    return Table(("benchmark", "case", "time", "rate"), rows)


def _of_links(record: RunRecord) -> Iterable[Measurement]:
    return (
        found
        for found in record.measurements
        if found.blocks and found.case.benchmark == "collectives"
    )


def _collective(found: Measurement) -> list[str]:
    p, seconds = found.case.parameters, timing.of(found).seconds
    return [
        _name(found),
        show(Quantity(p["bytes"], "B")),
        str(p.get("dtype", "")),
        _ranks(found),
        show(Quantity(seconds.mid, "s")),
        wording.spread(seconds),
        show(Quantity(p["bytes"] / seconds.mid, "B/s")),
        show(Quantity(timing.wire_rate(found).mid, "B/s")),
        _by(found),
        ", ".join(caution.code for caution in found.cautions),
    ]


def _name(found: Measurement) -> str:
    p = found.case.parameters
    copied = " (copied)" if p.get("place") == "out" and found.case.method != "nccl-tests" else ""
    return f"{p['collective'].replace('_', '-')}{copied}"


def _ranks(found: Measurement) -> str:
    p = found.case.parameters
    return f"{p['ranks']} on {p['hosts']}" if p["hosts"] > 1 else str(p["ranks"])


def _by(found: Measurement) -> str:
    """The backend, and the algorithm and protocol where they are known."""
    known = (found.choices.get(name) for name in ("algorithm", "protocol"))
    return " ".join((found.case.method, *(str(word) for word in known if word)))


def _matrix(corner: str, cells: dict[tuple[int, int], str]) -> Table:
    ranks = sorted({rank for pair in cells for rank in pair})
    rows = [[str(one), *(cells.get((one, other), "") for other in ranks)] for one in ranks]
    return Table((corner, *map(str, ranks)), rows)
