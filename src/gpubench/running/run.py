"""Plan, measure, save, judge: one run from claims to a record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from gpubench import claims, records
from gpubench.benchmarks import collectives
from gpubench.catalogue import Catalogue
from gpubench.claims import ClaimsFile
from gpubench.errors import CannotMeasure, RecordError
from gpubench.judging import judgement
from gpubench.judging.judgement import Judgement
from gpubench.measuring import Device, HostClock, group
from gpubench.records import RunRecord
from gpubench.running import beginning, campaign, joining, linking
from gpubench.running.beginning import Request

__all__ = ["Request", "RunResult", "execute", "planned"]


@dataclass(frozen=True)
class RunResult:
    """What a run left behind: its record, or those of all hosts, the first one's beside it."""

    record: RunRecord
    record_path: Path
    judgement: Judgement
    others: tuple[Path, ...] = ()
    hosts: tuple[RunRecord, ...] = ()


Say = Callable[[str], None]


def execute(
    request: Request,
    catalogue: Catalogue,
    say: Say = lambda _: None,
    tick: Say | None = None,
    end: Say | None = None,
) -> RunResult | None:
    """Measure on the device, if there is one, judge the claims file, and save the record.

    Of ranks that were started together only the first has a result.

    `say` is told of each case that is measured, `tick` of its progress. `end` is to end the process
    when the device never answers again; it is called from another thread, with a sentence.

    Raises:
        CannotMeasure: a device is named that cannot be measured, or it was lost on the way.
        ClaimsError, UnknownName, RecordError: the file, a name or the results folder is bad.
        KeyboardInterrupt: interrupted; what was measured is saved.
    """
    file = claims.load(request.claims, catalogue)
    judgement.check_names(file, request.only)
    where = group.place() if request.device != "none" else None
    if where and request.time_limit_s:
        raise CannotMeasure("ranks measure together to the end: leave out --time-limit")
    if where:
        found = joining.measured(request, where, catalogue, say, tick, end)
        return _kept(found, file, request, catalogue) if found else None
    request = beginning.continued(request)
    record, device = beginning.begun(request, catalogue)
    records.check_writable(request.results / record.accelerator)
    if device:
        if linking.wanted(request, device):
            linking.ranks(request, device)  # too many are refused before anything is measured
        record = _measured(
            beginning.with_allocatable(record, device), device, request, say, tick, end
        )
    return _kept((record,), file, request, catalogue)


def _kept(
    found: tuple[RunRecord, ...], file: ClaimsFile, request: Request, catalogue: Catalogue
) -> RunResult:
    """The records, judged together and saved."""
    judged = judgement.judge_all(file, catalogue, request.only, found)
    verdicts = {
        v.claim: f"{v.outcome} ({v.basis})" if v.basis else v.outcome for v in judged.verdicts
    }
    named = tuple(
        replace(
            record,
            claims_file=request.claims.name,
            claims_sha256=file.sha256,
            verdicts=verdicts,
        )
        for record in found
    )
    first, *others = [records.write(record, request.results) for record in named]
    return RunResult(named[0], first, judged, tuple(others), named)


def planned(request: Request, catalogue: Catalogue) -> tuple[tuple[campaign.Step, ...], str]:
    """What a run would measure, and what it leaves out and why; both empty without a device.

    Raises:
        CannotMeasure: a device is named that cannot be measured.
        RecordError: there is no record to continue, or nothing left of it.
    """
    request = beginning.continued(request)
    record, device = beginning.begun(request, catalogue)
    if device is None:
        return (), ""
    own, suite = _own(request), record.suite
    steps: tuple[campaign.Step, ...] = ()
    left_out = ""
    if own or not request.benchmarks:
        steps = campaign.steps(device, suite, own, record)
        left_out = campaign.left_out(device, suite, own)
    if linking.wanted(request, device):
        links = _links(request, device, suite)
        steps += tuple(step for step in links if linking.missing(record, [step.planned]))
        joined = collectives.prospect(device, linking.ranks(request, device))
        why = campaign.left_out(joined, suite, (linking.NAME,)) if links else collectives.NEEDS_TWO
        left_out = "; ".join(filter(None, (left_out, why)))
    if not steps and not left_out and record.measurements:
        left_out = "all of it is measured"
    return steps, left_out


def _links(request: Request, device: Device, suite: str) -> tuple[campaign.Step, ...]:
    """What ranks measure, with and without the switch; nothing for one rank."""
    count = linking.ranks(request, device)
    found: tuple[campaign.Step, ...] = ()
    for switch in linking.switches() if count > 1 else ():
        joined = collectives.prospect(device, count, switch)
        if switch or collectives.plan(joined, suite):
            found += campaign.steps(joined, suite, (linking.NAME,))
    return found


def _links_most_s(record: RunRecord, device: Device, request: Request) -> float:
    """How long the collectives that a record lacks may take by plan."""
    if not linking.wanted(request, device):
        return 0.0
    steps = _links(request, device, record.suite)
    return sum(step.most_s for step in steps if linking.missing(record, [step.planned]))


def _finished(record: RunRecord, device: Device, request: Request) -> bool:
    """Whether a record holds all that it was asked for, by this run and by those it continues."""
    whole = replace(request, benchmarks=record.asked.benchmarks)
    own = _own(whole)
    try:
        if (own or not whole.benchmarks) and campaign.steps(device, record.suite, own, record):
            return False
    except CannotMeasure:  # a benchmark that nobody asked for now has no memory left to be planned
        return False
    linked = linking.wanted(request, device) or not linking.wanted(whole, device)
    # Ranks plan by the memory that the fullest device has left, which is theirs to know.
    return linked or not any(
        linking.missing(record, [step.planned]) for step in _links(whole, device, record.suite)
    )


def _own(request: Request) -> tuple[str, ...]:
    """The benchmarks asked for that one process measures on one device."""
    return tuple(name for name in request.benchmarks if name != linking.NAME)


def _measured(
    record: RunRecord,
    device: Device,
    request: Request,
    say: Say,
    tick: Say | None,
    end: Say | None,
) -> RunRecord:
    """The record with every case of its suite, saved; a run cut short says how to go on."""
    saving = _Saving(request, bool(record.measurements))
    go_on = f"continue with --resume {record.id}"

    def leave(why: str) -> None:
        if end:
            end(f"{why}; {go_on}")

    try:
        at_end = leave if end else None
        record = _all_asked(record, device, request, saving.save, say, tick, at_end)
        saving.save(record, record.complete)
    except (KeyboardInterrupt, SystemExit, CannotMeasure):
        if saving.saved:
            say(f"what was measured is kept; {go_on}")
        raise
    if not record.complete:
        say(f"what was measured is kept; {go_on}")
    return record


@dataclass
class _Saving:
    """A record as it is saved: as incomplete, until somebody knows better."""

    request: Request
    saved: bool

    def save(self, record: RunRecord, complete: bool = False) -> None:
        """Save it in place of its earlier state. Raises CannotMeasure."""
        try:
            records.write(replace(record, complete=complete), self.request.results)
        except RecordError as error:
            raise CannotMeasure(f"{error}; the run ends here") from None
        self.saved = True


def _all_asked(
    record: RunRecord,
    device: Device,
    request: Request,
    save: Callable[[RunRecord], None],
    say: Say,
    tick: Say | None,
    end: Say | None,
) -> RunRecord:
    """The record with what one process measures, and then with what ranks do.

    Ranks are not started for what by plan may outlast the time limit.
    """
    own, limit, now = _own(request), request.time_limit_s, HostClock().now
    ends = now() + limit
    if own or not request.benchmarks:
        record = campaign.measure_all(record, device, save, say, tick, own, end, limit)
        if not record.complete:
            return record
    needed_s = _links_most_s(record, device, request) if limit else 0.0
    if needed_s and now() + needed_s > ends:
        say("time is up, and the collectives are left")
        return replace(record, complete=False)
    record = linking.with_links(record, device, request, say, save)
    return replace(record, complete=_finished(record, device, request))
