"""Parquet: one row a sample, for whoever works with data frames.

Written by pandas with pyarrow, both of which come with the extra `parquet`.
"""

from __future__ import annotations

import importlib
import io
import json
from collections.abc import Iterator
from typing import Any

from gpubench.errors import CannotReport
from gpubench.exporting import told
from gpubench.records import RunRecord

READINGS = ("sm_clock_hz", "memory_clock_hz", "power_w", "temperature_c")
COLUMNS = {
    **dict.fromkeys(("record", "created", "accelerator", "device"), "string"),
    **dict.fromkeys(("benchmark", "method", "phase", "parameters"), "string"),
    **dict.fromkeys(("flops", "bytes", "wire_bytes"), "float64"),
    **dict.fromkeys(("calls_per_sample", "block", "sample"), "int64"),
    **dict.fromkeys(("seconds", *READINGS), "float64"),
}
"""Of each sample, with its type for pandas."""


def render(record: RunRecord) -> bytes:
    """The record's samples. Raises CannotReport where pandas or pyarrow is missing."""
    try:
        pandas = importlib.import_module("pandas")
        importlib.import_module("pyarrow")
    except ImportError as error:
        raise CannotReport(
            f"parquet needs pandas and pyarrow ({error}): pip install 'gpubench-claims[parquet]'"
        ) from None
    out = io.BytesIO()
    # Of one type whether or not there is anything, so that files of several records are one table.
    frame = pandas.DataFrame(list(rows(record)), columns=list(COLUMNS)).astype(COLUMNS)
    frame.to_parquet(out, index=False, engine="pyarrow")
    return out.getvalue()


def rows(record: RunRecord) -> Iterator[dict[str, Any]]:
    """A row a sample: seconds of one call, the block's telemetry, the case and the record."""
    for each in told(record):
        found = each.found
        about = {
            "record": record.id,
            "created": record.created,
            "accelerator": record.accelerator,
            "device": record.device,
            "benchmark": found.case.benchmark,
            "method": found.case.method,
            "phase": found.phase,
            "parameters": json.dumps(dict(found.case.parameters), sort_keys=True),
            "flops": found.work.flops,
            "bytes": found.work.bytes,
            "wire_bytes": found.work.wire_bytes,
            "calls_per_sample": found.calls_per_sample,
        }
        for number, block in enumerate(found.blocks):
            readings = {name: _number(block.telemetry.get(name)) for name in READINGS}
            for place, seconds in enumerate(block.seconds):
                yield {**about, "block": number, "sample": place, "seconds": seconds, **readings}


def _number(value: float | int | str | None) -> float | None:
    return float(value) if isinstance(value, int | float) else None
