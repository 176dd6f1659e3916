"""Ranks that torchrun, Slurm or Open MPI started, on one host or many: each measures its own GPU,
then all measure what joins them, and the first one keeps a record of every host.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gpubench import records
from gpubench.catalogue import Catalogue
from gpubench.comparing import fleet
from gpubench.errors import CannotMeasure, DeviceLost, RecordError
from gpubench.measuring import Device
from gpubench.measuring.group import Group, Place
from gpubench.records import RunRecord
from gpubench.running import beginning, campaign, linking, ranks
from gpubench.running.beginning import Request

Say = Callable[[str], None]


def measured(
    request: Request,
    where: Place,
    catalogue: Catalogue,
    say: Say,
    tick: Say | None,
    end: Say | None = None,
) -> tuple[RunRecord, ...]:
    """A record of every host, saved by rank 0; nothing on the others.

    The GPUs of a host are measured at the same time, as they would work. Each rank saves its own
    record as it goes on; it is removed once rank 0 has saved what all found, and stays when a rank
    is gone. `end` ends the process when its device never answers; see run.execute.

    Raises:
        CannotMeasure: the ranks do not meet, or differ, or a results folder cannot be written.
    """
    if request.resume:
        raise CannotMeasure("ranks cannot continue a record: start them without --resume")
    kind = _kind(request)
    names = ", ".join(request.benchmarks) or "all benchmarks"
    asked = f"{request.suite} suite, seed {request.seed}, {names}"
    if request.memory_limit:
        asked += f", within {request.memory_limit} B of memory"
    device, group = ranks.join(where, kind, asked)
    mine = _Own(request)
    record, device = _begun(replace(request, device=device.torch_name), device, group, catalogue)
    group.together(mine.problem(record))
    tell = say if where.rank == 0 else _silent
    record = _alone(record, device, request, mine, tell, tick, end)
    problem = ""
    try:
        group.wait_long()
        if not request.benchmarks or linking.NAME in request.benchmarks:
            record, problem = _together(record, device, request, group, mine, tell)
    except DeviceLost as error:
        problem = str(error)
        record = replace(record, failures={**record.failures, linking.NAME: problem})
    if problem:
        mine.save(record, record.complete)
        return fleet.merged([(where.host, where.local_rank, record)]) if where.rank == 0 else ()
    return _kept(record, where, group, mine)


def _begun(
    request: Request, device: Device, group: Group, catalogue: Catalogue
) -> tuple[RunRecord, Device]:
    """This rank's new record and its device, with as much memory as it may take: the same in all
    ranks, so that all plan the same.

    Raises:
        CannotMeasure: in all ranks alike.
    """
    record, found, problem = None, None, None
    try:
        record, found = beginning.begun(request, catalogue)
    except CannotMeasure as error:
        problem = error
    group.together(problem)
    assert record is not None
    assert found is not None
    free = min(group.gather(found.memory_free if request.memory_limit else device.memory_free))
    return record, replace(found, memory_free=free)


def _kept(record: RunRecord, where: Place, group: Group, mine: _Own) -> tuple[RunRecord, ...]:
    """The record of every host, saved by rank 0 before the others remove their own."""
    told = group.gather((where.host, where.local_rank, record))
    found: tuple[RunRecord, ...] = ()
    if where.rank == 0:
        found = fleet.marked(fleet.merged(told))
        for each in found:
            records.write(each, mine.request.results)
    group.barrier()
    if where.rank != 0:
        mine.forget()
    group.leave()
    return found


class _Own:
    """This rank's record as it is saved."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self._path: Path | None = None
        self._text = ""

    def problem(self, record: RunRecord) -> CannotMeasure | None:
        """Why the record could not be saved here, if so."""
        try:
            records.check_writable(self.request.results / record.accelerator)
        except RecordError as error:
            return CannotMeasure(str(error))
        return None

    def save(self, record: RunRecord, complete: bool = False) -> None:
        """Save it in place of its earlier state, as incomplete while more is to come.

        Raises CannotMeasure.
        """
        record = replace(record, complete=complete)
        try:
            self._path = records.write(record, self.request.results)
        except RecordError as error:
            raise CannotMeasure(f"{error}; the run ends here") from None
        self._text = records.text(record)

    def forget(self) -> None:
        """Remove it, unless rank 0 has put that of the whole host in its place: a host's record has
        the name of its first rank's, and hosts may share a folder.
        """
        with contextlib.suppress(OSError):
            if self._path and self._path.read_text("utf-8") == self._text:
                self._path.unlink()


def _kind(request: Request) -> str:
    """Where ranks measure: GPUs, unless processors are asked for."""
    if request.device in ("auto", "cuda"):
        return "cuda"
    if request.device == "cpu":
        return "cpu"
    raise CannotMeasure(
        f"each rank has a GPU of its own, so --device {request.device} cannot be asked of all: "
        f"write --device cuda or cpu"
    )


def _silent(_: str) -> None:
    """Rank 0 speaks for all."""


def _alone(
    record: RunRecord,
    device: Device,
    request: Request,
    mine: _Own,
    say: Say,
    tick: Say | None,
    end: Say | None,
) -> RunRecord:
    """The record with this rank's own device. A device that fails is kept as a failure, so that
    the other ranks are told which one it was.
    """
    own = tuple(name for name in request.benchmarks if name != linking.NAME)
    if request.benchmarks and not own:
        return replace(record, complete=True)
    kept = [record]

    def save(state: RunRecord) -> None:
        kept[0] = state
        mine.save(state)

    try:
        kept[0] = beginning.with_allocatable(record, device)
        return campaign.measure_all(kept[0], device, save, say, tick, own, end)
    except CannotMeasure as error:
        failed = {**kept[0].failures, device.torch_name: str(error)}
        return replace(kept[0], failures=failed)


def _together(
    record: RunRecord, device: Device, request: Request, group: Group, mine: _Own, say: Say
) -> tuple[RunRecord, str]:
    """The record with the collectives, kept by the first rank of the first host; and a problem."""
    empty = RunRecord(
        id=records.new_id(),
        created=records.now(),
        accelerator="",
        environment={},
        suite=request.suite,
        seed=request.seed,
        complete=False,
    )
    kept, problem = [record], ""

    def save(state: RunRecord) -> None:
        if group.place.rank == 0:
            every = (*record.measurements, *(m for m in state.measurements if m.complete))
            failures = {**record.failures, **state.failures}
            kept[0] = replace(record, measurements=every, failures=failures)
            mine.save(kept[0])

    joined = replace(device, group=group)
    try:
        campaign.measure_all(empty, joined, save, say, None, (linking.NAME,))
    except DeviceLost as error:
        problem = str(error)
        failures = {**kept[0].failures, linking.NAME: problem}
        kept[0] = replace(kept[0], failures=failures)
    return kept[0], problem
