"""What a rank does: meet the others, measure with them; the first one keeps the record."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gpubench import catalogue, measuring, records
from gpubench.benchmarks import collectives
from gpubench.errors import CannotMeasure, DeviceLost
from gpubench.measuring import Device, group
from gpubench.measuring.group import Group, Place
from gpubench.records import RunRecord
from gpubench.running import campaign
from gpubench.running.launching import BEFORE, RECORD

Say = Callable[[str], None]


def join(where: Place, kind: str, asked: str) -> tuple[Device, Group]:
    """This rank's device, and the group it has joined; the device does not hold the group.

    Its free memory is the least of all ranks', so that all plan the same.

    Args:
        kind: "cpu", or "cuda" for the GPU with the rank's number on its host.
        asked: what all ranks must have been asked for alike.

    Raises:
        CannotMeasure: no such device, or the others do not come, differ, or share a device.
    """
    torch = measuring.import_torch()
    number = where.local_rank
    if kind == "cuda" and number >= (there := torch.cuda.device_count()):
        if there != 1:
            raise CannotMeasure(
                f"rank {where.rank} is number {number} on a host with {there} GPUs: "
                f"start one rank a GPU"
            )
        number = 0  # a scheduler that shows each rank its own GPU alone
    found = measuring.find(
        "cpu" if kind == "cpu" else f"cuda:{number}", catalogue.load().accelerator
    )
    assert found is not None
    if kind == "cuda":
        torch.cuda.set_device(found.index)
    joined = group.join(where, found.index if kind == "cuda" else None, torch, asked)
    return replace(found, memory_free=min(joined.gather(found.memory_free))), joined


def measure(
    where: Place, kind: str, suite: str, seed: int, folder: Path, once: bool, say: Say
) -> None:
    """Measure the collectives of a suite; rank 0 leaves the record in the folder.

    Args:
        once: run each collective once and time nothing, for the library to say how it goes about.

    Raises:
        CannotMeasure: of a class that says why; in all ranks alike, or where a rank is gone.
    """
    device, joined = join(where, kind, f"{suite} suite, seed {seed}")
    device = replace(device, group=joined)
    record = RunRecord(
        id=records.new_id(),
        created=records.now(),
        accelerator=device.accelerator or "",
        environment={},
        suite=suite,
        seed=seed,
        complete=False,
    )
    if (before := folder / BEFORE).exists():  # what need not be measured again
        record = replace(record, measurements=records.read(before).measurements)

    def save(state: RunRecord) -> None:
        if where.rank == 0:
            records.write_text(folder / RECORD, records.text(state))

    def tell(text: str) -> None:
        if where.rank == 0:
            say(text)

    if once:
        for planned in collectives.plan(device, suite):
            collectives.prepare(planned.case, device, seed)
        save(replace(record, complete=True))
    else:
        campaign.measure_all(record, device, save, tell, only=("collectives",))
    with contextlib.suppress(DeviceLost):  # all is saved: a peer that is gone by now was done
        joined.barrier()
