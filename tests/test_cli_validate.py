"""`gpubench validate` and `calibrate`: a row is predicted or says why not; nothing is guessed."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from gpubench import catalogue, cli
from gpubench.catalogue import PUBLISHED_TABLE
from gpubench.cli.validate import ADDED
from gpubench.validating import scoring

HEADER, *LINES = PUBLISHED_TABLE.read_text("utf-8").splitlines()
COLUMNS = HEADER.split(",")

# One configuration of the shipped table on both parts: the uplift is 7055 / 5869.
ROW = {
    "source_id": "a-page",
    "gpu_variant": "NVIDIA H100 80GB HBM3",
    "num_gpus": "2",
    "tp": "2",
    "model": "Llama-3.1-70B",
    "precision_weights": "fp8",
    "precision_kv": "fp8",
    "framework": "TensorRT-LLM",
    "isl": "128",
    "osl": "2048",
    "scenario": "offline_max_throughput",
    "metric": "output_tok_s",
    "value": "5869",
    "per_gpu": "no",
    "notes": "num_requests=3000",
}
OTHER = {**ROW, "gpu_variant": "nvidia-h200-sxm", "value": "7055"}

Run = Callable[..., Result]
Table = Callable[..., Path]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(cli.main, [str(word) for word in arguments])


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Writes rows as a CSV table and gives its path."""

    def _table(*rows: dict[str, str], columns: list[str] | None = None) -> Path:
        path = tmp_path / "table.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns or COLUMNS, extrasaction="ignore", restval="")
            writer.writeheader()
            writer.writerows(rows)
        return path

    return _table


def predictions(run: Run, path: Path) -> list[dict[str, str]]:
    result = run("validate", path, "--predictions", "out.csv", "--json")
    assert result.exit_code in (0, 3), result.output
    return list(csv.DictReader(io.StringIO(Path("out.csv").read_text("utf-8"))))


def reason(run: Run, path: Path) -> str:
    (row,) = predictions(run, path)
    assert row["predicted"] == row["predicted_low"] == row["predicted_high"] == ""
    return row["skipped_reason"]


# --------------------------------------------------------------------------- one row


def test_a_prediction_stands_beside_the_columns_of_the_input(run: Run, table: Table) -> None:
    path = table(ROW, columns=[*COLUMNS, "my own"])
    (row,) = predictions(run, path)
    assert list(row) == [*COLUMNS, "my own", *ADDED]
    assert {name: row[name] for name in COLUMNS} == {n: ROW.get(n, "") for n in COLUMNS}
    low, mid, high = (float(row[f"predicted{end}"]) for end in ("_low", "", "_high"))
    assert low < mid < high
    assert mid == pytest.approx(5869, rel=0.3)
    assert row["binding_limit"]
    assert row["skipped_reason"] == ""


def test_a_table_with_predictions_can_be_validated_again(run: Run, table: Table) -> None:
    first = predictions(run, table(ROW))
    Path("out.csv").rename("again.csv")
    assert predictions(run, Path("again.csv")) == first


def test_a_figure_given_a_device_is_predicted_a_device(run: Run, table: Table) -> None:
    (whole,) = predictions(run, table(ROW))
    (share,) = predictions(run, table({**ROW, "per_gpu": "yes", "value": "2934.5"}))
    assert float(share["predicted"]) == pytest.approx(float(whole["predicted"]) / 2, rel=1e-5)


def test_a_pipelined_row_is_predicted_as_such(run: Run, table: Table) -> None:
    """Two stages of one device each carry no all-reduce, and two copies serve twice as much."""
    rows = [{**ROW, "tp": "1", "pp": "2", "num_gpus": n} for n in ("2", "4")]
    path = table(ROW, *rows)
    whole, staged, copies = predictions(run, path)
    covered = json.loads(run("validate", path, "--json").stdout)["interval"]["covered"]
    assert {name: kind["of"] for name, kind in covered.items() if name != "all"} == {
        "max_batch": 1,
        "pipelined": 2,
    }
    assert float(staged["predicted"]) > float(whole["predicted"])
    assert float(copies["predicted"]) == pytest.approx(2 * float(staged["predicted"]), rel=1e-5)


def test_a_row_without_a_figure_is_predicted_and_not_scored(run: Run, table: Table) -> None:
    path = table({**ROW, "value": ""})
    (row,) = predictions(run, path)
    assert float(row["predicted"]) > 0
    assert json.loads(run("validate", path, "--json").stdout)["scored"] == 0
    assert run("validate", path).exit_code == 0


# --------------------------------------------------------------------------- skipped rows


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"gpu_variant": "NVIDIA H201"}, "unknown accelerator 'NVIDIA H201': did you mean"),
        ({"gpu_variant": "H100"}, "names several variants"),
        ({"model": "llama-3.1-71b"}, "unknown model 'llama-3.1-71b': did you mean"),
        ({"isl": ""}, "lengths not published"),
        ({"isl": "1,024"}, "isl '1,024' is no positive number"),
        ({"osl": "-5"}, "osl '-5' is no positive number"),
        ({"isl": "nan"}, "isl 'nan' is no positive number"),
        ({"value": "0"}, "value '0' is no positive number"),
        ({"num_gpus": "1.5"}, "num_gpus '1.5' is no whole number"),
        ({"num_gpus": ""}, "num_gpus is empty"),
        ({"num_gpus": "3"}, "3 devices do not split into groups of 2"),
        ({"tp": ""}, "parallelism not published"),
        ({"pp": "2"}, "2 devices do not split into groups of 2 in 2 stages"),
        ({"pp": "two"}, "pp 'two' is no positive number"),
        ({"precision_weights": ""}, "precision of the weights not published"),
        ({"precision_weights": "fp7"}, "fp7"),
        ({"per_gpu": "maybe"}, "per_gpu 'maybe' is neither yes nor no"),
        ({"metric": "tok"}, "offline_max_throughput tok is not predicted"),
        ({"tp": "1", "num_gpus": "1", "precision_weights": "fp16"}, "no room for a KV cache"),
        ({"notes": "SUSPECT: a misprint"}, "marked suspect"),
    ],
)
def test_a_row_that_cannot_be_predicted_says_why(
    run: Run, table: Table, change: dict[str, str], why: str
) -> None:
    assert why in reason(run, table({**ROW, **change}))


def test_a_row_beyond_a_node_gets_the_widest_interval(run: Run, table: Table) -> None:
    (inside,) = predictions(run, table({**ROW, "tp": "8", "num_gpus": "8"}))
    (beyond,) = predictions(run, table({**ROW, "tp": "16", "num_gpus": "16"}))
    assert _width(beyond) > 1.2 * _width(inside)


def _width(row: dict[str, str]) -> float:
    return float(row["predicted_high"]) / float(row["predicted_low"])


def test_a_missing_column_is_said_of_every_row(run: Run, table: Table) -> None:
    path = table(ROW, OTHER, columns=[name for name in COLUMNS if name != "tp"])
    assert {row["skipped_reason"] for row in predictions(run, path)} == {
        "the table has no column tp"
    }
    result = run("validate", path)
    assert result.exit_code == 3
    assert "no row can be predicted; most often: the table has no column tp" in result.stderr


def test_skipped_rows_are_named_by_line_and_what_is_predicted_is_said(
    run: Run, table: Table
) -> None:
    told = run("validate", table(ROW, {**ROW, "metric": "tok"}, {**ROW, "metric": "tok"})).stdout
    assert "| 2    | 3, 4  | offline_max_throughput tok is not predicted |" in told
    assert "Predicted are offline_max_throughput, fixed_batch and latency" in told
    assert "fitted to rows of this table" not in told
    shipped = run("validate", catalogue.PUBLISHED_TABLE).stdout
    assert "fitted to rows of this table" in shipped
    assert "e+0" not in shipped


def test_columns_that_only_describe_may_be_missing(run: Run, table: Table) -> None:
    optional = {"url", "date_or_version", "gpu", "pp", "framework_version", "notes", "source_id"}
    path = table(ROW, columns=[name for name in COLUMNS if name not in optional])
    assert float(predictions(run, path)[0]["predicted"]) > 0


def test_a_row_with_too_few_cells_is_skipped_and_the_others_are_not(run: Run, table: Table) -> None:
    path = table(ROW)
    path.write_text(path.read_text("utf-8") + "a,b,c\n", "utf-8")
    good, bad = predictions(run, path)
    assert good["predicted"]
    assert "does not have 21 cells" in bad["skipped_reason"]


# --------------------------------------------------------------------------- bad files


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no column has a known name"),
        (b"a,b\n1,2\n", "no column has a known name"),
        (b"isl,isl\n1,2\n", "two columns are called 'isl'"),
        (b"isl\n\xff\xfe\n", "no CSV table in UTF-8"),
    ],
)
def test_a_file_that_is_no_table_is_refused(run: Run, content: bytes, why: str) -> None:
    Path("bad.csv").write_bytes(content)
    result = run("validate", "bad.csv")
    assert result.exit_code == 2
    assert why in result.stderr
    assert "Traceback" not in result.output


def test_a_file_that_is_not_there_and_a_folder_in_the_way_are_said(
    run: Run, table: Table, tmp_path: Path
) -> None:
    assert run("validate", "none.csv").exit_code == 2
    result = run("validate", table(ROW), "--predictions", tmp_path)
    assert result.exit_code == 2
    assert "write to another file" in result.stderr


# --------------------------------------------------------------------------- the report


def test_pairs_are_split_by_the_room_of_the_smaller_part(run: Run, table: Table) -> None:
    tight = {"num_gpus": "1", "tp": "1"}
    path = table(ROW, OTHER, {**ROW, **tight, "value": "446"}, {**OTHER, **tight, "value": "3612"})
    document = json.loads(run("validate", path, "--json").stdout)
    ratios = {entry["pairs"]: entry for entry in document["ratios"]}
    assert {name: entry["count"] for name, entry in ratios.items()} == {
        "all": 2,
        "room for 64 sequences": 1,
        "less room": 1,
    }
    rows = predictions(run, path)
    ratio = float(rows[1]["predicted"]) / float(rows[0]["predicted"])
    error = ratio / (7055 / 5869) - 1
    assert ratios["room for 64 sequences"]["bias"] == pytest.approx(error, rel=1e-3)
    assert ratios["all"]["subject"] == "nvidia-h200-sxm"


def test_errors_are_those_of_the_rows(run: Run, table: Table) -> None:
    path = table(ROW, OTHER, {**ROW, "model": "llama-4711"})
    rows = predictions(run, path)
    document = json.loads(run("validate", path, "--json").stdout)
    errors = [float(row["predicted"]) / float(row["value"]) - 1 for row in rows[:2]]
    whole = document["absolute"]["all"]["all"]
    assert whole["bias"] == pytest.approx(sum(errors) / 2, abs=1e-4)
    assert whole["mean"] == pytest.approx(sum(map(abs, errors)) / 2, abs=1e-4)
    assert set(document["absolute"]) == {"all", "scenario", "gpu", "model", "source"}
    assert set(document["absolute"]["gpu"]) == {"nvidia-h100-sxm5", "nvidia-h200-sxm"}
    assert document["skipped"][0]["lines"] == [4]
    assert document["predicted"] == document["scored"] == 2


def test_the_tables_for_people_hold_the_same(run: Run, table: Table) -> None:
    text = run("validate", table(ROW, OTHER, {**ROW, "isl": ""})).stdout
    assert text.startswith("3 rows: 2 predicted, 2 of them with a published figure, 1 skipped")
    assert "| nvidia-h200-sxm / nvidia-h100-sxm5 |" in text
    assert "lengths not published" in text
    assert "interval, nominally 80%" in text


def test_four_of_five_published_figures_lie_in_their_interval() -> None:
    known = catalogue.load()
    found = scoring.compare(known.inference_table(PUBLISHED_TABLE), known)
    inside, of = found.coverage["max_batch"]
    assert of > 1500
    assert 0.75 <= inside / of <= 0.87
    assert all(row.skipped or row.value for row in found.rows)


def test_without_enough_rows_a_part_left_out_keeps_the_shipped_parameters(
    run: Run, table: Table
) -> None:
    result = run("validate", table(ROW, OTHER), "--leave-one-gpu-out", "--json")
    notes = {e["gpu"]: e["note"] for e in json.loads(result.stdout)["leave_one_gpu_out"]}
    assert notes == dict.fromkeys(
        ("nvidia-h100-sxm5", "nvidia-h200-sxm"),
        "as they ship: the table has too few other rows to fit",
    )


def test_too_few_rows_cannot_be_fitted(run: Run, table: Table, tmp_path: Path) -> None:
    result = run("calibrate", table(ROW, OTHER), "--output", tmp_path / "out")
    assert result.exit_code == 3
    assert "2 rows of TensorRT-LLM that can be predicted are too few to fit" in result.stderr
    assert not (tmp_path / "out").exists()


def test_sources_are_left_out_like_parts(run: Run, table: Table) -> None:
    path = table(ROW, OTHER, {**ROW, "source_id": "another"}, {**ROW, "source_id": ""})
    document = json.loads(run("validate", path, "--leave-one-source-out", "--json").stdout)
    assert [(e["source"], e["count"]) for e in document["leave_one_source_out"]] == [
        ("a-page", 2),
        ("another", 1),
    ]
    assert document["leave_one_gpu_out"] == []


# --------------------------------------------------------------------------- plots


def test_plots_hold_every_row_once(run: Run, table: Table, tmp_path: Path) -> None:
    path = table(ROW, OTHER, {**ROW, "isl": ""})
    assert run("validate", path, "--plots", "plots").exit_code == 0
    folder = tmp_path / "plots"
    assert {file.name for file in folder.iterdir()} == {
        "validation-scatter.svg",
        "validation-errors.svg",
    }
    drawn = ElementTree.parse(folder / "validation-scatter.svg").getroot()
    labels = [element.get("aria-label") or "" for element in drawn.iter()]
    points = [label for label in labels if "published" in label and "gpu" in label]
    assert len(points) == 2
    (row,) = [label for label in points if "nvidia-h100-sxm5" in label]
    assert "2934.5" in row.replace(",", "")  # a device's share of 5869
    text = " ".join(element.text or "" for element in drawn.iter())
    assert "2 rows" in text


def test_plots_of_no_figure_are_not_drawn(run: Run, table: Table) -> None:
    result = run("validate", table({**ROW, "value": ""}), "--plots", "plots")
    assert result.exit_code == 0
    assert "Nothing is drawn" in result.stderr
    assert not Path("plots").exists()


def test_plots_that_cannot_be_written_are_said(run: Run, table: Table) -> None:
    Path("plots").write_text("a file in the way")
    result = run("validate", table(ROW, OTHER), "--plots", "plots")
    assert result.exit_code == 2
    assert "cannot write plots" in result.stderr


def test_charts_without_their_library_name_the_remedy(
    run: Run, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    result = run("validate", table(ROW, OTHER), "--plots", "plots")
    assert result.exit_code == 2
    assert "pip install 'gpubench-claims[report]'" in result.stderr
