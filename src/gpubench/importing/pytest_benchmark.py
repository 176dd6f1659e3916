"""pytest-benchmark, the JSON of `--benchmark-json`: times of anybody's own benchmarks.

Raw times are kept where the file has them (`--benchmark-save-data`), otherwise the median.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gpubench.errors import RecordError
from gpubench.importing import Found, measurement
from gpubench.model import Case, Measurement, Work


def read(text: str) -> Found:
    """The times of a file. Raises RecordError when it is none of pytest-benchmark's."""
    try:
        content = json.loads(text)
    except ValueError:
        raise RecordError("it is no whole JSON document: it was cut off") from None
    if not isinstance(content, dict) or not isinstance(content.get("benchmarks"), list):
        raise RecordError("it is no JSON of pytest-benchmark: it has no benchmarks")
    try:
        found = tuple(_measurement(entry) for entry in content["benchmarks"])
    except KeyError as error:
        raise RecordError(f"one of its benchmarks has no {error}") from None
    if not found:
        raise RecordError("it holds no benchmark")
    return Found(found, facts={"pytest_benchmark": str(content.get("version", ""))})


def _measurement(entry: Mapping[str, Any]) -> Measurement:
    told = entry["stats"]
    seconds = tuple(float(each) for each in told.get("data") or (told["median"],))
    case = Case("pytest", "pytest-benchmark", {"name": str(entry["fullname"])})
    return measurement(case, Work(), seconds, int(told.get("iterations", 1)))
