"""What the action benchmark-action/github-action-benchmark takes as `customBiggerIsBetter`.

A list of name, unit, value and range, as its README describes them; rates, since more is better.
"""

from __future__ import annotations

import json

from gpubench.exporting import told
from gpubench.records import RunRecord


def render(record: RunRecord) -> bytes:
    """The record's rates."""
    found = [
        {
            "name": each.name,
            "unit": each.unit,
            "value": each.rate,
            "range": f"{each.low:.6g} to {each.high:.6g}",
            "extra": f"record {record.id}, {record.device}, {each.timing.blocks} blocks",
        }
        for each in told(record)
    ]
    return (json.dumps(found, indent=1, ensure_ascii=False) + "\n").encode()
