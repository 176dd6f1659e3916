"""What moved over links, as tables: collectives by size, and pairs of devices as a matrix."""

from __future__ import annotations

from collections.abc import Iterable

from gpubench.benchmarks import collectives
from gpubench.measuring import timing
from gpubench.model import Measurement
from gpubench.records import RunRecord
from gpubench.report import wording
from gpubench.report.table import Table
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
    copied = " (copied)" if p.get("place") == "out" and found.case.method != "nccl-tests" else ""
    return [
        f"{p['collective'].replace('_', '-')}{copied}",
        show(Quantity(p["bytes"], "B")),
        str(p.get("dtype", "")),
        f"{p['ranks']} on {p['hosts']}" if p["hosts"] > 1 else str(p["ranks"]),
        show(Quantity(seconds.mid, "s")),
        wording.spread(seconds),
        show(Quantity(p["bytes"] / seconds.mid, "B/s")),
        show(Quantity(timing.wire_rate(found).mid, "B/s")),
        _by(found),
        ", ".join(caution.code for caution in found.cautions),
    ]


def _by(found: Measurement) -> str:
    """The backend, and the algorithm and protocol where they are known."""
    known = (found.choices.get(name) for name in ("algorithm", "protocol"))
    return " ".join((found.case.method, *(str(word) for word in known if word)))


def _matrix(corner: str, cells: dict[tuple[int, int], str]) -> Table:
    ranks = sorted({rank for pair in cells for rank in pair})
    rows = [[str(one), *(cells.get((one, other), "") for other in ranks)] for one in ranks]
    return Table((corner, *map(str, ranks)), rows)
