"""Holding the model against published inference results: predictions, errors, and their summary.

Pure functions of rows and a catalogue; `written` gives the text of `validated_error.yaml`.
"""

from __future__ import annotations

import hashlib
import math
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gpubench.catalogue import engines, inference
from gpubench.errors import DoesNotFit, GpubenchError
from gpubench.model import Accelerator, Engine, LanguageModel
from gpubench.roofline import calibration, ceilings, llm, validated
from gpubench.roofline.calibration import Parameters

if TYPE_CHECKING:
    from gpubench.catalogue import Catalogue, InferenceRow

ENGINE = engines.FITTED
"""The engine whose rows are fitted and whose errors are stored: no parameter stands for an engine,
and others may be slower by tens of percent."""

PIPELINED = "pipelined"
"""The kind of rows in stages, or beyond a node."""

_QUEUED = re.compile(r"num_requests=(\d+)")
_AT_ONCE = "prompts at once"
_EAGER = "eager mode"  # no graphs: the host starts every kernel
_PREDICTED = {
    (scenario, metric)
    for scenario in ("offline_max_throughput", "fixed_batch", "latency")
    for metric in ("output_tok_s", "ttft_ms")
} | {("fixed_batch", "total_tok_s")}
UNPREDICTED = "is not predicted"
"""How the reason ends why a row is skipped for its scenario or metric."""

_EQUAL_COMPUTE_PAIR = ("nvidia-h200-sxm", "nvidia-h100-sxm5")
_FEWEST = 5
# Fewer comparisons than this say nothing about a 90 % quantile.


@dataclass(frozen=True, slots=True)
class Prediction:
    """A published row and what the model says; without a value, `skipped` gives the reason.

    `value` is in the unit of the row's metric, for the whole system. `kind` is the scenario under
    which its error counts (`validated.scenario`), `room` the full-length sequences that fit.
    """

    row: InferenceRow
    value: float | None
    kind: str = ""
    binding_limit: str = ""
    skipped: str = ""
    room: int = 0

    @property
    def published(self) -> float:
        """What the row says, for the whole system; 0 when it holds no figure."""
        return self.row.system_value

    @property
    def printed(self) -> float | None:
        """`value` as the row would print it: a device's share where its figures are shares."""
        shared = self.row.per_gpu and self.row.metric.endswith("tok_s")
        return self.value / self.row.gpus if self.value and shared else self.value

    @property
    def error(self) -> float:
        """predicted / published - 1."""
        return (self.value or math.nan) / self.published - 1


@dataclass(frozen=True, slots=True)
class ErrorSummary:
    """Errors of one kind of estimate, as shares. `log_q90` and `log_q80` are quantiles of
    |ln(predicted / published)|.
    """

    count: int
    mean: float
    median: float
    bias: float
    q90: float
    log_q90: float
    log_q80: float = 0.0


def predict(
    rows: Iterable[InferenceRow],
    catalogue: Catalogue,
    with_: Parameters | None = None,
    engine_known: bool = True,
) -> Iterator[Prediction]:
    """What the model says of each row, in order; rows it cannot judge carry the reason.

    Args:
        engine_known: whether the limits and the queue of the engine behind a row may be used, or
            the usual engines and an endless queue are assumed, as an estimate has to. The kernels
            of its release count either way: an estimate is about engines that have today's.
    """
    parameters = with_ or calibration.load().mid
    for row in rows:
        reason = _unusable(row)
        if reason:
            yield Prediction(row, None, skipped=reason)
            continue
        try:
            yield _predicted(row, catalogue, parameters, engine_known)
        except GpubenchError as error:
            yield Prediction(row, None, skipped=str(error))


def _unusable(row: InferenceRow) -> str:
    """Why a row cannot be compared; empty when it can."""
    if row.suspect:
        return "marked suspect"
    if not row.accelerator:
        return f"{row.gpu_variant} names no single accelerator"
    if (row.scenario, row.metric) not in _PREDICTED:
        return f"{row.scenario} {row.metric} {UNPREDICTED}"
    if not row.input_tokens or (row.metric.endswith("tok_s") and not row.output_tokens):
        return "lengths not published"
    if row.tp is None:
        return "parallelism not published"
    if row.gpus % (row.tp * (row.pp or 1)):
        stages = f" in {row.pp} stages" if (row.pp or 1) > 1 else ""
        return f"{row.gpus} devices do not split into groups of {row.tp}{stages}"
    if not row.precision:
        return "precision of the weights not published"
    if row.metric == "ttft_ms" and (row.batch or 1) > 1:
        return "first token of more than one request"
    if row.scenario == "fixed_batch" and not row.batch:
        return "batch not published"
    if "decode tokens/s" in row.notes:
        return "decode alone"
    return "power-capped" if "power-capped" in row.notes else ""


def _predicted(
    row: InferenceRow, catalogue: Catalogue, with_: Parameters, engine_known: bool
) -> Prediction:
    part, gpus = catalogue.accelerators[row.accelerator], (row.tp or 1) * (row.pp or 1)
    model = catalogue.models[row.model]
    request = _request(row, model)
    if _EAGER in row.notes:
        with_ = replace(with_, layer_overhead_s=with_.eager_layer_overhead_s)
    behind = engines.behind(row, model)
    asked = [behind]
    if not engine_known:
        kernels = behind.joins_queries
        asked = [replace(engine, joins_queries=kernels) for engine in llm.usual(behind.pipeline)]

    def run(engine: Engine) -> Prediction:
        machine = llm.Machine(part, gpus, request, with_, engine)
        if row.metric == "ttft_ms":
            return _first_token(row, machine)
        return _throughput(row, machine, engine_known)

    found = llm.by_engine(run, asked)
    # A first token is asked of the default engine.
    return found[0] if row.metric == "ttft_ms" else max(found, key=lambda one: one.value or 0.0)


def _request(row: InferenceRow, model: LanguageModel) -> llm.Request:
    if row.framework.startswith("TensorRT-LLM") and model.sliding_window:
        model = _without_window(model)
    kv = engines.cache_precision(row) or ("fp8" if row.precision == "fp8" else "fp16")
    lengths = round(row.input_tokens or 0), round(row.output_tokens or 1)
    return llm.Request(model, row.precision, kv, *lengths)


def _first_token(row: InferenceRow, machine: llm.Machine) -> Prediction:
    timed = machine.prefill(1)
    return Prediction(
        row, 1e3 * timed.seconds, _kind("time_to_first_token", row), machine.limit(timed)
    )


def _throughput(row: InferenceRow, machine: llm.Machine, queue_known: bool) -> Prediction:
    room = _room(machine)
    if row.batch and _AT_ONCE not in row.notes:
        # A static batch was run, so it did fit, whatever the model thinks of the memory.
        served = machine.serve(row.batch)
        binding = machine.limit(served.total)
    else:
        queued = _QUEUED.search(row.notes) if queue_known else None
        requests = row.batch or (int(queued[1]) if queued else 0)
        served = machine.run("max", requests)
        full_cache = served.batch_limit == "memory capacity" and requests > served.batch
        binding = "memory capacity" if full_cache else machine.limit(served.total)
    request = machine.request
    rate = served.output_rate * row.gpus / machine.gpus
    if row.metric == "total_tok_s":
        rate *= request.full_context / request.output_tokens
    full = validated.is_nearly_full(machine.part, request.model, row.precision, machine.gpus)
    kind = validated.scenario("inference_throughput", row.batch or "max", full)
    return Prediction(row, rate, _kind(kind, row), binding, room=room)


def _kind(kind: str, row: InferenceRow) -> str:
    """Rows of splits that nothing was compared of are a kind of their own."""
    stages = row.pp or 1
    return kind if validated.covers((row.tp or 1) * stages, stages) else PIPELINED


def _room(machine: llm.Machine) -> int:
    try:
        return machine.most_sequences()
    except DoesNotFit:
        return 0


@lru_cache(maxsize=64)
def _without_window(model: LanguageModel) -> LanguageModel:
    """TensorRT-LLM keeps every token unless it is told the window (its option
    `max_attention_window`), which its published tables do not do."""
    return replace(model, sliding_window=0, sliding_layers=0)


def lines_by_reason(reasons: Iterable[tuple[int, str]]) -> dict[str, tuple[int, ...]]:
    """The lines of a table by why they were skipped, from (line, reason); the most frequent first.

    Lines without a reason were not.
    """
    found: dict[str, list[int]] = {}
    for line, reason in reasons:
        if reason:
            found.setdefault(reason, []).append(line)
    most_first = sorted(found.items(), key=lambda item: -len(item[1]))
    return {reason: tuple(lines) for reason, lines in most_first}


def summary(ratios: Sequence[float]) -> ErrorSummary:
    """Summarise predicted / published ratios. Quantiles are the nearest rank."""
    errors = sorted(abs(ratio - 1) for ratio in ratios)
    logs = sorted(abs(math.log(ratio)) for ratio in ratios)
    rank, lower = (math.ceil(share * len(errors)) - 1 for share in (0.9, 0.8))
    return ErrorSummary(
        count=len(errors),
        mean=statistics.fmean(errors),
        median=statistics.median(errors),
        bias=statistics.fmean(ratio - 1 for ratio in ratios),
        q90=errors[rank],
        log_q90=logs[rank],
        log_q80=logs[lower],
    )


def absolute_errors(predictions: Iterable[Prediction]) -> dict[str, ErrorSummary]:
    """Errors of single figures, by kind."""
    found: dict[str, list[float]] = {}
    for one in predictions:
        if one.value is not None:
            found.setdefault(one.kind, []).append(one.error + 1)
    return _summaries(found)


def ratio_errors(
    predictions: Sequence[Prediction], pairs: Iterable[tuple[str, str]]
) -> dict[str, ErrorSummary]:
    """Errors of subject over baseline on the matched pairs of these accelerator ids, by kind."""
    by_line = {one.row.line: one for one in predictions}
    rows = [one.row for one in predictions]
    found: dict[str, list[float]] = {}
    for subject, baseline in pairs:
        for pair in inference.matched_pairs(rows, subject, baseline):
            above, below = by_line[pair.subject.line], by_line[pair.baseline.line]
            kind = max(above.kind, below.kind, key=lambda name: name.endswith("nearly_full"))
            found.setdefault(kind, []).append((above.error + 1) / (below.error + 1))
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


Folds = Mapping[str, Mapping[str, float]]
"""For each source the fitted values that saw none of its rows."""


def predict_unseen(
    rows: Iterable[InferenceRow],
    catalogue: Catalogue,
    folds: Folds,
    shared: calibration.Calibration,
    engine_known: bool = True,
) -> Iterator[Prediction]:
    """What the model says of each row with the parameters of a fit that left out its source.

    A source without a fold was never fitted, so the full fit has not seen it either.
    """
    parameters = {name: replace(shared.mid, **values) for name, values in folds.items()}
    for row in rows:
        fitted = parameters.get(row.source_id, shared.mid)
        yield from predict([row], catalogue, fitted, engine_known)


def summarise(
    rows: Iterable[InferenceRow],
    catalogue: Catalogue,
    folds: Folds,
    shared: calibration.Calibration,
) -> dict[str, Any]:
    """The content of `validated_error.yaml`, without its date and hash: errors on unseen sources.

    Only rows of the engine that was fitted count; others may be slower by tens of percent. Errors
    with the engine's limits known are what rows of a table have, those under `as_estimated` what
    an estimate has, which cannot know them. `other_parts` are those of which only other engines
    have rows, each with the errors of an estimate.
    """
    rows = tuple(rows)
    predictions = list(predict_unseen(rows, catalogue, folds, shared))
    compared = _of_engine(predictions)
    estimated = list(predict_unseen(rows, catalogue, folds, shared, engine_known=False))
    blind = _of_engine(estimated)
    parts = _common(one.row.accelerator for one in compared)
    others = [one.error + 1 for one in _of_others(predictions)]
    own: dict[str, list[float]] = {}
    for one in _of_others(estimated):
        if one.row.accelerator not in parts:
            own.setdefault(str(one.row.accelerator), []).append(one.error + 1)
    return {
        "rows": len(predictions),
        "compared": len(compared),
        "parts": sorted(parts),
        "models": _models(compared),
        "families": sorted({str(catalogue.accelerators[name].family) for name in parts}),
        "least_batch": min(one.row.batch or 1 for one in compared if one.kind == "stated_batch"),
        **_sections(compared, catalogue),
        "as_estimated": _sections(blind, catalogue),
        "other_engines": plain(_summaries({"all": others})),
        "other_parts": plain(_summaries(own)),
        "folds": {name: dict(values) for name, values in sorted(folds.items())},
    }


def _models(compared: Iterable[Prediction]) -> dict[str, list[str]]:
    """The models of which rows of each kind were compared."""
    found: dict[str, set[str]] = {}
    for one in compared:
        found.setdefault(one.kind, set()).add(str(one.row.model))
    return {kind: sorted(models) for kind, models in sorted(found.items())}


def devices(row: InferenceRow) -> int:
    """Those of one copy of the model."""
    return (row.tp or 1) * (row.pp or 1)


def _common(names: Iterable[str | None]) -> set[str]:
    return {str(name) for name, count in Counter(names).items() if count >= _FEWEST}


def _of_engine(predictions: Iterable[Prediction]) -> list[Prediction]:
    return [one for one in _compared(predictions) if one.row.framework == ENGINE]


def _of_others(predictions: Iterable[Prediction]) -> list[Prediction]:
    return [one for one in _compared(predictions) if one.row.framework != ENGINE]


def _compared(predictions: Iterable[Prediction]) -> Iterator[Prediction]:
    return (one for one in predictions if one.value is not None and one.published)


def _sections(
    compared: Sequence[Prediction], catalogue: Catalogue
) -> dict[str, dict[str, dict[str, float]]]:
    other = different_pairs(compared, catalogue)
    split: dict[str, list[Prediction]] = {}
    for one in compared:
        if (kind := validated.of_devices(one.kind, devices(one.row))) != one.kind:
            split.setdefault(kind, []).append(replace(one, kind=kind))
    # Of one model alone the errors would be that model's.
    several = [
        one
        for group in split.values()
        if len(_common(o.row.model for o in group)) > 1
        for one in group
    ]
    return {
        "absolute": plain({**absolute_errors(compared), **absolute_errors(several)}),
        "ratio_equal_compute": plain(ratio_errors(compared, [_EQUAL_COMPUTE_PAIR])),
        "ratio_other": plain(ratio_errors(compared, other)),
    }


def plain(summaries: Mapping[str, ErrorSummary]) -> dict[str, dict[str, float]]:
    """Summaries as `validated_error.yaml` holds them."""
    return {
        kind: {
            name: round(getattr(found, name), 4)
            for name in ("count", "mean", "median", "bias", "q90", "log_q90", "log_q80")
        }
        for kind, found in summaries.items()
    }


def table_digest(table: bytes) -> str:
    """SHA-256 of the table the errors were found on."""
    return hashlib.sha256(table).hexdigest()


def written(found: Mapping[str, Any], digest: str, date: str) -> str:
    """The text of `validated_error.yaml`, which `roofline/validated.py` reads."""
    import yaml

    head = (
        "# Errors of the performance model on the shipped table of published inference results,\n"
        "# each row predicted by a fit that had left out its source. Written by `gpubench\n"
        "# calibrate`; a test fails when it is out of date. mean, median, bias and q90 (90 %\n"
        "# quantile) are of |predicted / published - 1|; folds holds the values of these fits.\n"
    )
    content = {"table_sha256": digest, "date": date, **found}
    return head + yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=100)
