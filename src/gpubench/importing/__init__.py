"""Results of other tools as records: one file a tool, and here what they share.

A file becomes a record that says where it came from, by the tool's name and the file's hash. Its
figures are another's measurements: they are evidence of the kind "published", never "measured".
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gpubench import records, stats
from gpubench.benchmarks import collectives
from gpubench.errors import RecordError
from gpubench.measuring import Ceilings, guards
from gpubench.model import Accelerator, Block, Case, Caution, Measurement, Work
from gpubench.records import IMPORTED, RunRecord

TOOLS: Mapping[str, str] = {
    "nccl-tests": "nccl_tests",
    "nvbandwidth": "nvbandwidth",
    "babelstream": "babelstream",
    "pytest-benchmark": "pytest_benchmark",
}
"""Each tool with the module here that reads it. A module has `read(text) -> Found`."""

UNKNOWN = "unknown-accelerator"
"""The folder of results whose device the catalogue does not know; no claim can use them."""

PROCESSOR = "cpu"
"""What is said in place of an accelerator, and the folder, of what a processor did."""

_MOST_BYTES = 256 * 2**20

Identify = Callable[[str], Accelerator | None]
"""Finds a device's name in the catalogue, or gives None."""


STDIN = "-"


@dataclass(frozen=True)
class Found:
    """What a file holds. `device` is the name it gives, of several the first, and `others` those
    that are called otherwise; `facts` is what else a reader should know.
    """

    measurements: tuple[Measurement, ...]
    device: str = ""
    others: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    cautions: tuple[Caution, ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict)


def read(
    tool: str,
    path: Path,
    identify: Identify,
    accelerator: Accelerator | None = None,
    by_processor: bool = False,
) -> RunRecord:
    """A file of that tool as a record.

    A case that the file holds more than once is one measurement, with a block each. A rate that the
    part's data sheet does not allow is marked implausible, and never evidence.

    Args:
        path: the file; "-" is what comes on standard input.
        accelerator: what it was measured on, where the file names no device or another's name.
        by_processor: it was measured without an accelerator, which the catalogue cannot know.

    Raises:
        RecordError: the file cannot be read, is none of that tool's, was cut off, or names no
            device where one was measured and none is given.
    """
    data = _contents(tool, path)
    found = _understood(tool, path, data)
    if by_processor:
        found = replace(found, device=found.device or "a processor")
    named = identify(found.device) if found.device else None
    part = accelerator or (None if by_processor else named)
    if part is None and not found.device and any(_of_device(m.case) for m in found.measurements):
        raise RecordError(
            f"{path} names no device: say what it was measured on, --accelerator G, or "
            f"--accelerator {PROCESSOR} for a processor"
        )
    return RunRecord(
        id=records.new_id(),
        created=records.now(),
        accelerator=part.id if part else PROCESSOR if by_processor else UNKNOWN,
        environment={
            **records.environment(),
            "imported_from": tool,
            "imported_file": path.name,
            "imported_sha256": hashlib.sha256(data).hexdigest(),
            **found.facts,
        },
        device=found.device or (part.name if part else ""),
        suite=IMPORTED,
        cautions=(*found.cautions, *_contradicted(found, named, part)),
        measurements=tuple(_guarded(each, part) for each in _merged(found.measurements)),
        failures=found.failures,
    )


def _contradicted(
    found: Found, named: Accelerator | None, part: Accelerator | None
) -> Iterator[Caution]:
    """That the file names another part than it was said to be of, or several."""
    if named is not None and named != part:
        kept = part.name if part else "a processor"
        fact = f"the file says that it was measured on {found.device}, and it is kept as one of "
        yield Caution("other-device", fact + kept, "import it again without --accelerator")
    if found.others:
        fact = f"the file names {' and '.join((found.device, *found.others))}, and it is kept as "
        remedy = "measure each kind of device by itself"
        yield Caution("mixed-devices", f"{fact}one of {part.name if part else UNKNOWN}", remedy)


def names(devices: Iterable[str]) -> tuple[str, tuple[str, ...]]:
    """The name of the first device, and the other names among them."""
    first, *others = dict.fromkeys(filter(None, devices)) or [""]
    return first, tuple(others)


def _contents(tool: str, path: Path) -> bytes:
    try:
        if str(path) == STDIN:
            data = sys.stdin.buffer.read(_MOST_BYTES + 1)
            data = data if len(data) <= _MOST_BYTES else b""
        else:
            data = path.read_bytes() if path.stat().st_size <= _MOST_BYTES else b""
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror or error}") from None
    if not data.strip():
        named = "stdin" if str(path) == STDIN else path
        raise RecordError(f"{named} is empty or far too large to be a file of {tool}")
    return data


def _understood(tool: str, path: Path, data: bytes) -> Found:
    module = importlib.import_module(f"gpubench.importing.{TOOLS[tool]}")
    try:
        found: Found = module.read(data.decode("utf-8-sig", errors="replace"))
    except RecordError as error:
        raise RecordError(f"{path}: {error}") from None
    except _BROKEN as error:
        raise RecordError(
            f"{path} is not as {tool} writes its results ({type(error).__name__}: {error}): was it "
            f"cut off or edited?"
        ) from None
    return found


def _of_device(case: Case) -> bool:
    """Whether a case measures an accelerator, not just somebody's own code."""
    return case.benchmark != "pytest"


def _merged(found: Iterable[Measurement]) -> Iterator[Measurement]:
    """Each case once: what was run again is another block, in the order of the file."""
    by_case: dict[str, list[Measurement]] = {}
    for one in found:
        by_case.setdefault(records.case_key(one.case, one.phase), []).append(one)
    for same in by_case.values():
        said = dict.fromkeys(one.verification for one in same)
        yield replace(
            same[0],
            blocks=tuple(block for one in same for block in one.blocks),
            calls_per_sample=min(one.calls_per_sample for one in same),
            verification="; ".join(filter(None, said)),
            cautions=_of_several(same),
        )


def _of_several(same: Sequence[Measurement]) -> tuple[Caution, ...]:
    """What to say of a case that stands there once or more: too few figures make no interval."""
    if len(same) == 1:
        return same[0].cautions
    if len(same) < stats.LEAST_FOR_95:
        fact = f"{len(same)} figures without their samples, too few for an interval"
        return (Caution("imported", fact),)
    return ()


def _guarded(found: Measurement, part: Accelerator | None) -> Measurement:
    if part is None:
        return found
    found = replace(found, case=collectives.linked(found.case, part))
    return guards.cautioned(found, guards.implausible(found, _ceilings(found.case, part)))


def _ceilings(case: Case, part: Accelerator) -> Ceilings:
    """What the data sheet allows of memory and links."""
    if case.benchmark == "bandwidth" and "memory_bandwidth" in part.figures:
        return Ceilings(bandwidth=part.value("memory_bandwidth"))
    return collectives.allowed(case, part) if case.benchmark == "collectives" else Ceilings()


def measurement(
    case: Case, work: Work, seconds: tuple[float, ...], calls: int, said: str = ""
) -> Measurement:
    """A figure of another tool: `seconds` of one call each, averaged by that tool over `calls`.

    Raises:
        RecordError: a number that no measurement has.
    """
    amounts = (work.flops, work.bytes, work.wire_bytes)
    if not all(0 < each < _MOST_SECONDS for each in seconds):
        raise RecordError(f"{records.case_key(case, '')} took {seconds[0]:g} s, which cannot be")
    if not all(0 <= each < math.inf for each in amounts):
        raise RecordError(f"{records.case_key(case, '')} moves an amount that cannot be")
    return Measurement(
        case=case,
        version=0,
        work=work,
        blocks=tuple(Block((each,)) for each in seconds),
        calls_per_sample=max(1, calls),
        warmup_s=0.0,
        verification=said,
        cautions=(_NO_SAMPLES,) if len(seconds) == 1 else (),
    )


def failed(benchmark: str, tool: str, parameters: Mapping[str, Any]) -> str:
    """The name of a case that another tool failed at, as failures are kept under."""
    return records.case_key(Case(benchmark, tool, parameters), "burst")


_MOST_SECONDS = 1e6
_BROKEN = (
    *(KeyError, TypeError, AttributeError, IndexError, ValueError, OverflowError, RecursionError),
    csv.Error,
)
# What readers run into where a file has another shape than they were written for.

_NO_SAMPLES = Caution("imported", "one figure without its samples, so without an interval")
