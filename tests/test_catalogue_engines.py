"""Engines behind published rows: what their release, model and requests say about them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpubench import catalogue
from gpubench.catalogue import InferenceRow, engines
from gpubench.errors import CatalogueError
from gpubench.model import Engine

KNOWN = catalogue.load()
ROW = next(
    row
    for row in KNOWN.inference_rows
    if (row.source_id, row.model, row.tp) == ("trtllm-0.13", "llama-2-70b", 4) and not row.batch
)


def behind(row: InferenceRow) -> Engine:
    return engines.behind(row, KNOWN.models[row.model])


def served(isl: int, osl: int, **changes: object) -> InferenceRow:
    return replace(ROW, input_tokens=float(isl), output_tokens=float(osl), **changes)  # type: ignore[arg-type]


def test_the_list_of_a_release_names_the_limits() -> None:
    found = behind(served(1000, 1000))
    assert (found.sequences, found.tokens) == (4096, 8192)


def test_one_length_may_have_limits_of_its_own() -> None:
    found = behind(served(128, 4096))
    assert (found.sequences, found.tokens) == (256, 8192)


@pytest.mark.parametrize(
    "changes",
    [
        {"framework_version": "0.8.0"},
        {"framework": "vLLM"},
        {"model": "llama-3.1-405b"},
        {"tp": 1},
        {"batch": 64},
    ],
    ids=str,
)
def test_what_is_not_listed_takes_the_defaults(changes: dict[str, object]) -> None:
    found = behind(served(1000, 1000, **changes))
    assert (found.sequences, found.tokens) == (Engine().sequences, Engine().tokens)


def test_notes_go_before_the_list() -> None:
    found = behind(served(1000, 1000, notes="engine max_batch_size=512, max_num_tokens=4096"))
    assert (found.sequences, found.tokens) == (512, 4096)


@pytest.mark.parametrize(
    ("release", "model", "joins"),
    [
        ("0.5.0", "llama-2-70b", False),
        ("0.8.0", "llama-2-70b", True),
        ("0.10.0", "llama-3-8b", False),
        ("0.10.0", "falcon-180b", False),
        ("0.12.0", "falcon-180b", True),
        ("0.5", "llama-2-70b", False),
        ("v0.10.0", "llama-3-8b", False),
        ("1.0.0rc1", "falcon-180b", True),
        ("TensorRT 10.2.0, CUDA 12.4", "llama-2-70b", True),
    ],
)
def test_a_release_has_the_kernels_of_its_time(release: str, model: str, joins: bool) -> None:
    row = replace(ROW, framework_version=release, model=model)
    assert behind(row).joins_queries is joins


def test_limits_of_nothing_are_no_limits() -> None:
    found = behind(served(1000, 1000, notes="max_batch_size=0, max_num_tokens=0"))
    assert (found.sequences, found.tokens) == (4096, 8192)


@pytest.mark.parametrize(
    ("entry", "why"),
    [({"lenght": "4224"}, "'lenght' says nothing of an engine"), ({}, "listed twice")],
)
def test_a_list_with_a_slip_is_refused(entry: dict[str, str], why: str) -> None:
    plain = {"model": "llama-2-70b", "devices": "4", "sequences": "256", "tokens": "8192"}
    with pytest.raises(CatalogueError, match=why):
        engines.listing(["0.12"], [plain, {**plain, **entry}])


def test_every_listed_model_is_one_of_the_catalogue() -> None:
    assert {model for _, model, _, _ in engines._engines()} <= set(KNOWN.models)


def test_early_releases_gave_less_of_the_memory_to_the_cache() -> None:
    shares = {
        v: behind(replace(ROW, framework_version=v)).cache_fraction for v in ("0.10.0", "0.12.0")
    }
    assert shares == {"0.10.0": 0.9, "0.12.0": 0.99}


def test_what_the_commands_of_a_source_say_goes_before_the_defaults() -> None:
    stated = replace(ROW, framework="vLLM", source_id="dstack-405b-h100-mi300x")
    assert behind(stated) == Engine(256, 91680, cache_fraction=1.0, memory_fraction=0.9)
    assert behind(replace(stated, notes="max_num_tokens=512")).tokens == 512
    assert behind(replace(stated, source_id="a-page")) == Engine()


def test_a_cache_that_no_command_asked_for_is_not_one_of_8_bits() -> None:
    rows = [r for r in KNOWN.inference_rows if r.source_id == "dstack-405b-h100-mi300x"]
    assert {row.kv_precision for row in rows} == {"fp8", "bf16"}
    assert {engines.cache_precision(row) for row in rows} == {"bf16"}
    assert engines.cache_precision(ROW) == ROW.kv_precision


def test_every_source_whose_commands_are_kept_has_rows() -> None:
    kept = set(engines._known_commands())
    assert kept <= {row.source_id for row in KNOWN.inference_rows}
