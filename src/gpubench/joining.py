"""Ranks that torchrun, Slurm or Open MPI started, on one host or many: each measures its own GPU,
then all measure what joins them, and the first one keeps a record of every host.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gpubench import beginning, campaign, fleet, linking, ranks, records
from gpubench.beginning import Request
from gpubench.catalogue import Catalogue
from gpubench.errors import CannotMeasure, DeviceLost
from gpubench.measuring import Device
from gpubench.measuring.group import Group, Place
from gpubench.records import RunRecord

Say = Callable[[str], None]


def measured(
    request: Request, where: Place, catalogue: Catalogue, say: Say, tick: Say | None
) -> tuple[RunRecord, ...]:
    """A record of every host, on rank 0; nothing on the others.

    The GPUs of a host are measured at the same time, as they would work.

    Raises:
        CannotMeasure: the ranks do not meet, or one is gone; what rank 0 had is saved.
    """
    if request.resume:
        raise CannotMeasure("ranks cannot continue a record: start them without --resume")
    kind = _kind(request)
    device, group = ranks.join(where, kind)
    record, _ = beginning.begun(replace(request, device=device.torch_name), catalogue)
    tell = say if where.rank == 0 else _silent
    record = _alone(record, device, request, group, tell, tick)
    problem = ""
    if not request.benchmarks or linking.NAME in request.benchmarks:
        record, problem = _together(record, device, request, group, tell)
    found = group.gather((where.host, where.local_rank, record)) if not problem else None
    group.leave()
    if where.rank != 0:
        return ()
    told = [(where.host, where.local_rank, record)] if found is None else found
    return fleet.marked(fleet.merged(told))


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
    group: Group,
    say: Say,
    tick: Say | None,
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

    try:
        record = campaign.measure_all(record, device, save, say, tick, own)
    except CannotMeasure as error:
        failed = {**kept[0].failures, device.torch_name: str(error)}
        record = replace(kept[0], failures=failed)
    group.wait_long()
    return record


def _together(
    record: RunRecord, device: Device, request: Request, group: Group, say: Say
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
    kept, problem = [empty], ""

    def save(state: RunRecord) -> None:
        kept[0] = state

    joined = replace(device, group=group)
    try:
        campaign.measure_all(empty, joined, save, say, None, (linking.NAME,))
    except DeviceLost as error:
        problem = str(error)
    if group.place.rank != 0:
        return record, problem
    failures = {**record.failures, **kept[0].failures}
    if problem:
        failures[linking.NAME] = problem
    every = (*record.measurements, *(m for m in kept[0].measurements if m.complete))
    return replace(record, measurements=every, failures=failures), problem
