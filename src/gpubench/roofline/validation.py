"""Holding the model against published inference results: predictions, errors, and their summary.

Pure functions of a catalogue; `written` gives the text of `validated_error.yaml`.
"""

from __future__ import annotations

import hashlib
import math
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpubench.errors import GpubenchError
from gpubench.model import Accelerator
from gpubench.roofline import calibration, ceilings, llm, validated
from gpubench.roofline.calibration import Parameters

if TYPE_CHECKING:
    from gpubench.catalogue import Catalogue, InferenceRow

_QUEUED = re.compile(r"num_requests=(\d+)")
_SCENARIOS = ("offline_max_throughput", "fixed_batch", "latency")
_EQUAL_COMPUTE_PAIR = ("nvidia-h200-sxm", "nvidia-h100-sxm5")
_FEWEST = 5
# Fewer comparisons than this say nothing about a 90 % quantile.


@dataclass(frozen=True, slots=True)
class Prediction:
    """A published row and what the model says; without a value, `skipped` gives the reason.

    `value` is in the unit of the row's metric, for the whole system. `kind` is the scenario under
    which its error counts (`validated.scenario`).
    """

    row: InferenceRow
    value: float | None
    kind: str = ""
    binding_limit: str = ""
    skipped: str = ""

    @property
    def error(self) -> float:
        """predicted / published - 1."""
        return (self.value or math.nan) / self.row.system_value - 1


@dataclass(frozen=True, slots=True)
class ErrorSummary:
    """Errors of one kind of estimate, as shares; `log_q90` is of |ln(predicted / published)|."""

    count: int
    mean: float
    median: float
    bias: float
    q90: float
    log_q90: float


def predict(
    rows: Iterable[InferenceRow], catalogue: Catalogue, with_: Parameters | None = None
) -> Iterator[Prediction]:
    """What the model says of each row, in order; rows it cannot judge carry the reason."""
    parameters = with_ or calibration.load().mid
    for row in rows:
        reason = _unusable(row)
        if reason:
            yield Prediction(row, None, skipped=reason)
            continue
        try:
            yield _predicted(row, catalogue, parameters)
        except GpubenchError as error:
            yield Prediction(row, None, skipped=str(error))


def _unusable(row: InferenceRow) -> str:
    """Why a row cannot be compared; empty when it can."""
    if row.suspect:
        return "marked suspect"
    if not row.accelerator:
        return f"{row.gpu_variant} names no single accelerator"
    if row.scenario not in _SCENARIOS or row.metric not in ("output_tok_s", "ttft_ms"):
        return f"{row.scenario} {row.metric} is not predicted"
    if not row.input_tokens or (row.metric == "output_tok_s" and not row.output_tokens):
        return "lengths not published"
    if row.tp is None or (row.pp or 1) > 1:
        return "parallelism not published, or pipelined"
    if row.metric == "ttft_ms" and (row.batch or 1) > 1:
        return "first token of more than one request"
    if row.scenario == "fixed_batch" and not row.batch:
        return "batch not published"
    if "decode tokens/s" in row.notes:
        return "decode alone"
    return "power-capped" if "power-capped" in row.notes else ""


def _predicted(row: InferenceRow, catalogue: Catalogue, with_: Parameters) -> Prediction:
    part, model = catalogue.accelerators[row.accelerator], catalogue.models[row.model]
    kv = row.kv_precision or ("fp8" if row.precision == "fp8" else "fp16")
    request = llm.Request(
        model, row.precision, kv, round(row.input_tokens or 0), round(row.output_tokens or 1)
    )
    gpus = row.tp or 1
    machine = llm.Machine(part, gpus, request, with_)
    full = validated.is_nearly_full(part, model, row.precision, gpus)
    if row.metric == "ttft_ms":
        timed = machine.prefill(1)
        return Prediction(row, 1e3 * timed.seconds, "time_to_first_token", timed.binding)
    if row.batch:
        # A static batch was run, so it did fit, whatever the model thinks of the memory.
        served = machine.serve(row.batch)
        binding = (served.prefill + served.decode).binding
        rate = served.output_rate
    else:
        queued = _QUEUED.search(row.notes)
        batch, limit = machine.batch("max")
        binding = limit if limit == "memory capacity" else machine.serve(batch).decode.binding
        rate = llm.queued_rate(machine, int(queued[1]) if queued else batch)
    copies = row.gpus / gpus
    kind = validated.scenario("inference_throughput", row.batch or "max", full)
    return Prediction(row, rate * copies, kind, binding)


def summary(ratios: Sequence[float]) -> ErrorSummary:
    """Summarise predicted / published ratios. The 90 % quantile is the nearest rank."""
    errors = sorted(abs(ratio - 1) for ratio in ratios)
    logs = sorted(abs(math.log(ratio)) for ratio in ratios)
    rank = math.ceil(0.9 * len(errors)) - 1
    return ErrorSummary(
        count=len(errors),
        mean=statistics.fmean(errors),
        median=statistics.median(errors),
        bias=statistics.fmean(ratio - 1 for ratio in ratios),
        q90=errors[rank],
        log_q90=logs[rank],
    )


def absolute_errors(predictions: Iterable[Prediction]) -> dict[str, ErrorSummary]:
    """Errors of single figures, by kind."""
    found: dict[str, list[float]] = {}
    for one in predictions:
        if one.value is not None:
            found.setdefault(one.kind, []).append(one.error + 1)
    return _summaries(found)


def ratio_errors(
    predictions: Iterable[Prediction], pairs: Iterable[tuple[str, str]], catalogue: Catalogue
) -> dict[str, ErrorSummary]:
    """Errors of subject over baseline on the matched pairs of these accelerator ids, by kind."""
    by_line = {one.row.line: one for one in predictions if one.value is not None}
    found: dict[str, list[float]] = {}
    for subject, baseline in pairs:
        for pair in catalogue.matched_pairs(subject, baseline):
            above, below = by_line.get(pair.subject.line), by_line.get(pair.baseline.line)
            if above and below and above.value and below.value:
                kind = max(above.kind, below.kind, key=lambda name: name.endswith("nearly_full"))
                found.setdefault(kind, []).append(above.value / below.value / pair.ratio)
    return _summaries(found)


def different_pairs(
    predictions: Iterable[Prediction], catalogue: Catalogue
) -> list[tuple[str, str]]:
    """Pairs of accelerator ids with different compute, faster memory first, each once."""
    ids = sorted({one.row.accelerator for one in predictions if one.value is not None})
    parts = sorted(
        (catalogue.accelerators[name] for name in ids),
        key=lambda part: (-part.value("memory_bandwidth"), part.id),
    )
    return [
        (first.id, second.id)
        for place, first in enumerate(parts)
        for second in parts[place + 1 :]
        if not _same_compute(first, second)
    ]


def _same_compute(first: Accelerator, second: Accelerator) -> bool:
    return ceilings.equal_compute(first, second, "fp16")


def _summaries(found: dict[str, list[float]]) -> dict[str, ErrorSummary]:
    return {kind: summary(r) for kind, r in sorted(found.items()) if len(r) >= _FEWEST}


def summarise(catalogue: Catalogue, with_: Parameters | None = None) -> dict[str, Any]:
    """The content of `validated_error.yaml`, without its date and hash."""
    predictions = list(predict(catalogue.inference_rows(), catalogue, with_))
    compared = [one for one in predictions if one.value is not None]
    other = different_pairs(compared, catalogue)
    rows = Counter(one.row.accelerator for one in compared)
    parts = {name for name, count in rows.items() if count >= _FEWEST}
    return {
        "rows": len(predictions),
        "compared": len(compared),
        "parts": sorted(str(name) for name in parts),
        "families": sorted({str(catalogue.accelerators[name].family) for name in parts}),
        "absolute": _plain(absolute_errors(compared)),
        "ratio_equal_compute": _plain(ratio_errors(compared, [_EQUAL_COMPUTE_PAIR], catalogue)),
        "ratio_other": _plain(ratio_errors(compared, other, catalogue)),
    }


def _plain(summaries: dict[str, ErrorSummary]) -> dict[str, dict[str, float]]:
    return {
        kind: {
            name: round(getattr(found, name), 4)
            for name in ("count", "mean", "median", "bias", "q90", "log_q90")
        }
        for kind, found in summaries.items()
    }


def table_of_errors(stored: Mapping[str, Any]) -> str:
    """The stored errors as a Markdown table, as docs/model.md shows them."""
    titles = {
        "absolute": "one part",
        "ratio_equal_compute": "ratio, equal compute",
        "ratio_other": "ratio, different chips",
    }
    lines = [
        "| what | kind | compared | median | mean | 90 % within |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for section, title in titles.items():
        for kind, entry in stored[section].items():
            shares = " | ".join(f"{100 * entry[n]:.1f} %" for n in ("median", "mean", "q90"))
            lines.append(f"| {title} | {kind.replace('_', ' ')} | {entry['count']:,} | {shares} |")
    return "\n".join(lines)


def table_digest(table: bytes) -> str:
    """SHA-256 of the table the errors were found on."""
    return hashlib.sha256(table).hexdigest()


def written(catalogue: Catalogue, table: bytes, date: str) -> str:
    """The text of `validated_error.yaml`, to be kept under that name beside this file."""
    import yaml

    found = {"table_sha256": table_digest(table), "date": date, **summarise(catalogue)}
    head = (
        "# Errors of the performance model on the shipped table of published inference results.\n"
        "# Written by gpubench.roofline.validation.written; a test fails when it is out of date.\n"
        "# mean, median, bias and q90 (90 % quantile) are of |predicted / published - 1|.\n"
    )
    return head + yaml.safe_dump(found, sort_keys=False, default_flow_style=None, width=100)
