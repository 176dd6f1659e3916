"""The JSON of pytest-benchmark, which `pytest-benchmark compare` reads.

A round is a sample; its time is that of one call, averaged over as many calls as `iterations` says.
Field names and meanings are those of pytest-benchmark's own files (version 5).
"""

from __future__ import annotations

import datetime
import json
import statistics
from typing import Any

from gpubench import stats
from gpubench.exporting import Told, told
from gpubench.records import RunRecord

_VERSION = "5.3.1"
# Of the layout that is written.


def render(record: RunRecord) -> bytes:
    """The record's times."""
    environment = record.environment
    content = {
        "machine_info": {
            "node": environment.get("hostname", ""),
            "processor": environment.get("cpu", ""),
            "machine": environment.get("machine", ""),
            "python_implementation": environment.get("implementation", ""),
            "python_version": environment.get("python", ""),
            "release": environment.get("kernel", ""),
            "system": environment.get("system", ""),
            "cpu": {},
            "gpu": record.device,
        },
        "commit_info": {
            "id": environment.get("git_commit", "") or "unversioned",
            "time": record.created,
            "author_time": record.created,
            "dirty": environment.get("git_commit", "").endswith("-dirty"),
            "project": "gpubench",
            "branch": "(unknown)",
        },
        "benchmarks": [_benchmark(each) for each in told(record)],
        "datetime": datetime.datetime.fromisoformat(record.created).isoformat(),
        "version": _VERSION,
    }
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def _benchmark(each: Told) -> dict[str, Any]:
    case = each.found.case
    return {
        "group": case.benchmark,
        "name": each.name,
        "fullname": f"gpubench::{each.name}",
        "params": {name: str(value) for name, value in case.parameters.items()} or None,
        "param": None,
        "extra_info": {"rate": each.rate, "unit": each.unit},
        "options": {
            "disable_gc": False,
            "timer": "gpubench",
            "min_rounds": 1,
            "max_time": 0.0,
            "min_time": 0.0,
            "warmup": each.found.warmup_s > 0,
        },
        "stats": _stats(each),
    }


def _stats(each: Told) -> dict[str, Any]:
    data = [seconds for block in each.found.blocks for seconds in block.seconds]
    q1, middle, q3 = (stats.percentile(data, share) for share in (0.25, 0.5, 0.75))
    spread = q3 - q1
    mean = statistics.fmean(data)
    deviation = statistics.stdev(data) if len(data) > 1 else 0.0
    inside = [one for one in data if q1 - 1.5 * spread <= one <= q3 + 1.5 * spread] or data
    by_iqr = len(data) - len(inside)
    by_deviation = sum(abs(one - mean) > deviation for one in data)
    return {
        "min": min(data),
        "max": max(data),
        "mean": mean,
        "stddev": deviation,
        "rounds": len(data),
        "median": middle,
        "iqr": spread,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": by_iqr,
        "stddev_outliers": by_deviation,
        "outliers": f"{by_deviation};{by_iqr}",
        "ld15iqr": min(inside),
        "hd15iqr": max(inside),
        "ops": 1 / mean if mean else 0.0,
        "total": sum(data),
        "data": data,
        "iterations": each.found.calls_per_sample,
    }
