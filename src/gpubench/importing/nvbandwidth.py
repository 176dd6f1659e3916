"""nvbandwidth, the JSON that `-j` prints: copies between host and device, and between devices.

Cells are text, "N/A" on the diagonal. A test in both directions stacks three matrices (read, write
or the two readings, and their total) under one name: the last one is the total. A write goes from
row to column; a read is called so too, but its row fetches from the column, as the code of
`DeviceToDeviceReadCE` has it, which copies from the peer with the nodes exchanged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gpubench.benchmarks import collectives
from gpubench.errors import RecordError
from gpubench.importing import Found, failed, measurement, names
from gpubench.model import Case, Measurement, Work

_HOST = re.compile(r"(host_to_device|device_to_host)_memcpy_(ce|sm)$")
_PAIR = re.compile(r"device_to_device_(bidirectional_)?memcpy_(read|write)_(ce|sm)$")
_DIRECTIONS = {"host_to_device": "to device", "device_to_host": "to host"}

BYTES = 512 * 2**20
"""What nvbandwidth copies unless told otherwise (its README, option bufferSize). The file does not
say, and only rates are taken from it."""


def read(text: str) -> Found:
    """The figures of a file. Raises RecordError when it is none of nvbandwidth's."""
    start = text.find("{")
    try:
        # Messages may stand before the document and behind it.
        content = json.JSONDecoder().raw_decode(text[start:])[0] if start >= 0 else None
    except ValueError:
        raise RecordError(
            "it is no whole JSON document: it was cut off, or is the text form"
        ) from (None)
    whole = (content or {}).get("nvbandwidth") if isinstance(content, dict) else None
    if not isinstance(whole, dict):
        raise RecordError("it is no JSON of nvbandwidth: run it with -j")
    tests = [test for test in whole.get("testcases") or () if isinstance(test, dict)]
    found = tuple(one for test in tests for one in _measurements(test))
    failures = {
        _case(str(test.get("name"))): f"status {test.get('status')}"
        for test in tests
        if test.get("status") not in ("Passed", "Waived")
    }
    if whole.get("error"):
        failures["nvbandwidth"] = str(whole["error"])
    if any(words in text for words in _WRONG_DATA):
        failures["nvbandwidth"] = "wrong answer: what was copied is not what arrived"
    if not found:
        why = next(iter(failures.values()), "no test was passed that gpubench knows")
        raise RecordError(f"it holds no figure that can be used: {why}")
    facts = {"nvbandwidth": str(whole.get("version", ""))}
    passed = [str(test.get("name")) for test in tests if test.get("status") == "Passed"]
    if unknown := [name for name in passed if not (_HOST.match(name) or _PAIR.match(name))]:
        facts["left_out"] = ", ".join(unknown)
    if whole.get("Driver Version"):
        facts["driver"] = str(whole["Driver Version"])
    device, others = names(_devices(whole.get("GPU Device list") or ()))
    return Found(found, device, others, facts, failures=failures)


_WRONG_DATA = ("Invalid value when checking the pattern", "memcmpPattern", "h_errorFlag")
# What it says where its check of the data failed.


def _case(test: str) -> str:
    """The name of a failed test as that of a case."""
    if _HOST.match(test):
        return failed("host_copy", "nvbandwidth", {"test": test})
    return failed("collectives", "nvbandwidth", {"collective": collectives.PAIR, "test": test})


def _devices(listed: Sequence[Any]) -> Iterator[str]:
    """ "0: NVIDIA H100 80GB HBM3 (00000000:1b:00): (host)" names the card."""
    for line in listed:
        if found := re.match(r"\d+: (.*?) \(", str(line)):
            yield found[1]


def _measurements(test: Mapping[str, Any]) -> Iterator[Measurement]:
    name, rows = str(test.get("name", "")), test.get("bandwidth_matrix")
    if test.get("status") != "Passed" or not isinstance(rows, list) or not rows:
        return
    if "GB/s" not in str(test.get("bandwidth_description", "")):
        return
    if host := _HOST.match(name):
        for gpu, cell in enumerate(rows[0]):
            parameters = {"direction": _DIRECTIONS[host[1]], "bytes": BYTES, "gpu": gpu}
            yield from _one("host_copy", name, parameters, cell, 1)
    elif pair := _PAIR.match(name):
        directions = 2 if pair[1] else 1
        total = rows[-len(rows[0]) :]
        for one, row in enumerate(total):
            for other, cell in enumerate(row):
                ends = (other, one) if pair[2] == "read" else (one, other)
                parameters = _ends(*ends, directions, len(row))
                yield from _one("collectives", name, parameters, cell, directions)


def _ends(source: int, target: int, directions: int, ranks: int) -> dict[str, Any]:
    return {
        "collective": collectives.PAIR,
        "bytes": BYTES,
        "ranks": ranks,
        "hosts": 1,
        "source": source,
        "target": target,
        "directions": directions,
    }


def _one(
    benchmark: str, test: str, parameters: dict[str, Any], cell: Any, directions: int
) -> Iterator[Measurement]:
    """The figure of a cell; none where the tool had none."""
    try:
        rate = float(cell) * 1e9
    except (TypeError, ValueError):
        return
    if rate > 0:
        case = Case(benchmark, "nvbandwidth", {**parameters, "test": test})
        moved = float(directions * BYTES)
        yield measurement(case, Work(wire_bytes=moved), (moved / rate,), 1)
