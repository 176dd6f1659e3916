"""Which records tell how a machine is at present: the newest of every card, tool and topic, and
what failed and was not measured since.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from gpubench import records
from gpubench.comparing import index
from gpubench.comparing.index import Entry
from gpubench.records import RunRecord


def present(entries: Sequence[Entry]) -> tuple[RunRecord, ...]:
    """The records of one part on one host that tell how it is, out of all that there are.

    Raises:
        RecordError: a file among the records is none.
    """
    here = _since_all_at_once(entries)
    found = index.newest((entry for entry in here if entry.complete), each_card=True)
    return (*found, *_failures_since(here, found))


def tells(entry: Entry) -> bool:
    """Whether a record tells anything of a whole card of one part."""
    whole = not (entry.piece or entry.mixed or entry.problem)
    return whole and bool(entry.failures or (entry.complete and entry.cases))


def _since_all_at_once(entries: Sequence[Entry]) -> list[Entry]:
    """Without what single cards were before all of the host were measured together."""
    together = (e.created for e in entries if e.complete and e.cases and not (e.tool or e.gpu))
    since = max(together, default="")
    return [e for e in entries if e.tool or not e.gpu or e.created >= since]


def _failures_since(here: Sequence[Entry], found: Sequence[RunRecord]) -> Iterator[RunRecord]:
    """What failed in other records, as far as nothing newer was measured of it."""
    taken = {record.id for record in found}
    measured: dict[tuple[str, str, str], str] = {}
    for entry in here:
        for topic in entry.topics if entry.complete else ():
            key = topic, entry.tool, entry.gpu
            measured[key] = max(measured.get(key, ""), entry.created)
    for entry in here:
        if not entry.failures or entry.id in taken:
            continue
        record = records.read(Path(entry.path))
        left = {
            case: why
            for case, why in record.failures.items()
            if measured.get((index.topic_of(case), entry.tool, entry.gpu), "") <= entry.created
        }
        if left:
            yield replace(record, measurements=(), failures=left)
