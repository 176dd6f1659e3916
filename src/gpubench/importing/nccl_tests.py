"""nccl-tests and rccl-tests: the table they print, and the JSON that `-J` writes.

Both are read by the names they give, since columns came and went over the years: the last column
was an error once and is a count now, and rows may be cut in pieces by the library's own messages or
carry the tags of mpirun and srun. Only the in-place or out-of-place halves with a time are taken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpubench.benchmarks import collectives
from gpubench.errors import RecordError
from gpubench.importing import Found, failed, measurement, names
from gpubench.model import Case, Caution, Measurement

_COLLECTIVES = {
    "all_reduce": "all_reduce",
    "all_gather": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "alltoall": "all_to_all",
    "broadcast": "broadcast",
}
_TYPES = {
    "float": "fp32",
    "half": "fp16",
    "bfloat16": "bf16",
    "double": "fp64",
    "f8e4m3": "fp8",
    "f8e5m2": "fp8",
}

_TAGS = re.compile(r"\[\d+,\d+\]<\w+>:|^\s*\d+: |^\[\d+\] |\x1b\[[0-9;]*m")
# A message of the library glued to a row, the row's last word perhaps stuck to its hostname.
_MESSAGE = re.compile(r"(?P<word>-1|0|N/A)?[\w.-]*:\d+:\d+ \[\d+\] NCCL \w+.*$")
_RANK = re.compile(r"^#\s+Rank\s+(\d+) .*? on\s+(\S+) device\s+\d+ \[[^\]]*\]\s*(.*)$")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$")
_FAILURE = re.compile(r"Test (CUDA|NCCL|HIP|RCCL) failure.*|Test failure.*|Test timeout.*")
_START = re.compile(r"^\s*\d+\s+\d+\s+[a-z]\w*")


def read(text: str) -> Found:
    """The figures of a file. Raises RecordError when it holds none, or ends before its time."""
    return _of_json(text) if text.lstrip().startswith("{") else _of_table(text)


@dataclass(frozen=True)
class _Row:
    """One size, in one place ("in" or "out"). Seconds, bytes; `wrong` None when not checked, and
    `problem` says why it cannot be used.
    """

    size: int
    dtype: str
    place: str
    seconds: float
    wrong: float | None
    problem: str = ""


def _found(
    rows: Sequence[_Row],
    name: str,
    ranks: int,
    hosts: int,
    calls: int,
    devices: Iterable[str],
    facts: Mapping[str, str],
) -> Found:
    if not rows:
        raise RecordError("it holds no row with a time: the run failed, or the file was cut off")
    if ranks < 2:
        raise RecordError("it does not say over how many ranks it ran, or it ran on one device")
    failures = {
        failed("collectives", "nccl-tests", _parameters(row, name, ranks, hosts)): why
        for row in rows
        if (why := _why_not(row))
    }
    kept = [_measurement(row, name, ranks, hosts, calls) for row in rows if not _why_not(row)]
    device, others = names(devices)
    return Found(tuple(kept), device, others, facts, _cautions(rows), failures)


def _why_not(row: _Row) -> str:
    """Why a row is no measurement; "" where it is."""
    return f"{row.wrong:g} wrong numbers" if row.wrong else row.problem


def _parameters(row: _Row, name: str, ranks: int, hosts: int) -> dict[str, Any]:
    return {
        "collective": name,
        "bytes": row.size,
        "dtype": row.dtype,
        "ranks": ranks,
        "hosts": hosts,
        "place": row.place,
    }


def _measurement(row: _Row, name: str, ranks: int, hosts: int, calls: int) -> Measurement:
    parameters = _parameters(row, name, ranks, hosts)
    said = "not checked by the tool" if row.wrong is None else "no wrong number, by the tool"
    case = Case("collectives", "nccl-tests", parameters)
    return measurement(case, collectives.work(parameters), (row.seconds,), calls, said)


def _cautions(rows: Sequence[_Row]) -> tuple[Caution, ...]:
    if any(row.wrong is None for row in rows):
        fact = "some answers were not checked"
        return (Caution("unchecked", fact, "run nccl-tests with -c 1"),)
    return ()


def _collective(program: str) -> str:
    """Ours for a name such as all_reduce_perf_mpi. Raises RecordError."""
    name = re.sub(r"(_perf)?(_mpi)?$", "", program.rsplit("/", 1)[-1])
    if name not in _COLLECTIVES:
        raise RecordError(f"'{program}' is none of {', '.join(_COLLECTIVES)}")
    return _COLLECTIVES[name]


# --------------------------------------------------------------------------- the table


def _of_table(text: str) -> Found:
    lines = [_TAGS.sub("", line) for line in text.splitlines()]
    columns = _columns(lines)
    rows = [row for cells in _rows(lines, columns) for row in _halves(cells, columns)]
    if not any("Avg bus bandwidth" in line for line in lines):
        raise RecordError("it was cut off: the line with the average bus bandwidth is missing")
    if broken := next((found for line in lines if (found := _FAILURE.search(line))), None):
        raise RecordError(f"a run in it failed, so it is not whole: {broken[0].strip()}")
    named = [found for line in lines if (found := _RANK.match(line))]
    timed = re.search(r"(?<!warmup )(?<!agg )\biters: (\d+)", text)
    calls = int(timed[1]) if timed else 1
    facts = {"nccl": found[1]} if (found := re.search(r"NCCL version (\S+)", text)) else {}
    factor = _bus_factor(columns, lines)
    name = _named(lines, columns, factor)
    ranks = max((int(found[1]) + 1 for found in named), default=0) or _ranks(name, factor)
    expected = collectives.bus_factor(name, max(ranks, 2))
    if ranks > 1 and factor and abs(factor / expected - 1) > 0.02:
        raise RecordError(
            f"its bus bandwidth is {factor:.3f} times the algorithm bandwidth, and {name} over "
            f"{ranks} ranks has {expected:.3f}: is it another collective?"
        )
    hosts = len({found[2] for found in named}) or 1
    return _found(rows, name, ranks, hosts, calls, (each[3].strip() for each in named), facts)


def _columns(lines: Sequence[str]) -> list[str]:
    for line in lines:
        words = line.replace("#wrong", "wrong").lstrip("# ").split()
        if words[:2] == ["size", "count"] and "algbw" in words:
            return words
    for line in lines:
        if found := _FAILURE.search(line):
            raise RecordError(f"the run failed before its table: {found[0].strip()}")
    raise RecordError("it has no line of column names (size, count, type … algbw, busbw)")


def _rows(lines: Sequence[str], columns: Sequence[str]) -> Iterator[list[str]]:
    """The cells of each row; pieces that messages have torn apart are put together."""
    wanted = len(columns) + columns.count("timestamp")  # a date and a time
    cells: list[str] = []
    for line in lines:
        rest = _MESSAGE.sub(lambda found: f" {found['word'] or ''}", line)
        if _START.match(rest):
            if cells:
                yield cells
            cells = rest.split()
        elif cells and all(_NUMBER.match(word) or word == "N/A" for word in rest.split()):
            cells += rest.split()
        if len(cells) >= wanted:
            yield cells
            cells = []
    if cells:
        yield cells


def _halves(cells: Sequence[str], columns: Sequence[str]) -> Iterator[_Row]:
    """The row out of place and in place; a half that is missing is left out."""
    first = columns.index("algbw") - 1
    width = (len(columns) - columns.count("timestamp") - first) // 2
    size, kind = int(cells[0]), cells[2]
    by_host = columns[first] == "cputime"
    for number, place in enumerate(("out", "in")):
        half = cells[first + number * width : first + (number + 1) * width]
        if len(half) < width or size == 0 or half[0] == "N/A":
            continue
        wrong = half[3] if len(half) > 3 else "N/A"
        counted = "wrong" in columns and _NUMBER.match(wrong)
        if by_host:
            seconds, problem = _by_rate(size, half[1])
        else:
            seconds, problem = _by_time(size, half[0], half[1])
        told = float(wrong) if counted else None
        yield _Row(size, _TYPES.get(kind, kind), place, seconds, told, problem)


def _by_rate(size: int, printed: str) -> tuple[float, str]:
    """The device's time of a row that tells the host's, or why it does not follow from the rate,
    which has two decimals.
    """
    rate = float(printed) if _NUMBER.match(printed) else 0.0
    if rate < _LEAST_RATE:
        return 0.0, f"its rate of {printed} GB/s does not tell its time"
    return size / rate / 1e9, ""


_LEAST_RATE = 0.5


def _by_time(size: int, micros: str, printed: str) -> tuple[float, str]:
    """The time of a row, or why it cannot be as the tool wrote it."""
    if problem := _torn(size, micros, printed):
        return 0.0, problem
    if "e" in micros and float(printed) >= _LEAST_RATE:  # "1.0e+07" has two digits, the rate three
        return size / float(printed) / 1e9, ""
    return float(micros) * 1e-6, ""


def _torn(size: int, micros: str, printed: str) -> str:
    """Why a row cannot be as the tool wrote it; "" where it can."""
    if not _NUMBER.match(micros) or not float(micros) > 0:
        return f"its time is {micros} us"
    rate = size / float(micros) / 1e3  # GB/s, as printed with two decimals
    rounded = 0.06 if "e" in micros else 0.02  # "1.0e+07" has two digits
    if _NUMBER.match(printed) and abs(rate - float(printed)) > 0.01 + rounded * rate:
        return f"its time of {micros} us means {rate:.4g} GB/s, and the row says {printed}"
    return ""


def _named(lines: Sequence[str], columns: Sequence[str], factor: float) -> str:
    """The collective: the tool says it since 2025, a command line before the table, or busbw, which
    of those that reduce is the larger one in an all-reduce alone.
    """
    for line in lines:
        if found := re.search(r"([a-z_]+_perf)(_mpi)?\b", line):
            return _collective(found[0])
    if "redop" in columns and factor > 1.02:
        return "all_reduce"
    raise RecordError("it does not say which collective it measured: keep the line that started it")


def _bus_factor(columns: Sequence[str], lines: Sequence[str]) -> float:
    """Bus over algorithm bandwidth, of the fastest row since both are rounded; 0 for none."""
    at = columns.index("algbw")
    halves = [
        (float(cells[at]), float(cells[at + 1]))
        for cells in _rows(lines, columns)
        if len(cells) > at + 1 and _NUMBER.match(cells[at]) and _NUMBER.match(cells[at + 1])
        if not any(row.problem for row in _halves(cells, columns))
    ]
    algorithm, bus = max(halves, default=(0.0, 0.0))
    return bus / algorithm if algorithm >= 1 else 0.0


def _ranks(name: str, factor: float) -> int:
    """The ranks whose bus factor that is, where none is listed; 0 where it does not tell."""
    share = factor / 2 if name == "all_reduce" else factor
    return round(1 / (1 - share)) if 0 < share < 0.99 and name != "broadcast" else 0


# --------------------------------------------------------------------------- JSON


def _of_json(text: str) -> Found:
    try:
        content = json.loads(text)
    except ValueError:
        raise RecordError("it is no whole JSON document: it was cut off") from None
    if not isinstance(content, dict) or not isinstance(content.get("results"), list):
        raise RecordError("it is no JSON of nccl-tests: it has no results")
    if not content.get("average_bus_bandwidth", content.get("average_bus_bandwidith")):
        raise RecordError("it was cut off: the average bus bandwidth is missing")
    config = content.get("config") or {}
    rows = [row for entry in content["results"] for row in _places(entry)]
    devices = config.get("devices") or [{}]
    # Only the first device of a process is listed, so ranks are counted by what was launched.
    processes = len({(d.get("hostname"), d.get("pid")) for d in devices})
    ranks = processes * int(config.get("nthreads", 1)) * int(config.get("ngpus", 1))
    hosts = len({d.get("hostname") for d in devices}) or 1
    # The environment beside it is never looked at: it may hold secrets.
    facts = {"nccl": _version(content["nccl_version"])} if content.get("nccl_version") else {}
    program = (content.get("args") or [""])[0]
    calls = int(config.get("iterations", 1))
    name = _collective(str(program))
    listed = (str(each.get("device_info", "")) for each in devices)
    return _found(rows, name, ranks, hosts, calls, listed, facts)


def _places(entry: Mapping[str, Any]) -> Iterator[_Row]:
    for place in ("out", "in"):
        half = entry.get("out_of_place" if place == "out" else "in_place")
        if not isinstance(half, dict):
            continue
        size, printed = int(entry.get("size") or 0), f"{half.get('alg_bw', '')}"
        if not size or not isinstance(half.get("time", half.get("cpu_time")), int | float):
            continue
        if "time" in half:
            seconds, problem = _by_time(size, f"{half['time']:f}", printed)
        else:
            seconds, problem = _by_rate(size, printed)
        wrong, kind = half.get("nwrong"), str(entry.get("type", ""))
        told = float(wrong) if isinstance(wrong, int | float) else None
        yield _Row(size, _TYPES.get(kind, kind), place, seconds, told, problem)


def _version(code: int) -> str:
    """22902 is 2.29.2."""
    return f"{code // 10000}.{code // 100 % 100}.{code % 100}"
