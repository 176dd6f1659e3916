"""Ranks that measure together: who they are, how they join, and the clock they share.

Each rank is a process with a device of its own. They talk twice: over gloo, on the host, about what
to do next, and over the backend that is measured (NCCL, RCCL, or gloo on processors). A sample of a
group is that of its slowest rank, since a collective has ended when its last rank has. All ranks
see the same samples and the same time, so each takes the same decisions and none waits alone.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from gpubench import stats
from gpubench.errors import CannotMeasure, DeviceLost
from gpubench.measuring.clock import Call, Clock, HostClock, wait_for_half
from gpubench.measuring.faults import first_line

SWITCH_VARIABLE = "NCCL_NVLS_ENABLE"
"""Set to 0, it keeps NCCL from reducing in the switch (NVLink SHARP)."""

AGAIN_VARIABLE = "GPUBENCH_WITHOUT_SWITCH"
"""Set to 1 for ranks that measure a second time, the large all-reduces without the switch."""

TIMEOUT_S = 60.0
"""How long ranks wait for each other before they give up."""

PATIENCE_S = 1800.0
"""How long they wait while each measures its own device."""


@dataclass(frozen=True)
class Place:
    """Where a rank stands: among all, among those of its host, and its host among hosts."""

    rank: int
    size: int
    local_rank: int
    local_size: int
    host: int
    hosts: int


# What each launcher tells a rank: our names of the fields of Place, in order, by the variable that
# holds each; "" where it does not say.
_LAUNCHERS: dict[str, tuple[str, str, str, str, str, str]] = {
    "torchrun": (
        *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
        *("GROUP_RANK", "GROUP_WORLD_SIZE"),
    ),
    "Slurm": (
        *("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE"),
        *("SLURM_NODEID", "SLURM_STEP_NUM_NODES"),
    ),
    "Open MPI": (
        *("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
        *("OMPI_COMM_WORLD_LOCAL_SIZE", "", ""),
    ),
}


def place(environment: Mapping[str, str] | None = None) -> Place | None:
    """Where torchrun, Slurm or Open MPI put this process; None when nobody started it as a rank.

    Raises:
        CannotMeasure: started as one of several ranks that cannot find each other.
    """
    variables = os.environ if environment is None else environment
    for launcher, names in _LAUNCHERS.items():
        if not all(_number(variables.get(name, "")) is not None for name in names[:3]):
            continue
        rank, size, local_rank, local_size, host, hosts = (
            _number(variables.get(name, "")) for name in names
        )
        assert rank is not None
        assert local_rank is not None
        if not size or size == 1:
            return None
        if not variables.get("MASTER_ADDR"):
            raise CannotMeasure(
                f"{launcher} started {size} ranks, but no MASTER_ADDR tells them where to meet: "
                f"set it to the first host's name (and MASTER_PORT), or start them with torchrun; "
                f"if this process is alone, unset {names[0]} and {names[1]}"
            )
        local_size = local_size or size
        return Place(
            rank=rank,
            size=size,
            local_rank=local_rank,
            local_size=local_size,
            host=rank // local_size if host is None else host,
            hosts=hosts or max(1, size // local_size),
        )
    return None


def _number(text: str) -> int | None:
    """The whole number that a text begins with: Slurm writes "8(x2)" for two hosts of eight."""
    found = re.match(r"\d+", text)
    return int(found[0]) if found else None


# --------------------------------------------------------------------------- the group


@dataclass(frozen=True)
class Prospect:
    """A group that has not met: enough to plan for. `switch`: whether it may reduce there."""

    place: Place
    backend: str
    switch: bool = True


class Group:
    """Ranks that have found each other. `backend` carries the collectives that are measured, and
    `switch` says whether it may reduce in the switch between devices.
    """

    def __init__(
        self, where: Place, backend: str, groups: tuple[Any, Any, Any], torch: Any, switch: bool
    ) -> None:
        control, data, patient = groups
        self.place, self.backend, self.switch = where, backend, switch
        self.data = data
        """torch's process group of `backend`, for the collectives that are measured."""
        self._control, self._patient = control, patient
        self._torch, self._dist = torch, torch.distributed

    def gather(self, mine: Any) -> list[Any]:
        """What every rank hands in, in the order of ranks. Raises DeviceLost."""
        found: list[Any] = [None] * self.place.size
        with broken_group_told("exchanging results"):
            self._dist.all_gather_object(found, mine, group=self._control)
        return found

    def together(self, problem: CannotMeasure | None) -> None:
        """Raise in all ranks what went wrong in any: nobody goes on alone.

        Raises:
            CannotMeasure: of the class that the first rank with a problem met.
        """
        told = self.gather(None if problem is None else (type(problem), str(problem)))
        met = [(rank, *each) for rank, each in enumerate(told) if each is not None]
        if met:
            rank, kind, text = met[0]
            others = f" (and on {len(met) - 1} others)" if len(met) > 1 else ""
            raise kind(f"rank {rank}{others}: {text}")

    def times(self, mine: Sequence[float]) -> list[list[float]]:
        """The seconds of every rank's samples, in the order of ranks. Raises DeviceLost."""
        sent = self._torch.tensor(mine, dtype=self._torch.float64)
        found = [self._torch.empty_like(sent) for _ in range(self.place.size)]
        with broken_group_told("comparing times"):
            self._dist.all_gather(found, sent, group=self._control)
        return [each.tolist() for each in found]

    def of_first(self, mine: float) -> float:
        """Rank 0's number, in every rank. Raises DeviceLost."""
        shared = self._torch.tensor([mine], dtype=self._torch.float64)
        with broken_group_told("agreeing on the time"):
            self._dist.broadcast(shared, 0, group=self._control)
        return float(shared[0])

    def barrier(self) -> None:
        """Wait until every rank is here. Raises DeviceLost."""
        with broken_group_told("waiting for each other"):
            self._dist.barrier(group=self._control)

    def wait_long(self) -> None:
        """Wait for ranks that are still busy with their own device, `PATIENCE_S` at the most.

        Raises:
            DeviceLost: a rank has ended, or is still not there.
        """
        with broken_group_told("waiting for the measurements of each rank"):
            self._dist.barrier(group=self._patient)

    def leave(self) -> None:
        """Part in good order; a group that broke has nothing left to part."""
        with contextlib.suppress(RuntimeError, ValueError, AssertionError):
            self._dist.destroy_process_group()


def join(
    where: Place,
    index: int | None,
    torch: Any,
    asked: str = "",
    timeout_s: float = TIMEOUT_S,
    patience_s: float = PATIENCE_S,
) -> Group:
    """Meet the other ranks; `index` is this rank's GPU, or None on a processor.

    `asked` is what this rank is to do, which must be equal in all.

    Raises:
        CannotMeasure: they do not come, differ in what they run, or share a device.
    """
    dist = torch.distributed
    limit = datetime.timedelta(seconds=timeout_s)
    backend = "gloo" if index is None else "nccl"  # which is RCCL in torch's builds for AMD
    os.environ.setdefault("MASTER_PORT", "29500")
    try:
        dist.init_process_group("gloo", rank=where.rank, world_size=where.size, timeout=limit)
        data = dist.new_group(backend=backend, timeout=limit)
        # Each group has one limit for all that it does, so waiting long takes one of its own.
        patient = dist.new_group(backend="gloo", timeout=datetime.timedelta(seconds=patience_s))
    except (RuntimeError, ValueError, OSError) as error:
        raise CannotMeasure(_not_met(where, error, timeout_s)) from error
    switch = os.environ.get(AGAIN_VARIABLE) != "1"
    group = Group(where, backend, (dist.group.WORLD, data, patient), torch, switch)
    group.together(_differing(where, group.gather(_identity(torch, index, asked))))
    return group


def _identity(torch: Any, index: int | None, asked: str) -> dict[str, str]:
    """What must be equal in all ranks, and the device, which must not."""
    from gpubench import __version__

    hip = getattr(torch.version, "hip", None)
    found = {
        "gpubench": __version__,
        "torch": str(torch.__version__),
        "Python": ".".join(str(part) for part in sys.version_info[:2]),
        SWITCH_VARIABLE: os.environ.get(SWITCH_VARIABLE, "not set"),
        "what is asked for": asked,
    }
    if index is None:
        return {**found, "device": ""}
    version = torch.cuda.nccl.version()
    found["RCCL" if hip else "NCCL"] = ".".join(map(str, version))
    properties = torch.cuda.get_device_properties(index)
    return {**found, "device": str(getattr(properties, "uuid", "") or "")}


def _differing(where: Place, told: Sequence[Mapping[str, str]]) -> CannotMeasure | None:
    """The first thing in which this rank differs from rank 0, or the device it shares."""
    mine, first = told[where.rank], told[0]
    for name, value in first.items():
        if name != "device" and mine.get(name) != value:
            return CannotMeasure(
                f"{name} is {mine.get(name, 'missing')} here and {value} on rank 0: "
                f"install and ask for the same on every host"
            )
    twins = [rank for rank, each in enumerate(told) if each["device"] == mine["device"]]
    if mine["device"] and len(twins) > 1:
        return CannotMeasure(
            f"ranks {' and '.join(map(str, twins))} have the same GPU: start one rank a GPU"
        )
    return None


def _not_met(where: Place, error: Exception, timeout_s: float) -> str:
    text = str(error)
    if "EADDRINUSE" in text or "already in use" in text:
        port = os.environ.get("MASTER_PORT", "")
        return (
            f"port {port} is in use on this host: name a free one with MASTER_PORT, or let "
            f"torchrun choose with --rdzv-endpoint HOST:0"
        )
    return (
        f"rank {where.rank} of {where.size} did not meet the others within {timeout_s:g} s "
        f"({first_line(error)}): are all of them started, and can they reach "
        f"{os.environ.get('MASTER_ADDR', 'MASTER_ADDR')}:{os.environ.get('MASTER_PORT', '')}? "
        f"If this process is alone, unset RANK and WORLD_SIZE"
    )


@contextmanager
def broken_group_told(doing: str) -> Iterator[None]:
    """Raise what torch says of ranks that are gone as DeviceLost."""
    try:
        yield
    except RuntimeError as error:
        raise DeviceLost(
            f"the group of ranks broke while {doing}: a rank ended or hung ({first_line(error)})"
        ) from error


# --------------------------------------------------------------------------- the clock


class GroupClock:
    """A clock whose samples are those of the slowest rank; see Clock.

    `each` is the clock of this rank's own device. `call` must queue the same collective in every
    rank.
    """

    def __init__(self, group: Group, each: Clock) -> None:
        self._group, self._each = group, each
        self.resolution_s, self.most_calls = each.resolution_s, each.most_calls
        self.host_bound = 0.0
        self._seen: list[list[float]] = [[] for _ in range(group.place.size)]

    def now(self) -> float:
        """Rank 0's clock."""
        return self._group.of_first(self._each.now())

    def samples(
        self,
        call: Call,
        calls_per_sample: int,
        count: int,
        meanwhile: Callable[[], None] | None = None,
    ) -> list[float]:
        """The time of one call by the slowest rank, `count` times over; see Clock."""
        self._group.barrier()
        with broken_group_told("measuring a collective"):
            mine = self._each.samples(call, calls_per_sample, count, meanwhile)
        ranks = self._group.times(mine)
        for seen, new in zip(self._seen, ranks, strict=True):
            seen += new
        return [max(each) for each in zip(*ranks, strict=True)]

    def release(self) -> None:
        """Let go of what is kept for the latest call."""
        self._each.release()

    def findings(self) -> dict[str, Any]:
        """The median seconds of every rank over all samples, and which was slowest."""
        medians = [stats.median(seen) for seen in self._seen if seen]
        if not medians:
            return {}
        return {"rank_seconds": medians, "slowest_rank": medians.index(max(medians))}


class EventClock(HostClock):
    """Device events around calls that are launched one by one, as collectives are.

    Ranks must queue the same calls, so nothing is repeated, captured or put off, as `DeviceClock`
    would; launches are part of the time of small messages.
    """

    resolution_s = 0.5e-6
    most_calls = 1000

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        self._call_s = 0.0  # as far as seen

    def samples(
        self,
        call: Call,
        calls_per_sample: int,
        count: int,
        meanwhile: Callable[[], None] | None = None,
    ) -> list[float]:
        """The time of one call, `count` times over; see Clock."""
        events = [self._cuda.Event(enable_timing=True) for _ in range(count + 1)]
        events[0].record()
        for after in events[1:]:
            for _ in range(calls_per_sample):
                call()
            after.record()
        if meanwhile:
            wait_for_half(events, calls_per_sample * self._call_s)
            meanwhile()
        self._cuda.synchronize()
        found = [
            before.elapsed_time(after) * 1e-3 / calls_per_sample
            for before, after in pairwise(events)
        ]
        self._call_s = stats.median(found)
        return found
