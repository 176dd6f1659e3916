"""The links of this host, measured by a rank on each of its GPUs and added to its record."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gpubench import measuring
from gpubench.benchmarks import Planned, collectives
from gpubench.errors import CannotMeasure
from gpubench.measuring import Device, group, nccl_log
from gpubench.model import Caution, Measurement
from gpubench.records import RunRecord, case_key
from gpubench.running import launching
from gpubench.running.beginning import Request
from gpubench.running.launching import Gathered

Say = Callable[[str], None]

NAME = "collectives"

_HOST_RANKS = 2
# On a processor, where gloo stands in for what GPUs would use.

_Launch = Callable[..., Gathered]
_Save = Callable[[RunRecord], None]


def wanted(request: Request, device: Device) -> bool:
    """Whether collectives are to be measured. A quick look at a processor leaves them out."""
    if request.benchmarks:
        return NAME in request.benchmarks
    return device.kind == "cuda" or request.suite != "quick" or request.ranks > 0


def ranks(request: Request, device: Device) -> int:
    """How many ranks there are to be: as asked, or one on each GPU of this host.

    Raises:
        CannotMeasure: more are asked for than there are GPUs.
    """
    if device.kind == "cpu":
        return request.ranks or _HOST_RANKS
    there = int(measuring.import_torch().cuda.device_count())
    if request.ranks > there:
        raise CannotMeasure(
            f"{request.ranks} ranks need as many GPUs, and this host has {there}: a GPU cannot "
            f"serve two ranks"
        )
    return request.ranks or there


def switches() -> tuple[bool, ...]:
    """Whether the switch may reduce, in the order of measuring: yes, then no.

    Where whoever started this process keeps NCCL from the switch, once is enough.
    """
    return (True,) if os.environ.get(group.SWITCH_VARIABLE) == "0" else (True, False)


def with_links(
    record: RunRecord,
    device: Device,
    request: Request,
    say: Say,
    save: _Save = lambda _: None,
    launch: _Launch = launching.measured_by_ranks,
) -> RunRecord:
    """The record with the collectives of this host, or with the reason why there are none.

    What the record holds already is not measured again. What cannot be measured is a failure in it;
    one GPU is none, only an answer. `save` is given the record whenever there is more in it.

    Raises:
        CannotMeasure: more ranks are asked for than there are GPUs.
        KeyboardInterrupt: interrupted; nothing is left running.
    """
    if not wanted(request, device):
        return record
    count = ranks(request, device)
    if count < 2:
        told = Caution("one-gpu", collectives.NEEDS_TWO)
        return record if told in record.cautions else _with(record, told)
    for switch in switches():
        planned = collectives.plan(collectives.prospect(device, count, switch), record.suite)
        if not missing(record, planned):
            continue
        say(f"collectives over {count} ranks{'' if switch else ', not reducing in the switch'}")
        given = (count, device.kind, record.suite, record.seed, say)
        record = _measured(record, given, switch, save, launch)
        save(record)
        if NAME in record.failures:
            break
    return record


def _with(record: RunRecord, caution: Caution) -> RunRecord:
    return replace(record, cautions=(*record.cautions, caution))


def missing(record: RunRecord, planned: Sequence[Planned]) -> bool:
    """Whether a case of the plan stands neither among the measurements nor the failures."""
    return any(not record.done(one.case, phase) for one in planned for phase in one.phases)


def _measured(
    record: RunRecord, given: tuple[Any, ...], switch: bool, save: _Save, launch: _Launch
) -> RunRecord:
    """The record after ranks have measured what is missing, with or without the switch."""
    off = {group.SWITCH_VARIABLE: "0", group.AGAIN_VARIABLE: "1"}
    own = [m for m in record.measurements if m.case.benchmark == NAME and m.complete]
    before = replace(record, measurements=tuple(own), failures={})

    def keep(found: RunRecord) -> None:
        save(_joined(record, Gathered(found), {}))

    variables = {} if switch else off
    found = launch(*given, variables=variables, before=before, keep=keep)
    return _joined(record, found, _choices(found, launch, given) if switch else {})


def _choices(
    found: Gathered, launch: _Launch, given: Sequence[object]
) -> Mapping[tuple[str, int], nccl_log.Choice]:
    """How the library went about each case. Not asked of gloo, which says nothing."""
    if found.record is None or not any(m.case.method == "nccl" for m in found.record.measurements):
        return {}
    said = launch(*given, variables=dict(nccl_log.VARIABLES), once=True)
    count = given[0]
    assert isinstance(count, int)
    return nccl_log.choices(said.log, count)


def _joined(
    record: RunRecord, found: Gathered, choices: Mapping[tuple[str, int], nccl_log.Choice]
) -> RunRecord:
    """The record with what the ranks measured and could not measure in place of its collectives;
    why the ranks ended early is a failure too.
    """
    failures = {name: why for name, why in record.failures.items() if name != NAME}
    kept = record.measurements
    if found.record:
        failures |= found.record.failures
        new = [_told(each, choices) for each in found.record.measurements if each.complete]
        keys = {case_key(each.case, each.phase) for each in new}
        kept = tuple(m for m in kept if case_key(m.case, m.phase) not in keys)
        kept = (*kept, *new)
    if found.problem:
        failures[NAME] = found.problem
    return replace(record, measurements=kept, failures=failures)


def _told(found: Measurement, choices: Mapping[tuple[str, int], nccl_log.Choice]) -> Measurement:
    p = found.case.parameters
    choice = choices.get((p["collective"], p["bytes"]))
    if choice is None:
        return found
    known = {"algorithm": choice[0], "protocol": choice[1]}
    return replace(found, choices={**found.choices, **known})
