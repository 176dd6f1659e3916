"""A textfile for Prometheus' node exporter: one gauge a kind of figure, labels tell the case.

The text format is that of prometheus.io/docs/instrumenting/exposition_formats.
"""

from __future__ import annotations

import datetime

from gpubench.exporting import told
from gpubench.records import RunRecord

_HELP = {
    "gpubench_rate": "Measured rate in the unit of the label (median of block medians).",
    "gpubench_rate_low": "Lower end of its 95 % interval.",
    "gpubench_rate_high": "Upper end of its 95 % interval.",
    "gpubench_cautions": "How many cautions weaken the measurement.",
    "gpubench_failures": "Cases of the run that could not be measured.",
    "gpubench_run_timestamp_seconds": "When the run began, in Unix time.",
}


def render(record: RunRecord) -> bytes:
    """The record's figures as gauges."""
    gauges: dict[str, list[str]] = {name: [] for name in _HELP}
    common = {"accelerator": record.accelerator, "device": record.device}
    if host := record.environment.get("hostname"):
        common["host"] = host
    for each in told(record):
        case = each.found.case
        labels = {
            **common,
            "benchmark": case.benchmark,
            "method": case.method,
            "phase": each.found.phase,
            **{f"p_{name}": str(value) for name, value in case.parameters.items()},
            "unit": each.unit,
        }
        text = _labels(labels)
        gauges["gpubench_rate"].append(f"{text} {each.rate:.6g}")
        gauges["gpubench_rate_low"].append(f"{text} {each.low:.6g}")
        gauges["gpubench_rate_high"].append(f"{text} {each.high:.6g}")
        gauges["gpubench_cautions"].append(f"{text} {len(each.found.cautions)}")
    gauges["gpubench_failures"].append(f"{_labels(common)} {len(record.failures)}")
    began = datetime.datetime.fromisoformat(record.created).timestamp()
    gauges["gpubench_run_timestamp_seconds"].append(f"{_labels(common)} {began:.0f}")
    lines = []
    for name, samples in gauges.items():
        lines += [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} gauge"]
        lines += [f"{name}{sample}" for sample in samples]
    return ("\n".join(lines) + "\n").encode()


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
