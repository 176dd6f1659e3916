"""Acceptance of a machine, as a table and the lines around it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from gpubench.comparing import acceptance
from gpubench.comparing.acceptance import Check
from gpubench.invisible import shown
from gpubench.model import Accelerator
from gpubench.records import RunRecord
from gpubench.report import wording
from gpubench.report.rates import kernel
from gpubench.report.table import Table
from gpubench.units import Quantity, show


def title(part: Accelerator, records: Sequence[RunRecord]) -> str:
    """What is accepted, and by which records."""
    if not records:
        return f"{part.name}: what it has to reach\n"
    ids = ", ".join(record.id for record in records)
    host = next((r.environment["hostname"] for r in records if r.environment.get("hostname")), "")
    return f"{part.name}{f' in {host}' if host else ''}, by record {ids}\n"


def table(checks: Iterable[Check]) -> Table:
    """Each figure with the least rate and the one measured."""
    rows = []
    for check in checks:
        unit = acceptance.unit(check.figure)
        found, how = "–", ""
        if check.rate and check.found:
            found = wording.with_spread(show(Quantity(check.rate.mid, unit)), check.rate)
            how = f"{kernel(check.found.case)}, {check.found.case.method}, {check.found.phase}"
            how += f"; {check.worst_of}" if check.worst_of else ""
        least = show(Quantity(check.least.rate, unit))
        name = check.figure.replace("_", " ")
        rows.append([name, check.outcome, found, f"at least {least}", how, check.least.because])
    head = ("figure", "outcome", "found", "needed", "by", "because")
    return Table(head, rows)


def needs(checks: Iterable[Check]) -> Table:
    """Each figure with the least rate alone, before anything was measured."""
    rows = []
    for check in checks:
        least = show(Quantity(check.least.rate, acceptance.unit(check.figure)))
        rows.append([check.figure.replace("_", " "), f"at least {least}", check.least.because])
    return Table(("figure", "needed", "because"), rows)


def remarks(records: Sequence[RunRecord], checks: Sequence[Check]) -> Iterator[str]:
    """What to know beside the table, and the sum of it."""
    facts = [caution.fact for record in records for caution in record.cautions]
    facts += [f"{check.figure.replace('_', ' ')}: {f}" for check in checks for f in check.cautions]
    facts += [f"{case}: {why}" for record in records for case, why in record.failures.items()]
    if facts:
        yield ""
        yield from (f"- {shown(fact)}" for fact in dict.fromkeys(facts))
    if not records:
        return
    yield ""
    counts = Counter(check.outcome for check in checks)
    judged = counts.total() - counts["not measured"]
    rest = ", ".join(f"{n} {name}" for name, n in counts.items() if name != "pass")
    total = f"{counts['pass']} of {wording.counted(judged, 'figure')} measured pass"
    if not judged:
        total, rest = "None of these figures was measured, so nothing is accepted", ""
    wrong = acceptance.wrong_answers(records)
    if wrong:
        total += f", and {wording.counted(len(wrong), 'wrong answer')} came out, which fails"
    yield f"{total} ({rest})." if rest else f"{total}."
