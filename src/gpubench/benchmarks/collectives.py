"""Collectives over all ranks of a group: what the links between devices carry.

A size is counted as nccl-tests counts it: the whole message of an all-reduce or broadcast, the
gathered side of an all-gather, the side that is scattered of a reduce-scatter, all that a rank
sends in an all-to-all. The bytes on the wire are that size by the factor of the collective
(github.com/NVIDIA/nccl-tests, doc/PERFORMANCE.md), so that a measured wire rate is the bus
bandwidth, whatever the algorithm did. It may pass the rate of a link where the switch reduces.

Repeated in place, a sum would overflow: an all-reduce is checked on numbers, and timed on zeros.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from gpubench.benchmarks import Planned, _hardware
from gpubench.errors import CannotMeasure
from gpubench.measuring import Ceilings, Device, Prepared, faults, import_torch, synchronize
from gpubench.measuring.group import Group, Place, Prospect, broken_group_told
from gpubench.measuring.verify import poison, verify
from gpubench.model import Accelerator, Case, Work
from gpubench.roofline import ceilings as roof
from gpubench.units import Quantity, show

QUANTITY = ""
VERSION = 1

_Result = TypeVar("_Result")

NEEDS_TWO = (
    "collectives need two GPUs, and this host has one: claims about links are judged by what the "
    "driver, the catalogue and the model say"
)
"""The answer on a host with one GPU."""

COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast")
PAIR = "send_recv"
_SUMS = ("all_reduce", "reduce_scatter")

# torch's name of each type, bytes an element, and up to where it holds every whole number.
_TYPES = {
    "fp32": ("float32", 4, 2**24),
    "fp16": ("float16", 2, 2**11),
    "bf16": ("bfloat16", 2, 2**8),
}

_MB, _GB = 2**20, 2**30
_EIGHTHS = tuple(8**power for power in range(1, 11))  # 8 B to 1 GiB
_DOUBLES = tuple(2**power for power in range(3, 35))  # 8 B to 16 GiB
# Sizes by kind of device and suite: of the all-reduce, and of what else is compared at one size.
_LADDERS = {
    ("cuda", "quick"): (_MB, 256 * _MB),
    ("cuda", "standard"): (*_EIGHTHS, 8 * _GB),
    ("cuda", "full"): _DOUBLES,
    ("cpu", "quick"): (_MB,),
    ("cpu", "standard"): (8, 8**4, _MB, 16 * _MB),
    ("cpu", "full"): tuple(size for size in _DOUBLES if size <= 64 * _MB),
}
_LARGE = {"cuda": _GB, "cpu": 16 * _MB}
# Input, output and what checking takes, over the message.
_COPIES = 4


def quantity(case: Case) -> str:
    """Both directions at once between two devices of a switch use all links of each."""
    whole = case.parameters.get("links") == "switch" and case.parameters.get("directions") == 2
    return "interconnect_bandwidth" if whole else ""


def plan(device: Device, suite: str) -> tuple[Planned, ...]:
    """The sweep of all-reduces, the other collectives, and pairs; nothing for a device alone.

    A group that may not reduce in the switch plans the large all-reduces alone.
    """
    return tuple(Planned(case) for case in _wanted(device, suite) if _fits(case, device))


def left_out(device: Device, suite: str) -> tuple[tuple[str, str], ...]:
    """(what, why) of the messages that the suite would send and the free memory does not hold."""
    large = [c.parameters for c in _wanted(device, suite) if not _fits(c, device)]
    told = (f"{p['collective']} of {show(Quantity(float(p['bytes']), 'B'))}" for p in large)
    return _hardware.too_large(device, told)


def _fits(case: Case, device: Device) -> bool:
    return bool(_COPIES * case.parameters["bytes"] <= device.memory_free)


def _wanted(device: Device, suite: str) -> list[Case]:
    """What a suite measures where memory holds all of it."""
    group = device.group
    if group is None:
        return []
    ranks, sweep = group.place.size, "fp32" if device.kind == "cpu" else "bf16"
    large = _LARGE[device.kind]
    found = [_case(group, "all_reduce", size, sweep) for size in _LADDERS[device.kind, suite]]
    if suite != "quick":
        types = [name for name in _TYPES if name != sweep]
        found += [_case(group, "all_reduce", large, name) for name in types]
        found.append(_case(group, "all_reduce", large, sweep, place="out"))
        found += [_case(group, name, large, sweep) for name in COLLECTIVES[1:]]
        links = _links(_hardware.part_of(device))
        for source, target, directions in _pairs(ranks, suite):
            copy: dict[str, Any] = {"source": source, "target": target, "directions": directions}
            found.append(_case(group, PAIR, large, sweep, **copy, links=links))
    return found if group.switch else _without_switch(found, device)


def prospect(device: Device, ranks: int, switch: bool = True) -> Device:
    """The device as one of so many ranks on this host that have not met, to plan for."""
    backend = "gloo" if device.kind == "cpu" else "nccl"
    return replace(device, group=Prospect(Place(0, ranks, 0, ranks, 0, 1), backend, switch))


def _without_switch(planned: list[Case], device: Device) -> list[Case]:
    """The large all-reduces alone, by ranks that may not reduce in the switch; else nothing."""
    if not _reduces_in_switch(device):
        return []
    return [
        replace(case, parameters={**case.parameters, "nvls": "off"})
        for case in planned
        if case.parameters["bytes"] >= _MB
        and (case.parameters.get("place"), case.parameters["dtype"]) == ("in", "bf16")
    ]


def _reduces_in_switch(device: Device) -> bool:
    part = _hardware.part_of(device)
    return part is not None and roof.reduces_in_switch(part)


def _pairs(ranks: int, suite: str) -> Iterator[tuple[int, int, int]]:
    """(source, target, directions) of neighbours, or in the full suite of all pairs: there, back,
    and both ways at once.
    """
    for one, other in itertools.combinations(range(ranks), 2):
        if suite == "full" or other == one + 1:
            yield from ((one, other, 1), (other, one, 1), (one, other, 2))


def ends(parameters: Mapping[str, Any]) -> str:
    """Which ranks a copy joins, in words: "from rank 3 to rank 1", or "between ranks 1 and 3"."""
    source, target = parameters["source"], parameters["target"]
    if parameters["directions"] == 1:
        return f"from rank {source} to rank {target}"
    return f"between ranks {source} and {target}"


def _case(
    group: Group | Prospect, name: str, size: int, dtype: str, place: str = "in", **more: Any
) -> Case:
    where = group.place
    parameters = {
        "collective": name,
        "bytes": _whole(name, size, dtype, where.size),
        "dtype": dtype,
        "ranks": where.size,
        "hosts": where.hosts,
    }
    if name == "all_reduce":
        parameters["place"] = place
    return Case("collectives", group.backend, {**parameters, **more})


def _whole(name: str, size: int, dtype: str, ranks: int) -> int:
    """The size, made to split into equal parts of whole elements where the collective splits it."""
    element = _TYPES[dtype][1]
    unit = element * (ranks if name in ("all_gather", "reduce_scatter", "all_to_all") else 1)
    return max(1, size // unit) * unit


def _links(part: Accelerator | None) -> str:
    """What joins the devices of a host: a switch, which gives two of them all links of each."""
    switched = part is not None and roof.joined_devices(part) >= roof.NODE_DEVICES
    return "switch" if switched else "other"


def linked(case: Case, part: Accelerator) -> Case:
    """A copy between two devices of a host, with what joins those of that part; others as is."""
    p = case.parameters
    if p.get("collective") != PAIR or "source" not in p or p.get("hosts", 1) > 1:
        return case
    return replace(case, parameters={**p, "links": _links(part)})


# --------------------------------------------------------------------------- work and ceilings


def work(parameters: Mapping[str, Any]) -> Work:
    """The bus convention's bytes: size times 2(n-1)/n, (n-1)/n or 1."""
    n, size = parameters["ranks"], float(parameters["bytes"])
    return Work(wire_bytes=size * bus_factor(parameters["collective"], n, parameters))


def bus_factor(collective: str, ranks: int, parameters: Mapping[str, Any] | None = None) -> float:
    """Bus bandwidth over algorithm bandwidth (nccl-tests, doc/PERFORMANCE.md)."""
    if collective == PAIR:
        return float((parameters or {}).get("directions", 1))
    if collective == "broadcast":
        return 1.0
    share = (ranks - 1) / ranks
    return 2 * share if collective == "all_reduce" else share


def ceilings(case: Case, device: Device) -> Ceilings:
    """What the links of one device allow of the bus convention, by any algorithm, on one host.

    A ring is bound by the rate of the links one way. Where a switch reduces, a device sends and
    receives the message and an n-th of it, so an all-reduce takes S(1 + 1/n) over that rate, which
    is the lower bound from three devices on.
    Nothing is known across hosts, without a catalogue entry, or without links.
    """
    part = _hardware.part_of(device)
    return allowed(case, part) if part else Ceilings()


def allowed(case: Case, part: Accelerator) -> Ceilings:
    """As `ceilings`, for a part whether it is here or not."""
    p = case.parameters
    if p["hosts"] > 1 or "interconnect_bandwidth" not in part.figures:
        return Ceilings()
    one_way, ranks = part.value("interconnect_bandwidth") / 2, p["ranks"]
    if p["collective"] == PAIR:
        return Ceilings(wire=one_way * p["directions"])
    if p["collective"] == "all_reduce" and p.get("nvls") != "off" and roof.reduces_in_switch(part):
        switch = one_way * bus_factor("all_reduce", ranks) / (1 + 1 / ranks)
        return Ceilings(wire=max(one_way, switch))
    return Ceilings(wire=one_way)


# --------------------------------------------------------------------------- the calls


@dataclass(frozen=True)
class _Buffers:
    """What a rank sends and receives; one tensor where the collective works in place."""

    send: Any
    receive: Any


def prepare(case: Case, device: Device, seed: int) -> Prepared:
    """Memory filled with numbers whose sums are exact, one collective compared whole.

    Raises:
        CannotMeasure: no group, or a rank is out of memory; in all ranks alike.
        WrongResult: a rank holds a wrong answer; in all ranks alike.
        DeviceLost: a rank ended or hung.
    """
    del seed  # the numbers follow from rank and place alone
    group = device.group
    if not isinstance(group, Group):
        raise CannotMeasure(NEEDS_TWO)
    buffers = _together(group, "preparing", lambda: _allocated(case, device, group))
    call = _call(case, buffers, group)
    with broken_group_told(f"checking {case.parameters['collective']}"):
        call()
        synchronize(device)
    said = _together(group, "checking", lambda: _checked(case, buffers, group))
    said = next(each for each in group.gather(said) if each != _NOTHING)
    if case.parameters["collective"] == "all_reduce":
        buffers.send.zero_()
        buffers.receive.zero_()
    return Prepared(case, VERSION, work(case.parameters), call, said)


def release() -> None:
    """Nothing is kept from case to case."""


def _together(group: Group, doing: str, each: Callable[[], _Result]) -> _Result:
    """The result of a step that every rank takes, unless it fails in any of them."""
    result, problem = None, None
    try:
        with faults.told(doing):
            result = each()
    except CannotMeasure as error:
        problem = error
    group.together(problem)
    assert result is not None
    return result


def _allocated(case: Case, device: Device, group: Group) -> _Buffers:
    torch = import_torch()
    p, rank = case.parameters, group.place.rank
    dtype = getattr(torch, _TYPES[p["dtype"]][0])
    elements = p["bytes"] // _TYPES[p["dtype"]][1]
    sent, received = _lengths(p["collective"], elements, p["ranks"])

    def empty(length: int) -> Any:
        return torch.empty(length, dtype=dtype, device=device.torch_name)

    send = empty(sent)
    for start in range(0, sent, _PIECE):
        stop = min(start + _PIECE, sent)
        send[start:stop] = _numbers(torch, start, stop, rank, case, send.device)
    if p["collective"] == "broadcast" or p.get("place") == "in":
        if p["collective"] == "broadcast" and rank != 0:
            poison(send)
        return _Buffers(send, send)
    receive = empty(received)
    poison(receive)
    return _Buffers(send, receive)


_PIECE = 2**24


def _lengths(collective: str, elements: int, ranks: int) -> tuple[int, int]:
    """(sent, received) elements of a rank."""
    part = elements // ranks
    return {
        "all_gather": (part, elements),
        "reduce_scatter": (elements, part),
    }.get(collective, (elements, elements))


def _numbers(torch: Any, start: int, stop: int, rank: int, case: Case, where: Any) -> Any:
    """The float64 numbers that a rank holds from one place to another: whole, below `_modulus`, and
    without a pattern in place or rank, so that a wrong order, a rank left out or counted twice all
    show.
    """
    mixed = torch.arange(start, stop, dtype=torch.int64, device=where)
    mixed = (mixed * _SPREAD_1 + (rank + 1) * _SPREAD_2) & _31_BITS
    mixed = ((mixed ^ (mixed >> 15)) * _SPREAD_2) & _31_BITS
    mixed = ((mixed ^ (mixed >> 13)) * _SPREAD_1) & _31_BITS
    return ((mixed ^ (mixed >> 16)) % _modulus(case)).double()


# Odd numbers of 32 bits: the golden ratio's (Knuth, vol. 3, 6.4) and its square's.
_SPREAD_1, _SPREAD_2, _31_BITS = 0x9E3779B1, 0x61C88647, 2**31 - 1


def _modulus(case: Case) -> int:
    """Where numbers end: what is only moved may be all that the type holds exactly, and so may the
    sum over all ranks of what is summed.
    """
    exact = _TYPES[case.parameters["dtype"]][2]
    terms = case.parameters["ranks"] if case.parameters["collective"] in _SUMS else 1
    return int(max(2, exact // terms + 1))


def _call(case: Case, buffers: _Buffers, group: Group) -> Callable[[], None]:
    """The barest call: it queues the collective, or on a processor returns when it is done."""
    dist, over = import_torch().distributed, group.data
    name, send, receive = case.parameters["collective"], buffers.send, buffers.receive
    if name == "all_reduce":
        if receive is send:
            return lambda: dist.all_reduce(send, group=over)

        def copied() -> None:
            receive.copy_(send)
            dist.all_reduce(receive, group=over)

        return copied
    if name == "broadcast":
        return lambda: dist.broadcast(send, 0, group=over)
    if name == PAIR:
        return _pair_call(case, buffers, group)
    function = {
        "all_gather": dist.all_gather_into_tensor,
        "reduce_scatter": dist.reduce_scatter_tensor,
        "all_to_all": dist.all_to_all_single,
    }[name]
    return lambda: function(receive, send, group=over)


def _pair_call(case: Case, buffers: _Buffers, group: Group) -> Callable[[], None]:
    """Source to target, or both ways at once; the other ranks have nothing to do."""
    dist, over, rank = import_torch().distributed, group.data, group.place.rank
    ends = (case.parameters["source"], case.parameters["target"])
    if rank not in ends:
        return lambda: None
    other = ends[1] if rank == ends[0] else ends[0]
    both = case.parameters["directions"] == 2
    steps = []
    if both or rank == ends[0]:
        steps.append((dist.isend, buffers.send))
    if both or rank == ends[1]:
        steps.append((dist.irecv, buffers.receive))

    def call() -> None:
        asked = [dist.P2POp(step, tensor, other, group=over) for step, tensor in steps]
        for request in dist.batch_isend_irecv(asked):
            request.wait()

    return call


# --------------------------------------------------------------------------- the answer


def _checked(case: Case, buffers: _Buffers, group: Group) -> str:
    torch, p = import_torch(), case.parameters
    rank, ranks = group.place.rank, p["ranks"]
    if p["collective"] == PAIR and not _receives(p, rank):
        return _NOTHING
    out = buffers.receive
    part = out.numel() // ranks

    def held(by: int, start: int, stop: int) -> Any:
        return _numbers(torch, start, stop, by, case, out.device)

    def summed(start: int, stop: int) -> Any:
        total = held(0, start, stop)
        for by in range(1, ranks):
            total += held(by, start, stop)
        return total

    def expected(piece: slice) -> Any:
        start, stop = piece.start, piece.stop
        name = p["collective"]
        if name == "all_reduce":
            return summed(start, stop)
        if name == "reduce_scatter":
            shift = rank * out.numel()
            return summed(shift + start, shift + stop)
        if name == "broadcast":
            return held(0, start, stop)
        if name == PAIR:
            return held(p["source"] if rank == p["target"] else p["target"], start, stop)
        # Each rank's part in its turn: of all_gather its whole, of all_to_all the part for us.
        shift = rank * part if name == "all_to_all" else 0
        pieces = _by_rank(start, stop, part)
        return torch.cat([held(by, shift + low, shift + high) for by, low, high in pieces])

    terms = ranks if p["collective"] in _SUMS else 1
    exact = terms * (_modulus(case) - 1) <= _TYPES[p["dtype"]][2]
    said = f"{p['collective']} of {p['bytes']} B in {p['dtype']} over {ranks} ranks"
    return verify(out, expected, 0.0 if exact else _ROUNDED, said)


_NOTHING = "nothing is received here"

# With so many ranks that a sum leaves the numbers which the type holds exactly.
_ROUNDED = 1e-2


def _receives(p: Mapping[str, Any], rank: int) -> bool:
    return bool(rank == p["target"] or (rank == p["source"] and p["directions"] == 2))


def _by_rank(start: int, stop: int, part: int) -> Sequence[tuple[int, int, int]]:
    """(rank, from, to) of the parts of one length each that a range of the output touches."""
    return [
        (by, max(start, by * part) - by * part, min(stop, (by + 1) * part) - by * part)
        for by in range(start // part, (stop - 1) // part + 1)
    ]
