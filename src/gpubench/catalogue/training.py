"""Published training results, one row a figure. `data/training_published.md` explains the columns.

A row whose model the catalogue does not know but whose shape the table states is a model of its
own; parameters are then counted from the shape.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gpubench.catalogue.cells import count, number
from gpubench.catalogue.reading import DATA
from gpubench.errors import CatalogueError, UnknownName
from gpubench.model import LanguageModel

TABLE = DATA / "training_published.csv"
"""The table that ships with gpubench."""

REQUIRED = (
    *("gpu", "num_gpus", "model", "sequence", "micro_batch", "global_batch_sequences"),
    *("precision", "metric", "value"),
)
"""Columns without which a row says too little; they also tell such a table from one of inference,
which has neither micro_batch nor global_batch_sequences."""

_ADAPTERS = re.compile(r"[-_ ]lora$", re.IGNORECASE)
_SHARDED = re.compile(r"fsdp|full_shard|hsdp|zero3", re.IGNORECASE)
_DEGREES = {"context": r"\bCP (\d+)", "expert": r"\bEP (\d+)", "virtual": r"\bVP (\d+)"}
# Each source's words for the precision of matrix products; autocast and "mixed" are 16-bit.
_PRECISIONS = {
    **dict.fromkeys(("bf16", "amp", "amp_bf16", "mixed"), "bf16"),
    **dict.fromkeys(("fp8", "fp8-cs", "fp8-mx", "mxfp8", "float8", "amp_fp8", "bf16+fp8"), "fp8"),
    "fp16": "fp16",
}
_PLAIN_FFN = 4  # feed-forward over hidden width where a shape does not state it


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One published figure; None and "" mean not stated. `value` is in the unit `metric` names.

    Batches are in sequences. `sharded` weights are gathered for every micro-batch; `adapters` are
    trained in place of the weights.
    """

    line: int
    source_id: str
    url: str
    accelerator: str
    gpus: int
    model: LanguageModel
    sequence: int | None
    micro_batch: int | None
    batch: int | None
    tensor: int | None
    pipeline: int | None
    context: int
    expert: int | None
    virtual: int
    precision: str
    recomputation: str
    sharded: bool
    adapters: bool
    metric: str
    value: float
    suspect: bool


@dataclass(frozen=True)
class TrainingEntry:
    """A line of a table: what it says, or why it says nothing."""

    line: int
    row: TrainingRow | None
    problem: str = ""


def is_training_table(path: Path) -> bool:
    """Whether the columns are those of training results; a file that cannot be read has none."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            columns = next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    return {"micro_batch", "global_batch_sequences"} <= set(columns)


def read(
    path: Path, accelerator: Callable[[str], str], model: Callable[[str], LanguageModel]
) -> tuple[TrainingEntry, ...]:
    """The rows of a table; what is wrong with one stands beside it.

    Raises:
        CatalogueError: the file cannot be read, or lacks a column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in REQUIRED if name not in (reader.fieldnames or ())]
            if missing:
                raise CatalogueError(f"{path.name}: the table has no column {', '.join(missing)}")
            return tuple(_entry(reader.line_num, raw, accelerator, model) for raw in reader)
    except OSError as error:
        raise CatalogueError(f"cannot read {path}: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise CatalogueError(f"{path.name}: this is no CSV table in UTF-8: {error}") from None


def _entry(
    line: int,
    raw: Mapping[str, str],
    accelerator: Callable[[str], str],
    model: Callable[[str], LanguageModel],
) -> TrainingEntry:
    if None in raw or None in raw.values():  # so does csv tell cells too many or too few
        columns = len(raw) - (None in raw)
        problem = f"the row does not have {columns} cells, as the column names have"
        return TrainingEntry(line, None, problem)
    try:
        return TrainingEntry(line, _row(line, raw, accelerator, model))
    except (UnknownName, ValueError) as error:
        return TrainingEntry(line, None, str(error))


def _row(
    line: int,
    raw: Mapping[str, str],
    accelerator: Callable[[str], str],
    model: Callable[[str], LanguageModel],
) -> TrainingRow:
    notes = raw.get("notes", "")
    degrees = {
        name: int(found[1]) if (found := re.search(pattern, notes)) else None
        for name, pattern in _DEGREES.items()
    }
    if raw["precision"] and raw["precision"] not in _PRECISIONS:
        raise ValueError(f"precision '{raw['precision']}' is none of {', '.join(_PRECISIONS)}")
    if not raw["gpu"]:
        raise ValueError("the catalogue has no such part")
    gpus, value = count(raw, "num_gpus"), number(raw, "value")
    if gpus is None or value is None:
        raise ValueError(f"{'value' if gpus else 'num_gpus'} is empty")
    return TrainingRow(
        line=line,
        source_id=raw.get("source_id", ""),
        url=raw.get("url", ""),
        accelerator=accelerator(raw["gpu"]),
        gpus=gpus,
        model=_model(raw, model),
        sequence=count(raw, "sequence"),
        micro_batch=count(raw, "micro_batch"),
        batch=count(raw, "global_batch_sequences"),
        tensor=count(raw, "tp"),
        pipeline=count(raw, "pp"),
        context=degrees["context"] or 1,
        expert=degrees["expert"],
        virtual=degrees["virtual"] or 1,
        precision=_PRECISIONS.get(raw["precision"], ""),
        recomputation=raw.get("recomputation", "").replace("unknown", ""),
        sharded=bool(_SHARDED.search(raw.get("optimizer_sharding", ""))),
        adapters=bool(_ADAPTERS.search(raw["model"])),
        metric=raw["metric"],
        value=value,
        suspect="SUSPECT" in notes,
    )


def _model(raw: Mapping[str, str], known: Callable[[str], LanguageModel]) -> LanguageModel:
    """The catalogue's model, or one of the shape that the row states. Raises UnknownName."""
    name = _ADAPTERS.sub("", raw["model"]).replace("_", "-").replace(" ", "-")
    try:
        return known(name)
    except UnknownName:
        layers, hidden, heads = (count(raw, column) for column in ("layers", "hidden", "heads"))
        vocabulary = count(raw, "vocabulary")
        if not (layers and hidden and heads and vocabulary) or raw.get("experts"):
            raise
    ffn = count(raw, "ffn_hidden") or _PLAIN_FFN * hidden
    weights = layers * (4 * hidden * hidden + 2 * hidden * ffn) + vocabulary * hidden
    return LanguageModel(
        id=name.lower(),
        name=raw["model"],
        parameters=float(weights),
        active_parameters=float(weights),
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        ffn_hidden=ffn,
        vocabulary=vocabulary,
        source="the table's own columns",
        gated_ffn=False,
        tied_embeddings=True,
    )
