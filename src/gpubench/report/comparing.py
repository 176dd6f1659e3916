"""Records side by side, as tables: two of them, a fleet, one machine over time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gpubench import fleet
from gpubench.comparison import Difference, Pair, Refused
from gpubench.report import wording
from gpubench.report.table import Table
from gpubench.units import Quantity, show


def difference_table(differences: Iterable[Difference]) -> Table:
    """What is not equal in two environments."""
    rows = [
        [one.name.replace("_", " "), one.first or "–", one.second or "–"] for one in differences
    ]
    return Table(("environment", "first", "second"), rows)


def comparison_table(pairs: Iterable[Pair]) -> Table:
    """Two records, case by case."""
    rows = [
        [
            pair.name,
            f"{show(Quantity(pair.first.mid, 's'))} ±{wording.spread(pair.first)}",
            f"{show(Quantity(pair.second.mid, 's'))} ±{wording.spread(pair.second)}",
            f"{100 * pair.faster:+.2f} %",
            f"{pair.ratio[0]:.3f} to {pair.ratio[2]:.3f}",
            pair.outcome(),
        ]
        for pair in pairs
    ]
    return Table(("case", "first", "second", "faster", "ratio of rates", "the second is"), rows)


def company(pairs: Sequence[Pair]) -> list[str]:
    """In how many cases of each record others used the machine, and what they did in one."""
    told = []
    for which, name in enumerate(("first", "second")):
        if taken := [pair for pair in pairs if pair.company[which]]:
            told.append(
                f"Others used the machine in {len(taken)} of {len(pairs)} cases of the {name}, as "
                f"in {taken[0].name}: {taken[0].company[which]}."
            )
    return told


def refused_table(refused: Iterable[Refused]) -> Table:
    """What was not compared, and why."""
    return Table(("not compared", "why"), [[one.name, one.why] for one in refused])


def fleet_table(standings: Iterable[fleet.Standing]) -> Table:
    """Each record beside the median of all, the slowest first."""
    rows = [
        [
            fleet.name(each.record),
            each.record.device,
            each.record.id,
            str(each.cases),
            f"{each.median:.1%}" if each.cases else "",
            f"{each.least:.1%}" if each.cases else "",
            each.case,
        ]
        for each in standings
    ]
    head = ("host", "device", "record", "cases", "rate over median", "at the least", "in")
    return Table(head, rows, keep=("record",))


def history_table(steps: Iterable[fleet.Step]) -> Table:
    """One case of one machine over time."""
    rows = [
        [
            step.case,
            str(step.count),
            show(Quantity(step.first, step.unit)),
            show(Quantity(step.last, step.unit)),
            f"{100 * (step.last / step.before - 1):+.2f} %",
            f"{100 * (step.last / step.best - 1):+.2f} %",
        ]
        for step in steps
    ]
    head = ("case", "records", "first", "newest", "against the one before", "against the best")
    return Table(head, rows)
