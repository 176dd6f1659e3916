"""The links of this host, measured by a rank on each of its GPUs and added to its record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from gpubench import launching, measuring
from gpubench.beginning import Request
from gpubench.benchmarks import collectives
from gpubench.errors import CannotMeasure
from gpubench.launching import Gathered
from gpubench.measuring import Device, group, nccl_log
from gpubench.model import Caution, Measurement
from gpubench.records import RunRecord

Say = Callable[[str], None]

NAME = "collectives"

_HOST_RANKS = 2
# On a processor, where gloo stands in for what GPUs would use.

_Launch = Callable[..., Gathered]


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


def with_links(
    record: RunRecord,
    device: Device,
    request: Request,
    say: Say,
    launch: _Launch = launching.measured_by_ranks,
) -> RunRecord:
    """The record with the collectives of this host, or with the reason why there are none.

    What cannot be measured is a failure in the record; one GPU is none, only an answer.

    Raises:
        CannotMeasure: more ranks are asked for than there are GPUs.
        KeyboardInterrupt: interrupted; nothing is left running.
    """
    if not wanted(request, device) or _has_them(record):
        return record
    count = ranks(request, device)
    if count < 2:
        told = Caution("one-gpu", collectives.NEEDS_TWO)
        return replace(record, cautions=(*record.cautions, told))
    say(f"collectives over {count} ranks")
    given = (count, device.kind, record.suite, record.seed, say)
    found = launch(*given)
    record = _joined(record, found, _choices(found, launch, given))
    if not found.problem and collectives.plan(
        collectives.prospect(device, count, switch=False), record.suite
    ):
        without = launch(*given, variables={group.SWITCH_VARIABLE: "0"})
        record = _joined(record, without, {})
    return record


def _has_them(record: RunRecord) -> bool:
    return any(found.case.benchmark == NAME for found in record.measurements)


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
    """Both records' measurements and failures; why the ranks ended early is a failure too."""
    failures = dict(record.failures)
    measurements: tuple[Measurement, ...] = ()
    if found.record:
        failures |= found.record.failures
        measurements = tuple(
            _told(each, choices) for each in found.record.measurements if each.complete
        )
    if found.problem:
        failures[NAME] = found.problem
    return replace(record, measurements=(*record.measurements, *measurements), failures=failures)


def _told(found: Measurement, choices: Mapping[tuple[str, int], nccl_log.Choice]) -> Measurement:
    p = found.case.parameters
    choice = choices.get((p["collective"], p["bytes"]))
    if choice is None:
        return found
    known = {"algorithm": choice[0], "protocol": choice[1]}
    return replace(found, choices={**found.choices, **known})
