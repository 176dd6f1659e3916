"""What the engine behind a published result was built for, as far as its publisher says.

`data/engines.yaml` lists the sequences and tokens an iteration of released engines, and what
commands state; the kernels that a release has for decode attention stand here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from gpubench.catalogue.reading import DATA, read
from gpubench.errors import CatalogueError
from gpubench.model import Engine, LanguageModel

if TYPE_CHECKING:
    from gpubench.catalogue.inference import InferenceRow

FITTED = "TensorRT-LLM"
"""The engine whose releases are known."""

_RELEASE = re.compile(r"v?(\d+)\.(\d+)(?!\d)")
_TOKENS = re.compile(r"max_num_tokens=([1-9]\d*)")
_SEQUENCES = re.compile(r"max_batch_size=([1-9]\d*)")
_KEYS = {"model", "devices", "length", "sequences", "tokens"}

_GROUPS_OF_EIGHT, _ANY_GROUP = (0, 8), (0, 12)
_JOINED_GROUP, _JOINED_HEAD = 8, 128

Release = tuple[int, int]


@lru_cache(maxsize=8192)
def behind(row: InferenceRow, model: LanguageModel) -> Engine:
    """The engine of a published row: what its notes say, else its release, else the defaults."""
    release = _release(row)
    tokens, sequences = _TOKENS.search(row.notes), _SEQUENCES.search(row.notes)
    found = _stated(_commands(row)) or _listed(row, release)
    return replace(
        found,
        sequences=int(sequences[1]) if sequences else found.sequences,
        tokens=int(tokens[1]) if tokens else found.tokens,
        joins_queries=release is None or _joins_queries(release, model),
        pipeline=row.pp or 1,
    )


def cache_precision(row: InferenceRow) -> str:
    """How the KV cache was stored: as the commands of the source have it, else as the row says."""
    return str(_commands(row).get("kv_precision", row.kv_precision))


def _commands(row: InferenceRow) -> Mapping[str, str]:
    """What the commands of a source state."""
    return _known_commands().get(row.source_id, {})


@lru_cache(maxsize=1)
def _known_commands() -> Mapping[str, Mapping[str, str]]:
    found: Mapping[str, Mapping[str, str]] = read(DATA / "engines.yaml")["commands"]
    return found


def _release(row: InferenceRow) -> Release | None:
    found = _RELEASE.match(row.framework_version) if row.framework == FITTED else None
    return (int(found[1]), int(found[2])) if found else None


def _stated(commands: Mapping[str, str]) -> Engine | None:
    if not commands:
        return None
    return Engine(
        sequences=int(commands["sequences"]),
        tokens=int(commands["tokens"]),
        cache_fraction=float(commands["cache_fraction"]),
        memory_fraction=float(commands["memory_fraction"]),
    )


def _listed(row: InferenceRow, release: Release | None) -> Engine:
    """The engine the release builds by its list. Static batches are built as they are run."""
    fraction = _cache_fractions().get(release) if release else None
    if release is None or row.batch:
        return Engine(cache_fraction=fraction)
    length = round((row.input_tokens or 0) + (row.output_tokens or 0))
    known = _engines()
    where = (release, row.model, row.tp or 1)
    found = known.get((*where, length)) or known.get((*where, 0)) or Engine()
    return replace(found, cache_fraction=fraction)


@lru_cache(maxsize=1)
def _cache_fractions() -> Mapping[Release, float]:
    """Share of free memory given to the cache, by release."""
    stated = read(DATA / "engines.yaml")["tensorrt-llm"]["cache_fractions"]
    return {_number(name): float(share) for name, share in stated.items()}


def _number(release: str) -> Release:
    major, minor = release.split(".")
    return int(major), int(minor)


@lru_cache(maxsize=1)
def _engines() -> Mapping[tuple[Release, str, int, int], Engine]:
    """By release, model, devices and length of a request; a length of 0 stands for any other."""
    listed = read(DATA / "engines.yaml")["tensorrt-llm"]
    return listing(listed["releases"], listed["engines"])


def listing(
    releases: Sequence[str], entries: Sequence[Mapping[str, str]]
) -> Mapping[tuple[Release, str, int, int], Engine]:
    """The engines of a list, in each of the releases.

    Raises:
        CatalogueError: an entry has a key that means nothing, or repeats another.
    """
    found: dict[tuple[Release, str, int, int], Engine] = {}
    for entry in entries:
        odd = sorted(set(entry) - _KEYS)
        if odd:
            raise CatalogueError(f"engines.yaml: '{odd[0]}' says nothing of an engine: {entry}")
        engine = Engine(sequences=int(entry["sequences"]), tokens=int(entry["tokens"]))
        for name in releases:
            length = int(entry.get("length", 0))
            key = (_number(name), entry["model"], int(entry["devices"]), length)
            if key in found:
                raise CatalogueError(f"engines.yaml: an engine is listed twice: {entry}")
            found[key] = engine
    return found


def _joins_queries(release: Release, model: LanguageModel) -> bool:
    """Whether decode attention puts all queries of a cached head on matrix units together.

    TensorRT-LLM has kernels for it since 0.8, for eight queries a head of 128 values
    (`DecoderXQARunner::shouldUse` in decoderXQARunner.h; announced on 2024-01-30), and since 0.12
    for any number, compiled when needed (decoderXQAImplJIT).
    """
    if release >= _ANY_GROUP:
        return True
    eight = model.heads == _JOINED_GROUP * model.kv_heads and model.head_dim == _JOINED_HEAD
    return eight and release >= _GROUPS_OF_EIGHT
