"""Records side by side, as tables: two of them, a fleet, one machine over time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gpubench import benchmarks
from gpubench.comparing import fleet
from gpubench.comparing.beside import Beside
from gpubench.comparing.comparison import Difference, Pair, Refused
from gpubench.model import Measurement
from gpubench.report import wording
from gpubench.report.table import Table
from gpubench.units import Quantity, between, show


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
            wording.with_spread(show(Quantity(pair.first.mid, "s")), pair.first),
            wording.with_spread(show(Quantity(pair.second.mid, "s")), pair.second),
            f"{100 * pair.faster:+.2f} %",
            f"{pair.ratio[0]:.3f} to {pair.ratio[2]:.3f}",
            pair.outcome(),
        ]
        for pair in pairs
    ]
    return Table(("case", "first", "second", "faster", "ratio of rates", "the second is"), rows)


def beside_table(pairs: Iterable[Beside], tools: tuple[str, str]) -> Table:
    """What two tools measured, figure by figure, the fastest of each."""
    rows = [
        [
            pair.what,
            _fastest(pair.first, tools[0]),
            _fastest(pair.second, tools[1]),
            f"{pair.ratio[1]:.3f}",
            between(f"{pair.ratio[0]:.3f}", f"{pair.ratio[2]:.3f}"),
        ]
        for pair in pairs
    ]
    over = f"{tools[1]} over {tools[0]}"
    return Table(("figure", *tools, over, "by the intervals"), rows)


def beside_cautions(pairs: Iterable[Beside], tools: tuple[str, str]) -> list[str]:
    """What weakens the figures that stand side by side, but for what is so of all of a tool's."""
    return [
        f"{pair.what} of {tool}: {caution.fact}"
        for pair in pairs
        for tool, found in zip(tools, (pair.first, pair.second), strict=True)
        for caution in found.cautions
        if caution.code != "imported"
    ]


def _fastest(found: Measurement, tool: str) -> str:
    """ "4.05 TB/s (triton, 8.59 GB a call)"; a tool that has one method is not named again."""
    rate = show(Quantity(benchmarks.rate(found).mid, benchmarks.unit(found.case)))
    size = show(Quantity(found.work.bytes or found.work.wire_bytes, "B"))
    method = "" if found.case.method == tool else f"{found.case.method}, "
    return f"{rate} ({method}{size} a call)"


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
