"""BabelStream, the table that `--csv` prints: five patterns over device memory.

Lines of the device may stand before the line of column names. The rate's unit is in its column's
name; bytes are counted again from the elements, as BabelStream does, and the time is the least of
its runs, so that rates come out as printed. Of wrong answers it tells on stderr: the lines stand
before the table, or after it, where both were kept.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping

from gpubench.errors import RecordError
from gpubench.importing import Found, failed, measurement
from gpubench.model import Case, Measurement, Work

# Arrays that a pattern reads and writes an element (BabelStream, README, "Rules").
_ARRAYS = {"copy": 2, "mul": 2, "add": 3, "triad": 3, "dot": 2}
_COLUMNS = ("function", "num_times", "n_elements", "sizeof")
_RATE = re.compile(r"max_(m|g|t)(i?)b(ytes)?_per_sec$")
_SCALES = {"m": (1e6, 2.0**20), "g": (1e9, 2.0**30), "t": (1e12, 2.0**40)}
_DEVICE = re.compile(
    r'^(?:Using (?:CUDA|HIP) device|(?:CUDA|HIP) Device \d+:)\s+"?([^"\n]*?)"?(?:\s+\d+ SMs.*)?$'
)
_WRONG = re.compile(r"(?:Validation failed on|FAILED validation of) (\S+?)[.:]? (.*)")
_FOR_MEMORY = 2**27
"""Smaller arrays may stay in a cache, of which the largest holds 256 MB."""


def read(text: str) -> Found:
    """The figures of a file. Raises RecordError when it is none of BabelStream's, or cut off."""
    lines = text.splitlines()
    start = next((n for n, line in enumerate(lines) if line.startswith("function,")), None)
    if start is None and (wrong := _wrong(lines)):
        raise RecordError(f"it holds no figures, since its answers were wrong: {next(iter(wrong))}")
    if start is None:
        raise RecordError("it has no line 'function,num_times,…': run BabelStream with --csv")
    table = list(csv.DictReader(lines[start:]))
    rate = (
        next((name for name in table[0] if name and _RATE.match(name.lower())), "") if table else ""
    )
    missing = [name for name in _COLUMNS if not table or name not in table[0]]
    if missing or not rate:
        raise RecordError(f"it has no column {missing[0] if missing else 'of rates'} and its rows")
    found = tuple(one for row in table for one in _measurement(row, rate))
    if table and not found:
        raise RecordError(f"it holds none of {', '.join(_ARRAYS)}")
    there = {m.case.parameters["pattern"] for m in found}
    absent = sorted({*_ARRAYS} - there)
    # One alone can be asked for; what was cut off begins with the first, a copy.
    if "triad" in absent and (len(there) != 1 or there == {"copy"}):
        raise RecordError(f"it was cut off: {', '.join(absent)} are missing")
    device = next((named[1].strip() for line in lines if (named := _DEVICE.match(line))), "")
    failures = _wrong(lines)
    return Found(found, device, failures=failures)


def _wrong(lines: Iterable[str]) -> dict[str, str]:
    found = filter(None, map(_WRONG.search, lines))
    return {
        failed("bandwidth", "babelstream", {"array": each[1]}): f"wrong answer: {each[2]}"
        for each in found
    }


def _measurement(row: Mapping[str, str | None], column: str) -> Iterator[Measurement]:
    pattern = str(row["function"]).lower()
    if pattern not in _ARRAYS:
        return
    try:
        elements, size = int(row["n_elements"] or ""), int(row["sizeof"] or "")
        times, printed = int(row["num_times"] or ""), float(row[column] or "")
    except ValueError:
        raise RecordError(f"the row of {row['function']} was cut off") from None
    kind = _RATE.match(column.lower())
    assert kind
    rate = printed * _SCALES[kind[1]][bool(kind[2])]
    if not rate > 0 or elements < 1:
        raise RecordError(f"the row of {row['function']} has no rate above zero")
    work = Work(bytes=float(_ARRAYS[pattern] * elements * size))
    # What a cache gives is no rate of the memory, and judges nothing.
    benchmark = "bandwidth" if elements * size >= _FOR_MEMORY else "size_sweep"
    case = Case(benchmark, "babelstream", {"pattern": pattern, "n": elements, "element": size})
    yield measurement(case, work, (work.bytes / rate,), times)
