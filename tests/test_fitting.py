"""A fit finds the parameters that made a table, always the same ones, and writes only those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import yaml

from gpubench import catalogue
from gpubench.catalogue import PUBLISHED_TABLE, InferenceRow
from gpubench.errors import CannotEstimate, CatalogueError
from gpubench.roofline import calibration
from gpubench.roofline.calibration import Calibration
from gpubench.validating import fitting, validation

CATALOGUE = catalogue.load()
SHARED = calibration.load()
NAMES = ("energy_share_8bit", "tile_tokens")
TRUE = {"energy_share_8bit": 0.62, "tile_tokens": 300.0}


def of_names(*names: str) -> Calibration:
    """The shipped calibration with other parameters to fit."""
    return replace(SHARED, fitted=names)


def made_up(values: dict[str, float]) -> list[InferenceRow]:
    """Rows of one source whose figures are the model's own at these values."""
    rows = [
        row
        for row in CATALOGUE.inference_rows
        if row.source_id == "trtllm-0.13" and row.model in ("llama-3-8b", "llama-2-70b")
    ]
    parameters = replace(SHARED.mid, **values)
    return [
        replace(one.row, value=one.value)
        for one in validation.predict(rows, CATALOGUE, parameters)
        if one.value
    ][::3]


@pytest.fixture(scope="module")
def rows() -> Sequence[InferenceRow]:
    return made_up(TRUE)


def test_a_fit_finds_what_made_the_table(rows: Sequence[InferenceRow]) -> None:
    found = fitting.fit(rows, CATALOGUE, of_names(*NAMES))
    assert found.rows == len(rows) > 30
    assert found.on_bound == ()
    for name, value in TRUE.items():
        assert found.values[name] == pytest.approx(value, rel=0.03)
        assert getattr(found.parameters, name) == found.values[name]


def test_the_same_table_gives_the_same_digits(rows: Sequence[InferenceRow]) -> None:
    first, second = (fitting.fit(rows, CATALOGUE, of_names(*NAMES)).values for _ in range(2))
    assert first == second
    assert all(float(f"{value:.4g}") == value for value in first.values())


def test_a_parameter_that_would_leave_its_range_is_named() -> None:
    low = min(SHARED.low.energy_share_8bit, SHARED.high.energy_share_8bit)
    beyond = made_up({"energy_share_8bit": low / 1.3})
    shared = of_names("energy_share_8bit")
    assert fitting.fit(beyond, CATALOGUE, shared).on_bound == shared.fitted


def test_other_engines_are_not_fitted(rows: Sequence[InferenceRow]) -> None:
    others = [replace(row, framework="vLLM", value=row.value / 2) for row in rows]
    found = fitting.fit([*rows, *others], CATALOGUE, of_names("tile_tokens"))
    assert found.rows == len(rows)
    with pytest.raises(CannotEstimate, match=r"0 rows of TensorRT-LLM .* too few to fit 2"):
        fitting.fit(others, CATALOGUE, of_names(*NAMES))


def test_each_source_is_left_out_once(rows: Sequence[InferenceRow]) -> None:
    # A second source that contradicts the first: without it, the first one's truth is found.
    wrong = [
        replace(row, source_id="elsewhere", line=row.line + 100_000, value=row.value / 2)
        for row in rows
    ]
    shared = of_names("energy_share_8bit")
    both = [*rows, *wrong]
    folds = fitting.folds(both, CATALOGUE, shared, fitting.fit(both, CATALOGUE, shared))
    assert set(folds) == {"elsewhere", "trtllm-0.13"}
    assert folds["elsewhere"]["energy_share_8bit"] < folds["trtllm-0.13"]["energy_share_8bit"]
    with pytest.raises(CannotEstimate, match="come from one source"):
        fitting.folds(rows, CATALOGUE, shared, fitting.fit(rows, CATALOGUE, shared))


# --------------------------------------------------------------------------- the file


def test_only_the_middles_of_fitted_parameters_are_rewritten() -> None:
    before = calibration.text()
    after = calibration.rewritten(
        before, {"tile_tokens": 321.0}, {"rows": 7, "date": "'2030-01-02'"}
    )
    changed = [
        (old, new)
        for old, new in zip(before.splitlines(), after.splitlines(), strict=True)
        if old != new
    ]
    assert ("    mid: 321") in [new for _, new in changed]
    assert len(changed) <= 3
    found = calibration.read(yaml.safe_load(after))
    assert found.mid == replace(SHARED.mid, tile_tokens=321.0)
    assert (found.provenance["rows"], found.provenance["date"]) == (7, "2030-01-02")


def test_small_and_large_numbers_are_read_back_as_numbers() -> None:
    values = {"sequence_overhead_s": 1e-6, "runtime_reserve_bytes": 2e9, "tile_tokens": 321.4}
    after = yaml.safe_load(calibration.rewritten(calibration.text(), values, {}))
    assert {name: after["parameters"][name]["mid"] for name in values} == values


def test_a_parameter_without_a_line_is_named() -> None:
    with pytest.raises(CatalogueError, match="tile_toks"):
        calibration.rewritten(calibration.text(), {"tile_toks": 1.0}, {})


def test_the_shipped_parameters_were_fitted_on_the_shipped_table() -> None:
    digest = validation.table_digest(PUBLISHED_TABLE.read_bytes())
    assert SHARED.provenance["table_sha256"] == digest
    assert SHARED.provenance["rows"] > 2000
    assert set(SHARED.fitted) <= set(calibration.Parameters.__dataclass_fields__)
    assert len(SHARED.fitted) < 20
